"""Outdoor layouts: streets by day and night, parks and hills, squares with people, steel structures."""

from __future__ import annotations

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import SceneBuilder
from starter.scenes.mesh import Floats, Mesh, floats, merge
from starter.scenes.props.designs import designed
from starter.scenes.props.outdoor import building, bush, car, fence, person, street_thing, tree
from starter.scenes.room_shell import box_view
from starter.scenes.world import Light, Motion, Sky, World

Ambient = tuple[Floats, Floats]


def weather(scene: SceneBuilder, night: bool = False) -> tuple[Sky, list[Light], Ambient]:
    """Sky, sun or moon, and the light of the sky: clear, overcast, foggy, dusk or night."""
    if night:
        dim = scene.uniform(0.01, 0.06)
        sky = Sky((dim * 0.3, dim * 0.4, dim), (dim, dim, dim * 1.2), None, 0.0, 0.0)
        return sky, [], (np.full(3, scene.uniform(0.03, 0.12), np.float32), np.full(3, 0.05, np.float32))
    cloudy = scene.chance(0.45)
    fog = float(np.exp(scene.uniform(np.log(0.001), np.log(0.03)))) if scene.chance(0.4) else 0.0
    warm = np.array([1.0, scene.uniform(0.75, 1), scene.uniform(0.5, 1)])
    horizon = (
        np.array([0.75, 0.85, 0.95]) * scene.uniform(0.6, 1.1) if scene.chance(0.7) else warm * scene.uniform(0.5, 1)
    )
    zenith = horizon * 0.9 if cloudy else np.array([0.12, 0.3, 0.75]) * scene.uniform(0.5, 1.6)
    clouds = scene.texture("clouds") if scene.chance(0.75) else None
    sky = Sky(tuple(zenith), tuple(horizon), clouds, scene.uniform(0.1, 0.9), fog)
    angle, strength = scene.turn(), scene.uniform(0.1, 0.4) if cloudy else scene.uniform(0.6, 1.4)
    sun = Light(
        (np.cos(angle), np.sin(angle), scene.uniform(0.25, 2)), tuple(strength * warm), 0.3 if cloudy else 0.015, True
    )
    bright = scene.uniform(0.3, 0.5) if cloudy else scene.uniform(0.15, 0.4)
    return sky, [sun], (floats(bright * np.array([0.9, 0.95, 1.05])), floats(bright * 0.5 * np.ones(3)))


def terrain(scene: SceneBuilder, size: float, height: float, flat: float = 0.0) -> tuple[Mesh, Ground]:
    """Hilly ground `size` metres wide; nearly level within `flat` metres of the y axis."""
    n = 48
    bumps = shapes.smooth_noise(scene.rng, (n, n), scene.count(2, 6), 3) * height
    slope = scene.rng.normal(0, 0.04, 2) * size
    x = np.linspace(-0.5, 0.5, n) * size
    rise = slope[0] * x[None] / size + slope[1] * x[:, None] / size
    calm = np.clip((np.abs(x)[None] - flat) / max(size * 0.1, 1e-6), 0.03, 1)
    heights = bumps * calm + rise
    return shapes.heightfield((size, size), heights), Ground(size, heights)


class Ground:
    """Height of a terrain at a place, bilinear between its grid points."""

    def __init__(self, size: float, heights: np.ndarray) -> None:
        self.size = size
        self.heights = heights

    def __call__(self, x: float, y: float) -> float:
        n = len(self.heights)
        u, v = (np.clip((p / self.size + 0.5) * (n - 1), 0, n - 1.001) for p in (x, y))
        i, j = int(v), int(u)
        a, b = v - i, u - j
        h = self.heights
        return float(
            (h[i, j] * (1 - b) + h[i, j + 1] * b) * (1 - a) + (h[i + 1, j] * (1 - b) + h[i + 1, j + 1] * b) * a
        )


