"""Close layouts: table tops seen from half a metre, and heaps of arbitrary shapes."""

from __future__ import annotations

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import SceneBuilder
from starter.scenes.mesh import Floats, floats, merge, random_rotation, rotation_z
from starter.scenes.props.indoor import cabinet, furniture, shelf
from starter.scenes.props.small import SMALL, open_box, small, solid
from starter.scenes.room_shell import box_view, day_sky
from starter.scenes.world import Light, Motion, World


def close_light(scene: SceneBuilder, reach: float) -> tuple[list[Light], tuple[Floats, Floats]]:
    """Lamps above a scene of `reach` metres, and the light around."""
    bright = scene.uniform(0.06, 0.45)
    tint = np.exp(scene.rng.normal(0, 0.1, 3))
    lights = []
    for _ in range(scene.count(1, 2)):
        x, y = scene.rng.uniform(-1.5, 1.5, 2) * reach
        colour = tuple(scene.uniform(0.3, 1.2) * tint)
        lights.append(
            Light((x, y, reach * scene.uniform(1, 3)), colour, scene.uniform(0.03, 0.3) * reach, reach=2 * reach)
        )
    return lights, (floats(bright * tint), floats(bright * tint * scene.uniform(0.4, 0.9)))


def backdrop(scene: SceneBuilder, depth: float, floor: float) -> None:
    """What stands behind a table: walls, shelves, furniture, another table; `floor` is its height below 0."""
    side = 2.5 + depth
    walls = scene.material("wall")
    for k in range(4):
        away = depth if k == 0 else scene.uniform(1.0, 3.5)
        panel = shapes.quad((-6, away, floor), (12, 0, 0), (0, 0, 3))
        scene.add(scene.cover(panel, walls), yaw=k * np.pi / 2)
    scene.add(scene.cover(shapes.quad((-6, -6, floor), (12, 0, 0), (0, 12, 0)), "floor"))
    scene.add(scene.cover(shapes.quad((-6, -6, floor + 2.6), (12, 0, 0), (0, 12, 0)), "wall"))
    for _ in range(scene.count(0, 5)):
        roles = ("shelf", "cabinet", "chair", "sofa", "table", "plant", "lamp")
        item = furniture(scene, scene.pick(*roles))
        back = float(item.bounds[1, 1])
        scene.add(item, (scene.uniform(-side, side) * 0.6, depth - back - 0.02, floor))
    for _ in range(scene.count(0, 2)):
        x, y = scene.uniform(-1.5, 1.5), -scene.uniform(0.6, 1.2)
        scene.add(furniture(scene, "chair"), (x, y, floor), scene.turn())


def tabletop(scene: SceneBuilder) -> World:
    """A table top with packages, books, bottles and open boxes at 0.25 to 1 m."""
    w, d = scene.uniform(0.5, 1.8), scene.uniform(0.4, 0.9)
    thick = scene.uniform(0.01, 0.06)
    top = scene.material(scene.pick("wood", "wood", "plastic", "stone", "fabric", "wall"))
    scene.add(scene.cover(shapes.block((-w / 2, -d / 2, -thick), (w / 2, d / 2, 0)), top))
    backdrop(scene, d / 2 + (0.01 if scene.chance(0.4) else scene.uniform(0.3, 3)), -scene.uniform(0.6, 0.8))
    if scene.chance(0.5):
        size = (scene.uniform(0.2, 0.5), scene.uniform(0.15, 0.35), scene.uniform(0.1, 0.35))
        turn = float(scene.rng.normal(0, 0.4))
        scene.add(open_box(scene, size), (scene.uniform(-0.1, 0.1), scene.uniform(-0.05, 0.15), 0), turn)
    span = np.array([min(w / 2, 0.6), min(d / 2, 0.4)])
    for _ in range(scene.count(4, 26)):
        x, y = scene.rng.uniform(-1, 1, 2) * span
        thing = small(scene, scene.uniform(0.1, 0.4), 0.45)
        scene.add(thing, (x, y, 0))
        if scene.chance(0.2):
            scene.add(small(scene, 0.2, 0.25), (x, y, float(thing.bounds[1, 2])))
    if scene.chance(0.25):
        path = Motion(
            (scene.uniform(-0.2, 0.2), scene.uniform(-0.2, 0.2), 0.0),
            scene.turn(),
            scene.uniform(0.02, 0.3),
            scene.uniform(-1, 1),
        )
        scene.move(small(scene, 0.2, 0.3), path)
    lights, ambient = close_light(scene, 1.0)
    focus = [[-0.15, -0.1, 0.0], [0.15, 0.2, 0.15]]
    views = [
        box_view([[-0.4, -0.75, 0.06], [0.4, -0.3, 0.5]], focus, step=0.25, fov=(45, 75)),
        box_view([[-0.6, -1.0, 0.2], [0.6, -0.4, 0.9]], focus, step=0.35, fov=(40, 75)),
        box_view([[-0.3, -0.5, 0.4], [0.3, 0.0, 1.0]], focus, step=0.3, fov=(40, 70), roll=0.4),
    ]
    return scene.world(lights, ambient, day_sky(scene), views, scene.uniform(0.08, 0.3))


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
    lights, ambient = close_light(scene, 1.6)
    near = box_view(
        [[-0.8, -1.0, -0.4], [0.8, -0.25, 0.5]], [[-0.7, 0.2, -0.6], [0.7, 0.4, 0.5]], step=0.35, fov=(40, 80)
    )
    return scene.world(lights, ambient, day_sky(scene), [near], scene.uniform(0.1, 0.4))


