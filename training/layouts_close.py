"""Close layouts: table tops seen from half a metre, and heaps of arbitrary shapes."""

from __future__ import annotations

import numpy as np

from training import shapes
from training.interior import day_sky
from training.layouts_rooms import box_view
from training.mesh import Floats, floats, merge, random_rotation, rotation_z
from training.motion import Motion
from training.pieces_indoor import cabinet, furniture, shelf
from training.pieces_small import SMALL, open_box, small, solid
from training.workshop import Workshop
from training.world import Light, Moving, World


def close_light(shop: Workshop, reach: float) -> tuple[list[Light], tuple[Floats, Floats]]:
    """Lamps above a scene of `reach` metres, and the light around."""
    bright = shop.uniform(0.06, 0.45)
    tint = np.exp(shop.rng.normal(0, 0.1, 3))
    lights = []
    for _ in range(shop.count(1, 2)):
        x, y = shop.rng.uniform(-1.5, 1.5, 2) * reach
        colour = tuple(shop.uniform(0.3, 1.2) * tint)
        lights.append(
            Light((x, y, reach * shop.uniform(1, 3)), colour, shop.uniform(0.03, 0.3) * reach, reach=2 * reach)
        )
    return lights, (floats(bright * tint), floats(bright * tint * shop.uniform(0.4, 0.9)))


def backdrop(shop: Workshop, depth: float, floor: float) -> None:
    """What stands behind a table: walls, shelves, furniture, another table; `floor` is its height below 0."""
    side = 2.5 + depth
    walls = shop.paint("wall")
    for k in range(4):
        away = depth if k == 0 else shop.uniform(1.0, 3.5)
        panel = shapes.quad((-6, away, floor), (12, 0, 0), (0, 0, 3))
        shop.add(shop.cover(panel, walls), yaw=k * np.pi / 2)
    shop.add(shop.cover(shapes.quad((-6, -6, floor), (12, 0, 0), (0, 12, 0)), "floor"))
    shop.add(shop.cover(shapes.quad((-6, -6, floor + 2.6), (12, 0, 0), (0, 12, 0)), "wall"))
    for _ in range(shop.count(0, 5)):
        roles = ("shelf", "cabinet", "chair", "sofa", "table", "plant", "lamp")
        piece = furniture(shop, shop.pick(*roles))
        back = float(piece.bounds[1, 1])
        shop.add(piece, (shop.uniform(-side, side) * 0.6, depth - back - 0.02, floor))
    for _ in range(shop.count(0, 2)):
        x, y = shop.uniform(-1.5, 1.5), -shop.uniform(0.6, 1.2)
        shop.add(furniture(shop, "chair"), (x, y, floor), shop.uniform(0, 6.3))


def tabletop(shop: Workshop) -> World:
    """A table top with packages, books, bottles and open boxes at 0.25 to 1 m."""
    w, d = shop.uniform(0.5, 1.8), shop.uniform(0.4, 0.9)
    thick = shop.uniform(0.01, 0.06)
    top = shop.paint(shop.pick("wood", "wood", "plastic", "stone", "fabric", "wall"))
    shop.add(shop.cover(shapes.block((-w / 2, -d / 2, -thick), (w / 2, d / 2, 0)), top))
    backdrop(shop, d / 2 + (0.01 if shop.chance(0.4) else shop.uniform(0.3, 3)), -shop.uniform(0.6, 0.8))
    if shop.chance(0.5):
        size = (shop.uniform(0.2, 0.5), shop.uniform(0.15, 0.35), shop.uniform(0.1, 0.35))
        turn = float(shop.rng.normal(0, 0.4))
        shop.add(open_box(shop, size), (shop.uniform(-0.1, 0.1), shop.uniform(-0.05, 0.15), 0), turn)
    span = np.array([min(w / 2, 0.6), min(d / 2, 0.4)])
    for _ in range(shop.count(4, 26)):
        x, y = shop.rng.uniform(-1, 1, 2) * span
        thing = small(shop, shop.uniform(0.1, 0.4), 0.45)
        shop.add(thing, (x, y, 0))
        if shop.chance(0.2):
            shop.add(small(shop, 0.2, 0.25), (x, y, float(thing.bounds[1, 2])))
    if shop.chance(0.25):
        path = Motion(
            (shop.uniform(-0.2, 0.2), shop.uniform(-0.2, 0.2), 0.0),
            shop.uniform(0, 6.3),
            shop.uniform(0.02, 0.3),
            shop.uniform(-1, 1),
        )
        shop.moving.append(Moving(small(shop, 0.2, 0.3), path))
    lights, ambient = close_light(shop, 1.0)
    focus = [[-0.15, -0.1, 0.0], [0.15, 0.2, 0.15]]
    views = [
        box_view([[-0.4, -0.75, 0.06], [0.4, -0.3, 0.5]], focus, step=0.25, fov=(45, 75)),
        box_view([[-0.6, -1.0, 0.2], [0.6, -0.4, 0.9]], focus, step=0.35, fov=(40, 75)),
        box_view([[-0.3, -0.5, 0.4], [0.3, 0.0, 1.0]], focus, step=0.3, fov=(40, 70), roll=0.4),
    ]
    return World(
        shop.whole(), shop.moving, shop.materials, lights, ambient, day_sky(shop), views, shop.uniform(0.08, 0.3)
    )