def street(scene: SceneBuilder) -> World:
    """A street along y: houses, pavements, cars, people, trees, signs; by day or by night."""
    night = scene.chance(0.25)
    sky, lights, ambient = weather(scene, night)
    half, path = scene.uniform(2.5, 8), scene.uniform(1, 4)
    length = scene.uniform(60, 150)
    kerb = scene.uniform(0.05, 0.18)
    scene.add(scene.cover(shapes.quad((-60, -20, 0), (120, 0, 0), (0, length + 60, 0)), "asphalt"))
    stone = scene.material(scene.pick("stone", "asphalt"))
    for s in (-1, 1):
        slab = shapes.block(
            (min(s * half, s * (half + path)), -20, 0), (max(s * half, s * (half + path)), length, kerb)
        )
        scene.add(scene.cover(slab, stone))
        houses(scene, s, half + path, length)
    marks(scene, half, length)
    furnish(scene, half, path, length)
    if scene.chance(0.6):
        end = building(scene, scene.uniform(20, 50), 10, scene.uniform(8, 40))
        scene.add(end, (scene.uniform(-5, 5), length * scene.uniform(0.4, 1), 0))
    for _ in range(scene.count(1, 2) if night else 0):
        colour = tuple(scene.uniform(0.5, 1.5) * np.array([1, scene.uniform(0.6, 1), scene.uniform(0.3, 1)]))
        lights.append(
            Light(
                (scene.uniform(-half, half), scene.uniform(0, 20), scene.uniform(4, 7)),
                colour,
                0.2,
                reach=scene.uniform(4, 9),
            )
        )
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
            scene.add(
                models[scene.count(0, len(models) - 1)],
                (side * (away + scene.uniform(0, 1.5)), y + w / 2, 0),
                -side * np.pi / 2,
            )
        y += w


def marks(scene: SceneBuilder, half: float, length: float) -> None:
    """White lines and crossings."""
    white = scene.materials.plain(scene.grey(0.6, 0.95))
    if scene.chance(0.7):
        for y in np.arange(-10, length, 6):
            scene.add(shapes.quad((-0.07, y, 0.006), (0.14, 0, 0), (0, 3, 0)).painted(white))
    if scene.chance(0.5):
        start = scene.uniform(2, 25)
        for x in np.arange(-half + 0.3, half - 0.5, 1.0):
            scene.add(shapes.quad((x, start, 0.006), (0.5, 0, 0), (0, 3, 0)).painted(white))


def furnish(scene: SceneBuilder, half: float, path: float, length: float) -> None:
    """Cars parked and driving, people, lamps, trees, benches."""
    models = [car(scene) for _ in range(3)]
    for s in (-1, 1):
        y = scene.uniform(-8, 4)
        while y < length * 0.6 and scene.chance(0.9):
            if scene.chance(0.6):
                scene.add(models[scene.count(0, 2)], (s * (half - 1.2), y, 0), np.pi * scene.count(0, 1))
            y += scene.uniform(5, 14)
        step = scene.uniform(6, 20)
        kind = scene.count(0, 2)
        model = tree(scene, scene.uniform(3, 8)) if kind else designed(scene, "lamp_post")
        for y in np.arange(scene.uniform(0, step), length * 0.7, step):
            scene.add(model, (s * (half + 0.5), y, 0), scene.turn() if kind else -s * np.pi / 2)
        for _ in range(scene.count(0, 6)):
            thing = street_thing(scene)
            scene.add(thing, (s * (half + path * scene.uniform(0.2, 0.9)), scene.uniform(0, 30), 0), -s * np.pi / 2)
    figures = [person(scene) for _ in range(scene.count(1, 4))]
    for _ in range(scene.count(1, 14)):
        x, y = scene.uniform(-1, 1) * (half + path), 3 + 35 * scene.uniform(0, 1) ** 2
        heading = np.pi / 2 * (1 if scene.chance(0.5) else -1) + float(scene.rng.normal(0, 0.3))
        figure = figures[scene.count(0, len(figures) - 1)]
        if scene.chance(0.5):
            scene.move(figure, Motion((x, y, 0.0), heading, scene.uniform(0.5, 2), bounce=0.03))
        else:
            scene.add(figure, (x, y, 0), scene.turn())
    for _ in range(scene.count(0, 2)):
        s = 1 if scene.chance(0.5) else -1
        path_ = Motion((s * half * 0.4, scene.uniform(6, 50), 0.0), s * np.pi / 2, scene.uniform(2, 14))
        scene.move(models[scene.count(0, 2)], path_)


