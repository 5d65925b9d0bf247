"""Close layouts: table tops seen from half a metre, and heaps of arbitrary shapes."""

from __future__ import annotations

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import SceneBuilder
from starter.scenes.mesh import floats, merge, random_rotation, rotation_z
from starter.scenes.props.indoor import cabinet, furniture, shelf
from starter.scenes.props.small import SMALL, open_box, small, solid
from starter.scenes.room_shell import box_view, day_sky
from starter.scenes.world import Light, Motion, View, World


def lit(scene: SceneBuilder, views: list[View], reach: float, occlusion: float) -> World:
    """The world of what was collected, with lamps above a scene of `reach` metres."""
    bright, tint = scene.uniform(0.06, 0.45), np.exp(scene.rng.normal(0, 0.1, 3))
    lights = []
    for _ in range(scene.count(1, 2)):
        place = reach * np.array([*scene.rng.uniform(-1.5, 1.5, 2), scene.uniform(1, 3)])
        lights.append(Light(place, scene.uniform(0.3, 1.2) * tint, scene.uniform(0.03, 0.3) * reach, reach=2 * reach))
    ambient = floats(bright * tint), floats(bright * tint * scene.uniform(0.4, 0.9))
    return scene.world(lights, ambient, day_sky(scene), views, occlusion)


def backdrop(scene: SceneBuilder, depth: float, floor: float) -> None:
    """What stands behind a table: walls, shelves, furniture, another table; `floor` is its height below 0."""
    side, walls = 1.5 + 0.6 * depth, scene.material("wall")
    for k in range(4):
        panel = shapes.quad((-6, depth if k == 0 else scene.uniform(1.0, 3.5), floor), (12, 0, 0), (0, 0, 3))
        scene.add(scene.cover(panel, walls), yaw=k * np.pi / 2)
    scene.ground("floor", 6, floor)
    scene.ground("wall", 6, floor + 2.6)
    for _ in range(scene.count(0, 5)):
        item = furniture(scene, scene.pick("shelf", "cabinet", "chair", "sofa", "table", "plant", "lamp"))
        scene.add(item, (scene.uniform(-side, side), depth - float(item.bounds[1, 1]) - 0.02, floor))
    for _ in range(scene.count(0, 2)):
        at = (scene.uniform(-1.5, 1.5), -scene.uniform(0.6, 1.2), floor)
        scene.add(furniture(scene, "chair"), at, scene.turn())


def tabletop(scene: SceneBuilder) -> World:
    """A table top with packages, books, bottles and open boxes at 0.25 to 1 m."""
    w, d = scene.uniform(0.5, 1.8), scene.uniform(0.4, 0.9)
    top = shapes.block((-w / 2, -d / 2, -scene.uniform(0.01, 0.06)), (w / 2, d / 2, 0))
    scene.add(scene.cover(top, scene.pick("wood", "wood", "plastic", "stone", "fabric", "wall")))
    backdrop(scene, d / 2 + (0.01 if scene.chance(0.4) else scene.uniform(0.3, 3)), -scene.uniform(0.6, 0.8))
    if scene.chance(0.5):
        size = (scene.uniform(0.2, 0.5), scene.uniform(0.15, 0.35), scene.uniform(0.1, 0.35))
        at = (scene.uniform(-0.1, 0.1), scene.uniform(-0.05, 0.15), 0)
        scene.add(open_box(scene, size), at, float(scene.rng.normal(0, 0.4)))
    for _ in range(scene.count(4, 26)):
        x, y = scene.rng.uniform(-1, 1, 2) * (min(w / 2, 0.6), min(d / 2, 0.4))
        thing = small(scene, scene.uniform(0.1, 0.4), 0.45)
        scene.add(thing, (x, y, 0))
        if scene.chance(0.2):
            scene.add(small(scene, 0.2, 0.25), (x, y, float(thing.bounds[1, 2])))
    if scene.chance(0.25):
        at = (*scene.rng.uniform(-0.2, 0.2, 2), 0)
        path = Motion(at, scene.turn(), scene.uniform(0.02, 0.3), scene.uniform(-1, 1))
        scene.move(small(scene, 0.2, 0.3), path)
    focus = [[-0.15, -0.1, 0.0], [0.15, 0.2, 0.15]]
    views = [
        box_view([[-0.4, -0.75, 0.06], [0.4, -0.3, 0.5]], focus, step=0.25, fov=(45, 75)),
        box_view([[-0.6, -1.0, 0.2], [0.6, -0.4, 0.9]], focus, step=0.35, fov=(40, 75)),
        box_view([[-0.3, -0.5, 0.4], [0.3, 0.0, 1.0]], focus, step=0.3, fov=(40, 70), roll=0.4),
    ]
    return lit(scene, views, 1.0, scene.uniform(0.08, 0.3))