def inside(shop: Workshop) -> World:
    """A close look into shelves, a cupboard corner or a heap of boxes."""
    floor = shop.uniform(0.8, 1.6)
    backdrop(shop, 0.45, -floor)
    x = -1.8
    while x < 1.6:
        size = (shop.uniform(0.4, 1.2), shop.uniform(0.25, 0.45), shop.uniform(floor * 0.6, floor + 0.9))
        piece = shelf(shop, size) if shop.chance(0.7) else cabinet(shop, size)
        shop.add(piece, (x + size[0] / 2, 0.43 - size[1] / 2, -floor), float(shop.rng.normal(0, 0.02)))
        x += size[0] + shop.uniform(0, 0.1)
    lights, ambient = close_light(shop, 1.6)
    near = box_view(
        [[-0.8, -1.0, -0.4], [0.8, -0.25, 0.5]], [[-0.7, 0.2, -0.6], [0.7, 0.4, 0.5]], step=0.35, fov=(40, 80)
    )
    return World(
        shop.whole(), shop.moving, shop.materials, lights, ambient, day_sky(shop), [near], shop.uniform(0.1, 0.4)
    )


def clutter(shop: Workshop) -> World:
    """Arbitrary shapes of many sizes at many distances, lying, standing or floating."""
    scale = float(np.exp(shop.uniform(np.log(0.5), np.log(8))))
    floating = shop.chance(0.4)
    if not floating or shop.chance(0.5):
        shop.add(
            shop.cover(
                shapes.quad((-9 * scale, -9 * scale, 0), (18 * scale, 0, 0), (0, 18 * scale, 0)),
                shop.pick("floor", "ground", "any"),
            )
        )
    if shop.chance(0.7):
        for k in range(4):
            panel = shapes.quad(
                (-9 * scale, shop.uniform(2, 6) * scale, -6 * scale), (18 * scale, 0, 0), (0, 0, 15 * scale)
            )
            shop.add(shop.cover(panel, shop.pick("wall", "any")), yaw=k * np.pi / 2)
    makers = [SMALL[name][0] for name in ("carton", "bottle", "vase", "lump", "cup", "open box")]
    for _ in range(shop.count(20, 60)):
        mesh = solid(shop) if shop.chance(0.6) else makers[shop.count(0, len(makers) - 1)](shop)
        size = float(np.linalg.norm(mesh.bounds[1] - mesh.bounds[0]))
        mesh = mesh.scaled(scale * float(np.exp(shop.uniform(np.log(0.15), np.log(1.2)))) / max(size, 1e-3))
        turn = random_rotation(shop.rng) if floating else rotation_z(shop.uniform(0, 6.3))
        at = shop.rng.uniform(-1, 1, 3) * np.array([2.5, 2.5, 1.2]) * scale
        at[2] = at[2] + 1.2 * scale if floating else 0
        if shop.chance(0.1):
            path = Motion(
                (float(at[0]), float(at[1]), float(at[2])),
                shop.uniform(0, 6.3),
                shop.uniform(0, 0.5) * scale,
                shop.uniform(-2, 2),
            )
            shop.moving.append(Moving(mesh.moved(rotation=turn), path))
        else:
            shop.still.append(mesh.moved(at, rotation=turn))
    if not shop.still:
        shop.add(solid(shop))
    lights, ambient = close_light(shop, 2 * scale)
    eye = [[-2.2 * scale, -2.2 * scale, 0.1 * scale], [2.2 * scale, 2.2 * scale, 1.8 * scale]]
    target = [[-scale, -scale, 0], [scale, scale, scale]]
    view = box_view(eye, target, step=0.6 * scale, fov=(40, 90), roll=0.2)
    return World(shop.whole(), shop.moving, shop.materials, lights, ambient, day_sky(shop), [view], 0.3 * scale)


def pile(shop: Workshop) -> World:
    """A wall of stacked boxes, sacks or logs, and things before it."""
    parts, x = [], -2.0
    deep = shop.uniform(0.3, 0.8)
    common = shop.paint(shop.pick("cardboard", "wood", "stone", "any"))
    while x < 2.0:
        w, z = shop.uniform(0.2, 0.8), 0.0
        while z < shop.uniform(0.3, 2.4):
            h, d = shop.uniform(0.12, 0.6), deep * shop.uniform(0.6, 1.2)
            box = shapes.block((0, -d, 0), (w * shop.uniform(0.8, 0.99), 0, h))
            parts.append(
                shop.cover(box, common if shop.chance(0.6) else "any").moved(
                    (x, 0.8 + shop.uniform(-0.1, 0.1), z), float(shop.rng.normal(0, 0.04))
                )
            )
            z += h
        x += w
    shop.still.append(merge(parts))
    backdrop(shop, 1.4, 0.0)
    for _ in range(shop.count(3, 15)):
        size = shop.uniform(0.3, 1.0)
        thing = small(shop, size, size) if shop.chance(0.6) else solid(shop).scaled(3)
        shop.add(thing, (shop.uniform(-1.5, 1.5), shop.uniform(-1.2, 0.4), 0), shop.uniform(0, 6.3))
    lights, ambient = close_light(shop, 2.0)
    view = box_view([[-1.2, -2.2, 0.3], [1.2, -0.6, 1.7]], [[-1, 0.2, 0.1], [1, 0.8, 1.2]], step=0.5, fov=(45, 85))
    return World(shop.whole(), shop.moving, shop.materials, lights, ambient, day_sky(shop), [view], 0.5)