def nature(scene: SceneBuilder) -> World:
    """Hills, woods, gardens or a beach: terrain with trees, bushes, stones, a path, distant hills."""
    sky, lights, ambient = weather(scene)
    size, height = scene.uniform(40, 160), scene.uniform(0.2, 6)
    ground, level = terrain(scene, size, height, 3)
    scene.add(scene.cover(ground, "ground"))
    far = scene.uniform(3, 6)
    hills, _ = terrain(scene, size * far, size * scene.uniform(0.05, 0.25), size * 0.6)
    scene.add(scene.cover(hills, "ground"), (0, 0, -height - 2))
    makers = [tree, tree, bush, bush, _stone, lambda s: fence(s, 4.0), street_thing]
    if scene.chance(0.5):
        makers = makers[:5]
    for _ in range(scene.count(3, 7)):
        model = makers[scene.count(0, len(makers) - 1)](scene)
        for _ in range(scene.count(2, 14)):
            r, a = size * 0.45 * scene.uniform(0.05, 1), scene.turn()
            x, y = r * np.cos(a), r * np.sin(a)
            scene.add(model.scaled(scene.uniform(0.6, 1.4)), (x, y, level(x, y) - 0.05), scene.turn())
    for _ in range(scene.count(0, 4)):
        x, y = scene.rng.uniform(-10, 10, 2)
        scene.move(person(scene), Motion((x, y, level(x, y)), scene.turn(), scene.uniform(0, 1.5)))
    z = height * 0.3 + scene.uniform(0.5, 2)
    eye = [[-6, -6, z], [6, 6, z + 0.5]]
    views = [box_view(eye, [[-20, -20, z - 2], [20, 20, z + 1]], step=1.2, fov=(45, 90))]
    return scene.world(lights, ambient, sky, views, 1.0)


def _stone(scene: SceneBuilder) -> Mesh:
    mesh = shapes.blob(scene.rng, scene.uniform(0.2, 1.5), scene.uniform(0.2, 0.6)).scaled(
        scene.rng.uniform(0.5, 1.2, 3)
    )
    return scene.cover(mesh, "stone")


def plaza(scene: SceneBuilder) -> World:
    """A square or hall with a crowd, some near, some walking."""
    sky, lights, ambient = weather(scene)
    scene.add(
        scene.cover(
            shapes.quad((-80, -80, 0), (160, 0, 0), (0, 160, 0)), scene.pick("stone", "floor", "ground", "asphalt")
        )
    )
    for k in range(4):
        if scene.chance(0.7):
            block = building(scene, scene.uniform(15, 60), 10, scene.uniform(5, 25))
            scene.add(block.moved((scene.uniform(-8, 8), scene.uniform(10, 35), 0)), yaw=k * np.pi / 2)
    figures = [person(scene) for _ in range(scene.count(3, 7))]
    for _ in range(scene.count(6, 30)):
        figure = figures[scene.count(0, len(figures) - 1)].scaled(scene.uniform(0.92, 1.08))
        r, a = 1 + 16 * scene.uniform(0, 1) ** 1.5, scene.turn()
        x, y = r * np.cos(a), r * np.sin(a)
        if scene.chance(0.4):
            scene.move(figure, Motion((x, y, 0.0), scene.turn(), scene.uniform(0.2, 1.8), bounce=0.03))
        else:
            scene.add(figure, (x, y, 0), scene.turn())
    for _ in range(scene.count(2, 12)):
        thing = [street_thing, street_thing, tree, car][scene.count(0, 3)](scene)
        r, a = scene.uniform(2, 18), scene.turn()
        scene.add(thing, (r * np.cos(a), r * np.sin(a), 0), scene.turn())
    high = scene.uniform(0.8, 1.8) if scene.chance(0.85) else scene.uniform(2, 6)
    view = box_view([[-3, -3, high], [3, 3, high + 0.1]], [[-10, -10, 0.3], [10, 10, 1.7]], step=1.0, fov=(40, 85))
    return scene.world(lights, ambient, sky, [view], 0.8)


