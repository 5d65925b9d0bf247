"""Outdoor layouts: streets by day and night, parks and hills, squares with people, steel structures."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import SceneBuilder
from starter.scenes.mesh import Floats, Mesh, floats, merge
from starter.scenes.props.designs import designed
from starter.scenes.props.outdoor import building, bush, car, fence, person, stone, street_thing, tree
from starter.scenes.room_shell import box_view
from starter.scenes.world import Light, Motion, Sky, World


def weather(scene: SceneBuilder, night: bool = False) -> tuple[Sky, list[Light], tuple[Floats, Floats]]:
    """Sky, sun or moon, and the light of the sky: clear, overcast, foggy, dusk or night."""
    if night:
        dim = scene.uniform(0.01, 0.06)
        sky = Sky((dim * 0.3, dim * 0.4, dim), (dim, dim, dim * 1.2))
        return sky, [], (np.full(3, scene.uniform(0.03, 0.12), np.float32), np.full(3, 0.05, np.float32))
    cloudy = scene.chance(0.45)
    fog = float(np.exp(scene.uniform(np.log(0.001), np.log(0.03)))) if scene.chance(0.4) else 0.0
    warm = np.array([1.0, scene.uniform(0.75, 1), scene.uniform(0.5, 1)])
    horizon = np.array([0.75, 0.85, 0.95]) * 1.1 if scene.chance(0.7) else warm
    horizon = horizon * scene.uniform(0.5, 1)
    zenith = horizon * 0.9 if cloudy else np.array([0.12, 0.3, 0.75]) * scene.uniform(0.5, 1.6)
    clouds = scene.texture("clouds") if scene.chance(0.75) else None
    angle, strength = scene.turn(), scene.uniform(0.1, 0.4) if cloudy else scene.uniform(0.6, 1.4)
    way = (np.cos(angle), np.sin(angle), scene.uniform(0.25, 2))
    sun = Light(way, strength * warm, 0.3 if cloudy else 0.015, True)
    bright = scene.uniform(0.3, 0.5) if cloudy else scene.uniform(0.15, 0.4)
    ambient = floats(bright * np.array([0.9, 0.95, 1.05])), floats(bright * 0.5 * np.ones(3))
    return Sky(zenith, horizon, clouds, scene.uniform(0.1, 0.9), fog), [sun], ambient


def terrain(
    scene: SceneBuilder, size: float, height: float, flat: float = 0.0
) -> tuple[Mesh, Callable[[float, float], float]]:
    """Hilly ground `size` metres wide, nearly level within `flat` metres of the y axis, and its height at a place."""
    n = 48
    bumps = shapes.smooth_noise(scene.rng, (n, n), scene.count(2, 6), 3) * height
    slope, x = scene.rng.normal(0, 0.04, 2), np.linspace(-0.5, 0.5, n) * size
    calm = np.clip((np.abs(x)[None] - flat) / max(size * 0.1, 1e-6), 0.03, 1)
    heights = (bumps * calm + slope[0] * x[None] + slope[1] * x[:, None]).astype(np.float32)

    def level(x: float, y: float) -> float:
        place = ((x / size + 0.5) * (n - 1), (y / size + 0.5) * (n - 1))
        return float(cv2.getRectSubPix(heights, (1, 1), place)[0, 0])

    return shapes.heightfield((size, size), heights), level


def street(scene: SceneBuilder) -> World:
    """A street along y: houses, pavements, cars, people, trees, signs; by day or by night."""
    night = scene.chance(0.25)
    sky, lights, ambient = weather(scene, night)
    half, path, length = scene.uniform(2.5, 8), scene.uniform(1, 4), scene.uniform(60, 150)
    scene.ground("asphalt", length + 60)
    pavement, kerb = scene.material(scene.pick("stone", "asphalt")), scene.uniform(0.05, 0.18)
    for side in (-1, 1):
        slab = shapes.box((path, length + 20, kerb), (side * (half + path / 2), length / 2 - 10, kerb / 2))
        scene.add(scene.cover(slab, pavement))
        houses(scene, side, half + path, length)
    marks(scene, half, length)
    furnish(scene, half, path, length)
    if scene.chance(0.6):
        end = building(scene, scene.uniform(20, 50), 10, scene.uniform(8, 40))
        scene.add(end, (scene.uniform(-5, 5), length * scene.uniform(0.4, 1), 0))
    for _ in range(scene.count(1, 2) if night else 0):
        place = (scene.uniform(-half, half), scene.uniform(0, 20), scene.uniform(4, 7))
        colour = scene.uniform(0.5, 1.5) * np.array([1, scene.uniform(0.6, 1), scene.uniform(0.3, 1)])
        lights.append(Light(place, colour, 0.2, reach=scene.uniform(4, 9)))
    high = scene.uniform(1.0, 1.9) if scene.chance(0.8) else scene.uniform(2, 8)
    eye = [[-half - path + 0.4, -5, high], [half + path - 0.4, length * 0.2, high + 0.2]]
    views = [
        box_view(eye, [[-half, 15, 0.5], [half, 40, 3]], step=1.5, roll=0.03, fov=(45, 90)),
        box_view(eye, [[-half - path, 5, 0.5], [half + path, 30, 3]], step=1.3, roll=0.04, fov=(40, 80)),
    ]
    return scene.world(lights, ambient, sky, views, 1.0)


def houses(scene: SceneBuilder, side: int, away: float, length: float) -> None:
    """A row of houses along one side, with gaps and gardens."""
    y, tall = -15.0, scene.uniform(4, 25)
    models: list[Mesh] = []
    while y < length:
        w = scene.uniform(6, 20)
        if scene.chance(0.15):
            scene.add(fence(scene, min(w, 8)), (side * (away + 0.5), y + w / 2, 0), np.pi / 2)
            for _ in range(scene.count(0, 3)):
                scene.add(tree(scene), (side * (away + scene.uniform(1, 8)), y + scene.uniform(0, w), 0))
        else:
            if len(models) < 3 or scene.chance(0.3):
                models.append(building(scene, w, scene.uniform(6, 12), max(3.0, scene.uniform(0.5, 1.4) * tall)))
            # The front (-y) turns to the street: on the right side it looks to -x.
            at = (side * (away + scene.uniform(0, 1.5)), y + w / 2, 0)
            scene.add(scene.one(models), at, -side * np.pi / 2)
        y += w


def marks(scene: SceneBuilder, half: float, length: float) -> None:
    """White lines and crossings."""
    white = scene.materials.plain(scene.grey(0.6, 0.95))
    places = [(-0.07, y, 0.14) for y in np.arange(-10, length, 6)] if scene.chance(0.7) else []
    if scene.chance(0.5):
        start = scene.uniform(2, 25)
        places += [(x, start, 0.5) for x in np.arange(-half + 0.3, half - 0.5, 1.0)]
    for x, y, width in places:
        scene.add(shapes.quad((x, y, 0.006), (width, 0, 0), (0, 3, 0)).painted(white))


def furnish(scene: SceneBuilder, half: float, path: float, length: float) -> None:
    """Cars parked and driving, people, lamps, trees, benches."""
    models = [car(scene) for _ in range(3)]
    for s in (-1, 1):
        y = scene.uniform(-8, 4)
        while y < length * 0.6 and scene.chance(0.9):
            if scene.chance(0.6):
                scene.add(scene.one(models), (s * (half - 1.2), y, 0), np.pi * scene.count(0, 1))
            y += scene.uniform(5, 14)
        step, trees = scene.uniform(6, 20), scene.chance(0.7)
        model = tree(scene, scene.uniform(3, 8)) if trees else designed(scene, "lamp_post")
        for y in np.arange(scene.uniform(0, step), length * 0.7, step):
            scene.add(model, (s * (half + 0.5), y, 0), scene.turn() if trees else -s * np.pi / 2)
        for _ in range(scene.count(0, 6)):
            at = (s * (half + path * scene.uniform(0.2, 0.9)), scene.uniform(0, 30), 0)
            scene.add(street_thing(scene), at, -s * np.pi / 2)
    figures = [person(scene) for _ in range(scene.count(1, 4))]
    for _ in range(scene.count(1, 14)):
        at = (scene.uniform(-1, 1) * (half + path), 3 + 35 * scene.uniform(0, 1) ** 2, 0)
        if scene.chance(0.5):
            heading = np.pi / 2 * (1 if scene.chance(0.5) else -1) + float(scene.rng.normal(0, 0.3))
            scene.move(scene.one(figures), Motion(at, heading, scene.uniform(0.5, 2), bounce=0.03))
        else:
            scene.add(scene.one(figures), at, scene.turn())
    for _ in range(scene.count(0, 2)):
        s = 1 if scene.chance(0.5) else -1
        way = Motion((s * half * 0.4, scene.uniform(6, 50), 0), s * np.pi / 2, scene.uniform(2, 14))
        scene.move(scene.one(models), way)


def nature(scene: SceneBuilder) -> World:
    """Hills, woods, gardens or a beach: terrain with trees, bushes, stones, a path, distant hills."""
    sky, lights, ambient = weather(scene)
    size, height = scene.uniform(40, 160), scene.uniform(0.2, 6)
    ground, level = terrain(scene, size, height, 3)
    scene.add(scene.cover(ground, "ground"))
    hills, _ = terrain(scene, size * scene.uniform(3, 6), size * scene.uniform(0.05, 0.25), size * 0.6)
    scene.add(scene.cover(hills, "ground"), (0, 0, -height - 2))
    makers = [tree, tree, bush, bush, stone]
    if scene.chance(0.5):
        makers += [fence, street_thing, street_thing]
    for _ in range(scene.count(3, 7)):
        model = scene.one(makers)(scene)
        for _ in range(scene.count(2, 14)):
            r, a = size * 0.45 * scene.uniform(0.05, 1), scene.turn()
            x, y = r * np.cos(a), r * np.sin(a)
            scene.add(model.scaled(scene.uniform(0.6, 1.4)), (x, y, level(x, y) - 0.05), scene.turn())
    for _ in range(scene.count(0, 4)):
        x, y = scene.rng.uniform(-10, 10, 2)
        scene.move(person(scene), Motion((x, y, level(x, y)), scene.turn(), scene.uniform(0, 1.5)))
    z = height * 0.3 + scene.uniform(0.5, 2)
    eye, target = [[-6, -6, z], [6, 6, z + 0.5]], [[-20, -20, z - 2], [20, 20, z + 1]]
    return scene.world(lights, ambient, sky, [box_view(eye, target, step=1.2, fov=(45, 90))], 1.0)


def plaza(scene: SceneBuilder) -> World:
    """A square or hall with a crowd, some near, some walking."""
    sky, lights, ambient = weather(scene)
    scene.ground(scene.pick("stone", "floor", "ground", "asphalt"), 80)
    for k in range(4):
        if scene.chance(0.7):
            block = building(scene, scene.uniform(15, 60), 10, scene.uniform(5, 25))
            scene.add(block.moved((scene.uniform(-8, 8), scene.uniform(10, 35), 0)), yaw=k * np.pi / 2)
    figures = [person(scene) for _ in range(scene.count(3, 7))]
    for _ in range(scene.count(6, 30)):
        figure = scene.one(figures).scaled(scene.uniform(0.92, 1.08))
        r, a = 1 + 16 * scene.uniform(0, 1) ** 1.5, scene.turn()
        at = (r * np.cos(a), r * np.sin(a), 0)
        if scene.chance(0.4):
            scene.move(figure, Motion(at, scene.turn(), scene.uniform(0.2, 1.8), bounce=0.03))
        else:
            scene.add(figure, at, scene.turn())
    for _ in range(scene.count(2, 12)):
        r, a = scene.uniform(2, 18), scene.turn()
        thing = scene.one([street_thing, street_thing, tree, car])(scene)
        scene.add(thing, (r * np.cos(a), r * np.sin(a), 0), scene.turn())
    high = scene.uniform(0.8, 1.8) if scene.chance(0.85) else scene.uniform(2, 6)
    view = box_view([[-3, -3, high], [3, 3, high + 0.1]], [[-10, -10, 0.3], [10, 10, 1.7]], step=1.0, fov=(40, 85))
    return scene.world(lights, ambient, sky, [view], 0.8)


def structure(scene: SceneBuilder) -> World:
    """Masts, trusses and winding rails against the sky, seen from below or afar."""
    sky, lights, ambient = weather(scene)
    scene.ground("ground", 200)
    beam, rail, n = scene.material("metal"), scene.material("plastic"), 90
    t = np.linspace(0, 2 * np.pi, n)
    r, h = scene.uniform(8, 18), scene.uniform(5, 15)
    wave = [np.sin(t * k + scene.turn()) * scene.uniform(0, 1) / k for k in (1, 2, 3)]
    x, y = r * np.cos(t) * (1 + 0.3 * wave[0]), r * np.sin(t) * (1 + 0.3 * wave[1])
    path = np.stack([x, y, h * (1 + 0.5 * (wave[0] + wave[2]))], -1)
    wide = np.array([0.7 / r, 0.7 / r, 0])
    for side in (1 - wide, 1 + wide):
        scene.add(scene.cover(shapes.tube(path * side, scene.uniform(0.1, 0.25)), rail))
    parts = [shapes.rod(p * (1 - wide), p * (1 + wide), 0.05, 4) for p in path]
    for k in range(0, n, scene.count(5, 10)):
        top, other = path[k], path[(k + 9) % n]
        for _ in range(scene.count(1, 3)):
            foot = top * [1, 1, 0] + [*scene.rng.normal(0, 1.5, 2), 0]
            parts.append(shapes.rod(foot, top, scene.uniform(0.08, 0.25), 6))
        for z in scene.rng.uniform(0, 1, scene.count(0, 3)):
            parts.append(shapes.rod(top * [1, 1, z], other * [1, 1, scene.uniform(0, 1)], 0.08, 6))
    scene.add(merge([scene.cover(part, beam) for part in parts]))
    wagon = car(scene).scaled(0.6)
    for _ in range(scene.count(0, 3)):
        scene.move(wagon, Motion(path[scene.count(0, n - 1)], scene.turn(), scene.uniform(1, 8)))
    for _ in range(scene.count(0, 12)):
        a = scene.turn()
        mast = tree(scene) if scene.chance(0.8) else designed(scene, "lamp_post")
        scene.add(mast, (r * 2 * np.cos(a), r * 2 * np.sin(a), 0))
    for _ in range(scene.count(0, 3)):
        block = building(scene, scene.uniform(10, 30), 10, scene.uniform(5, 30))
        scene.add(block.moved((0, scene.uniform(2, 5) * r, 0)), yaw=scene.turn())
    eye, target = [[-2.2 * r, -2.2 * r, 1.2], [2.2 * r, 2.2 * r, 2.5]], [[-r, -r, h * 0.3], [r, r, h * 1.2]]
    return scene.world(lights, ambient, sky, [box_view(eye, target, step=1.5, fov=(35, 80), roll=0.1)], 1.0)