def inside(scene: SceneBuilder) -> World:
    """A close look into shelves, a cupboard corner or a heap of boxes."""
    floor = scene.uniform(0.8, 1.6)
    backdrop(scene, 0.45, -floor)
    x = -1.8
    while x < 1.6:
        size = (scene.uniform(0.4, 1.2), scene.uniform(0.25, 0.45), scene.uniform(floor * 0.6, floor + 0.9))
        item = shelf(scene, size) if scene.chance(0.7) else cabinet(scene, size)
        scene.add(item, (x + size[0] / 2, 0.43 - size[1] / 2, -floor), float(scene.rng.normal(0, 0.02)))
        x += size[0] + scene.uniform(0, 0.1)
    eye, target = [[-0.8, -1.0, -0.4], [0.8, -0.25, 0.5]], [[-0.7, 0.2, -0.6], [0.7, 0.4, 0.5]]
    return lit(scene, [box_view(eye, target, step=0.35, fov=(40, 80))], 1.6, scene.uniform(0.1, 0.4))


def clutter(scene: SceneBuilder) -> World:
    """Arbitrary shapes of many sizes at many distances, lying, standing or floating."""
    scale, floating = float(np.exp(scene.uniform(np.log(0.5), np.log(8)))), scene.chance(0.4)
    if not floating or scene.chance(0.5):
        scene.ground(scene.pick("floor", "ground", "any"), 9 * scale)
    for k in range(4 if scene.chance(0.7) else 0):
        corner = (-9 * scale, scene.uniform(2, 6) * scale, -6 * scale)
        panel = shapes.quad(corner, (18 * scale, 0, 0), (0, 0, 15 * scale))
        scene.add(scene.cover(panel, scene.pick("wall", "any")), yaw=k * np.pi / 2)
    makers = [SMALL[name][0] for name in ("carton", "bottle", "vase", "lump", "cup", "open box")]
    for _ in range(scene.count(20, 60)):
        mesh = (solid if scene.chance(0.6) else scene.one(makers))(scene)
        size = max(float(np.linalg.norm(np.ptp(mesh.bounds, axis=0))), 1e-3)
        mesh = mesh.scaled(scale / size * float(np.exp(scene.uniform(np.log(0.15), np.log(1.2)))))
        mesh = mesh.moved(rotation=random_rotation(scene.rng) if floating else rotation_z(scene.turn()))
        at = scene.rng.uniform(-1, 1, 3) * np.array([2.5, 2.5, 1.2]) * scale
        at[2] = at[2] + 1.2 * scale if floating else 0
        if scene.chance(0.1):
            scene.move(mesh, Motion(at, scene.turn(), scene.uniform(0, 0.5) * scale, scene.uniform(-2, 2)))
        else:
            scene.add(mesh, at)
    scene.add(solid(scene))
    eye = np.array([[-2.2, -2.2, 0.1], [2.2, 2.2, 1.8]]) * scale
    view = box_view(eye, np.array([[-1, -1, 0], [1, 1, 1]]) * scale, step=0.6 * scale, fov=(40, 90), roll=0.2)
    return lit(scene, [view], 2 * scale, 0.3 * scale)


def pile(scene: SceneBuilder) -> World:
    """A wall of stacked boxes, sacks or logs, and things before it."""
    parts, x, deep = [], -2.0, scene.uniform(0.3, 0.8)
    common = scene.material(scene.pick("cardboard", "wood", "stone", "any"))
    while x < 2.0:
        w, z = scene.uniform(0.2, 0.8), 0.0
        while z < scene.uniform(0.3, 2.4):
            h, d = scene.uniform(0.12, 0.6), deep * scene.uniform(0.6, 1.2)
            box = shapes.block((0, -d, 0), (w * scene.uniform(0.8, 0.99), 0, h))
            at = (x, 0.8 + scene.uniform(-0.1, 0.1), z)
            covered = scene.cover(box, common if scene.chance(0.6) else "any")
            parts.append(covered.moved(at, float(scene.rng.normal(0, 0.04))))
            z += h
        x += w
    scene.add(merge(parts))
    backdrop(scene, 1.4, 0.0)
    for _ in range(scene.count(3, 15)):
        size = scene.uniform(0.3, 1.0)
        thing = small(scene, size, size) if scene.chance(0.6) else solid(scene).scaled(3)
        scene.add(thing, (scene.uniform(-1.5, 1.5), scene.uniform(-1.2, 0.4), 0), scene.turn())
    view = box_view([[-1.2, -2.2, 0.3], [1.2, -0.6, 1.7]], [[-1, 0.2, 0.1], [1, 0.8, 1.2]], step=0.5, fov=(45, 85))
    return lit(scene, [view], 2.0, 0.5)