def structure(scene: SceneBuilder) -> World:
    """Masts, trusses and winding rails against the sky, seen from below or afar."""
    sky, lights, ambient = weather(scene)
    scene.add(scene.cover(shapes.quad((-200, -200, 0), (400, 0, 0), (0, 400, 0)), "ground"))
    beam, rail = scene.material("metal"), scene.material("plastic")
    t = np.linspace(0, 2 * np.pi, 90)
    r, h = scene.uniform(8, 18), scene.uniform(5, 15)
    wave = [np.sin(t * k + scene.turn()) * scene.uniform(0, 1) / k for k in (1, 2, 3)]
    path = np.stack(
        [r * np.cos(t) * (1 + 0.3 * wave[0]), r * np.sin(t) * (1 + 0.3 * wave[1]), h * (1 + 0.5 * (wave[0] + wave[2]))],
        -1,
    )
    for offset in (-0.6, 0.6):
        scene.add(scene.cover(shapes.tube(path * [1 + offset / r, 1 + offset / r, 1], scene.uniform(0.1, 0.25)), rail))
    parts: list[Mesh] = []
    for k in range(0, 90, scene.count(5, 10)):
        top = path[k]
        feet = [top * [1, 1, 0] + [*scene.rng.normal(0, 1.5, 2), 0] for _ in range(scene.count(1, 3))]
        parts += [shapes.rod(foot, top, scene.uniform(0.08, 0.25), 6) for foot in feet]
        other = path[(k + 9) % 90]
        parts += [
            shapes.rod(top * [1, 1, z], other * [1, 1, scene.uniform(0, 1)], 0.08, 6)
            for z in scene.rng.uniform(0, 1, scene.count(0, 3))
        ]
    parts += [
        shapes.rod(p * [1 - 0.7 / r, 1 - 0.7 / r, 1], p * [1 + 0.7 / r, 1 + 0.7 / r, 1], 0.05, 4) for p in path[::1]
    ]
    scene.add(merge([scene.cover(part, beam) for part in parts]))
    wagon = merge([car(scene).scaled(0.6)])
    for _ in range(scene.count(0, 3)):
        at = path[scene.count(0, 89)]
        scene.move(wagon, Motion(at, scene.turn(), scene.uniform(1, 8)))
    for _ in range(scene.count(0, 12)):
        a = scene.turn()
        scene.add(
            tree(scene) if scene.chance(0.8) else designed(scene, "lamp_post"),
            (r * 2 * np.cos(a), r * 2 * np.sin(a), 0),
        )
    for _ in range(scene.count(0, 3)):
        block = building(scene, scene.uniform(10, 30), 10, scene.uniform(5, 30))
        scene.add(block.moved((0, scene.uniform(2, 5) * r, 0)), yaw=scene.turn())
    eye = [[-2.2 * r, -2.2 * r, 1.2], [2.2 * r, 2.2 * r, 2.5]]
    view = box_view(eye, [[-r, -r, h * 0.3], [r, r, h * 1.2]], step=1.5, fov=(35, 80), roll=0.1)
    return scene.world(lights, ambient, sky, [view], 1.0)