def clutter(scene: SceneBuilder) -> World:
    """Arbitrary shapes of many sizes at many distances, lying, standing or floating."""
    scale = float(np.exp(scene.uniform(np.log(0.5), np.log(8))))
    floating = scene.chance(0.4)
    if not floating or scene.chance(0.5):
        scene.add(
            scene.cover(
                shapes.quad((-9 * scale, -9 * scale, 0), (18 * scale, 0, 0), (0, 18 * scale, 0)),
                scene.pick("floor", "ground", "any"),
            )
        )
    if scene.chance(0.7):
        for k in range(4):
            panel = shapes.quad(
                (-9 * scale, scene.uniform(2, 6) * scale, -6 * scale), (18 * scale, 0, 0), (0, 0, 15 * scale)
            )
            scene.add(scene.cover(panel, scene.pick("wall", "any")), yaw=k * np.pi / 2)
    makers = [SMALL[name][0] for name in ("carton", "bottle", "vase", "lump", "cup", "open box")]
    for _ in range(scene.count(20, 60)):
        mesh = solid(scene) if scene.chance(0.6) else makers[scene.count(0, len(makers) - 1)](scene)
        size = float(np.linalg.norm(mesh.bounds[1] - mesh.bounds[0]))
        mesh = mesh.scaled(scale * float(np.exp(scene.uniform(np.log(0.15), np.log(1.2)))) / max(size, 1e-3))
        turn = random_rotation(scene.rng) if floating else rotation_z(scene.turn())
        at = scene.rng.uniform(-1, 1, 3) * np.array([2.5, 2.5, 1.2]) * scale
        at[2] = at[2] + 1.2 * scale if floating else 0
        if scene.chance(0.1):
            path = Motion(at, scene.turn(), scene.uniform(0, 0.5) * scale, scene.uniform(-2, 2))
            scene.move(mesh.moved(rotation=turn), path)
        else:
            scene.still.append(mesh.moved(at, rotation=turn))
    if not scene.still:
        scene.add(solid(scene))
    lights, ambient = close_light(scene, 2 * scale)
    eye = [[-2.2 * scale, -2.2 * scale, 0.1 * scale], [2.2 * scale, 2.2 * scale, 1.8 * scale]]
    target = [[-scale, -scale, 0], [scale, scale, scale]]
    view = box_view(eye, target, step=0.6 * scale, fov=(40, 90), roll=0.2)
    return scene.world(lights, ambient, day_sky(scene), [view], 0.3 * scale)


def pile(scene: SceneBuilder) -> World:
    """A wall of stacked boxes, sacks or logs, and things before it."""
    parts, x = [], -2.0
    deep = scene.uniform(0.3, 0.8)
    common = scene.material(scene.pick("cardboard", "wood", "stone", "any"))
    while x < 2.0:
        w, z = scene.uniform(0.2, 0.8), 0.0
        while z < scene.uniform(0.3, 2.4):
            h, d = scene.uniform(0.12, 0.6), deep * scene.uniform(0.6, 1.2)
            box = shapes.block((0, -d, 0), (w * scene.uniform(0.8, 0.99), 0, h))
            parts.append(
                scene.cover(box, common if scene.chance(0.6) else "any").moved(
                    (x, 0.8 + scene.uniform(-0.1, 0.1), z), float(scene.rng.normal(0, 0.04))
                )
            )
            z += h
        x += w
    scene.still.append(merge(parts))
    backdrop(scene, 1.4, 0.0)
    for _ in range(scene.count(3, 15)):
        size = scene.uniform(0.3, 1.0)
        thing = small(scene, size, size) if scene.chance(0.6) else solid(scene).scaled(3)
        scene.add(thing, (scene.uniform(-1.5, 1.5), scene.uniform(-1.2, 0.4), 0), scene.turn())
    lights, ambient = close_light(scene, 2.0)
    view = box_view([[-1.2, -2.2, 0.3], [1.2, -0.6, 1.7]], [[-1, 0.2, 0.1], [1, 0.8, 1.2]], step=0.5, fov=(45, 85))
    return scene.world(lights, ambient, day_sky(scene), [view], 0.5)
