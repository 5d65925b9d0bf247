"""Indoor layouts: living rooms and bedrooms, kitchens, offices, corridors, rows of shelves."""

from __future__ import annotations

import numpy as np

from training import shapes
from training.interior import Shell, build_shell, finish, put, wall_frame
from training.mesh import Mesh, merge
from training.pieces_desk import screen
from training.pieces_indoor import cabinet, furniture, shelf, spread, table
from training.pieces_outdoor import person
from training.pieces_small import SMALL, small
from training.workshop import Paint, Workshop
from training.world import View, World


def box_view(eye: list[list[float]], target: list[list[float]], **how: object) -> View:
    """A view between two boxes given by their corners."""
    return View(np.array(eye, np.float64), np.array(target, np.float64), **how)  # type: ignore[arg-type]


def line_walls(shop: Workshop, shell: Shell, roles: tuple[str, ...], density: float) -> None:
    """Furniture side by side along the walls."""
    for side in range(4):
        long, _ = wall_frame(shell, side)
        x = -long / 2 + shop.uniform(0, 0.6)
        while x < long / 2 - 0.4:
            if not shop.chance(density):
                x += shop.uniform(0.3, 1.2)
                continue
            piece = furniture(shop, shop.pick(*roles))
            w = float(piece.bounds[1, 0] - piece.bounds[0, 0])
            if x + w > long / 2:
                break
            put(shop, shell, side, piece, x + w / 2, shop.uniform(0.01, 0.08))
            top = float(piece.bounds[1, 2])
            if 0.3 < top < 1.6 and shop.chance(0.5):
                for _ in range(shop.count(1, 3)):
                    put(
                        shop,
                        shell,
                        side,
                        small(shop, 0.35),
                        x + w * shop.uniform(0.2, 0.8),
                        shop.uniform(0.05, 0.15),
                        top,
                    )
            x += w + shop.uniform(0.02, 0.5)


def group(shop: Workshop, at: tuple[float, float], chairs: int) -> None:
    """A table with chairs round it."""
    desk = furniture(shop, "table")
    w, d = (desk.bounds[1] - desk.bounds[0])[:2]
    turn = shop.uniform(0, 6.3)
    parts = [desk]
    model = furniture(shop, "chair")
    for k in range(chairs):
        one = model if shop.chance(0.8) else furniture(shop, "chair")
        side = k % 4
        away = (d / 2 if side % 2 == 0 else w / 2) + shop.uniform(-0.05, 0.4)
        # The chair's front looks at the table: at +y it looks to -y.
        slide = shop.uniform(-0.3, 0.3) * (w if side % 2 == 0 else d)
        chair = one.moved((slide, away, 0)).moved(yaw=side * np.pi / 2 + float(shop.rng.normal(0, 0.15)))
        parts.append(chair)
    shop.add(merge(parts), (*at, 0.0), turn)


def litter(shop: Workshop, shell: Shell, count: int) -> None:
    """Small things on the floor, and a rug."""
    if shop.chance(0.4):
        w, d = shop.uniform(0.8, 2.5), shop.uniform(0.6, 2)
        rug = shapes.block((-w / 2, -d / 2, 0), (w / 2, d / 2, 0.012))
        shop.add(shop.cover(rug, "fabric"), (*(shop.rng.uniform(-0.4, 0.4, 2) * shell.half), 0), shop.uniform(0, 6.3))
    for _ in range(shop.count(0, 2)):
        thing = shop.piece("other")
        if thing is not None:
            shop.add(thing, (*(shop.rng.uniform(-0.8, 0.8, 2) * shell.half), 0), shop.uniform(0, 6.3))
    if shop.chance(0.15):
        shop.add(person(shop), (*(shop.rng.uniform(-0.7, 0.7, 2) * shell.half), 0), shop.uniform(0, 6.3))
    for _ in range(count):
        shop.add(small(shop, 0.6, 0.8), (*(shop.rng.uniform(-0.9, 0.9, 2) * shell.half), 0))


def room(shop: Workshop) -> World:
    """A living room, dining room or bedroom."""
    shell = Shell(shop.uniform(2.6, 7), shop.uniform(2.8, 9), shop.uniform(2.2, 3.3))
    build_shell(shop, shell)
    roles = ("cabinet", "shelf", "sofa", "lamp", "plant", "table", "chair", "stool", "bed")
    line_walls(shop, shell, roles, shop.uniform(0.3, 0.9))
    for _ in range(shop.count(0, 2)):
        at = tuple(shop.rng.uniform(-0.5, 0.5, 2) * shell.half)
        group(shop, (float(at[0]), float(at[1])), shop.count(0, 5))
    for _ in range(shop.count(0, 3)):
        piece = furniture(shop, shop.pick("chair", "stool", "sofa", "plant", "lamp", "table"))
        shop.add(piece, (*(shop.rng.uniform(-0.6, 0.6, 2) * shell.half), 0), shop.uniform(0, 6.3))
    litter(shop, shell, shop.count(0, 6))
    return finish(shop, shell)


def counter(shop: Workshop, shell: Shell, side: int, front: Paint, top: Paint) -> None:
    """A kitchen line: base units, worktop, splashback, wall units, things on top."""
    long, _ = wall_frame(shell, side)
    low, high = sorted(shop.rng.uniform(-0.5, 0.5, 2) * long)
    low, high = (low, high) if high - low > 1.5 else (-0.48 * long, 0.48 * long)
    deep, h = shop.uniform(0.55, 0.68), shop.uniform(0.84, 0.95)
    width = high - low
    put(shop, shell, side, cabinet(shop, (width, deep, h - 0.04), front), (low + high) / 2)
    slab = shapes.block((-width / 2, -deep / 2 - 0.03, 0), (width / 2, deep / 2, 0.04))
    put(shop, shell, side, shop.cover(slab, top), (low + high) / 2, z=h - 0.04)
    if shop.chance(0.6):
        panel = shapes.block((-width / 2, -0.01, 0), (width / 2, 0, shop.uniform(0.3, 0.6)))
        tiles = Paint(
            shop.toned("tiles", "bricks", "plaster", base=shop.grey(0.3, 0.95), finish={"specular": 0.3}),
            shop.uniform(0.4, 1),
        )
        put(shop, shell, side, shop.cover(panel, tiles), (low + high) / 2, 0.001, h)
    if shop.chance(0.75):
        above = shop.uniform(1.35, 1.55)
        wide = width * shop.uniform(0.4, 1)
        unit = cabinet(shop, (wide, 0.35, shop.uniform(0.45, 0.9)), front if shop.chance(0.7) else None)
        put(shop, shell, side, unit, (low + high) / 2 + shop.uniform(-0.5, 0.5) * (width - wide), z=above)
    if shop.chance(0.6):
        tap(shop, shell, side, shop.uniform(low + 0.3, high - 0.3), deep, h)
    for _ in range(shop.count(3, 16)):
        put(
            shop,
            shell,
            side,
            small(shop, 0.35, 0.4),
            shop.uniform(low + 0.1, high - 0.1),
            shop.uniform(0.02, deep - 0.2),
            h,
        )


def tap(shop: Workshop, shell: Shell, side: int, x: float, deep: float, h: float) -> None:
    """A sink's rim and its tap."""
    metal = shop.paint("metal")
    dark = Paint(shop.materials.plain(shop.grey(0.1, 0.5), specular=0.6))
    t = np.linspace(0, np.pi, 9)
    bow = np.stack([np.zeros(9), -0.08 + 0.08 * np.cos(t), 0.22 + 0.08 * np.sin(t)], -1)
    pipe = shapes.tube(np.concatenate([[[0, 0, 0.0]], bow]), 0.012)
    basin = shapes.block((-0.25, -deep + 0.14, 0), (0.25, -0.06, 0.004))
    put(shop, shell, side, merge([shop.cover(pipe, metal), shop.cover(basin, dark)]), x, 0.1, h)


def kitchen(shop: Workshop) -> World:
    """A kitchen, of a flat or an office: counters, appliances, an island or a dining table."""
    shell = Shell(shop.uniform(2.4, 6.5), shop.uniform(2.6, 7), shop.uniform(2.3, 3))
    build_shell(shop, shell)
    front = shop.paint(shop.pick("wood", "plastic", "plastic"))
    top = shop.paint(shop.pick("stone", "wood", "plastic"))
    sides = shop.rng.permutation(4)[: shop.count(1, 3)]
    for side in sides:
        counter(shop, shell, int(side), front, top)
    for side in range(4):
        if side not in sides:
            for _ in range(shop.count(0, 2)):
                size = (shop.uniform(0.5, 0.95), shop.uniform(0.5, 0.7), shop.uniform(1.2, 2.1))
                piece = (shop.piece("kitchen") if shop.chance(0.5) else None) or cabinet(shop, size)
                put(shop, shell, side, piece, shop.uniform(-0.4, 0.4) * wall_frame(shell, side)[0])
    if min(shell.width, shell.length) > 3:
        at = shop.rng.uniform(-0.3, 0.3, 2) * shell.half
        group(shop, (float(at[0]), float(at[1])), shop.count(1, 6))
    litter(shop, shell, shop.count(0, 3))
    hx, hy = shell.half
    worktop = box_view(
        [[-hx + 0.5, -hy + 0.5, 1.1], [hx - 0.5, hy - 0.5, 1.7]],
        [[-hx, -hy, 0.8], [hx, hy, 1.2]],
        step=0.5,
        fov=(45, 75),
    )
    return finish(shop, shell, [worktop])


def workplace(shop: Workshop) -> Mesh:
    """A desk with a screen and things, and a chair."""
    size = (shop.uniform(1.1, 1.8), shop.uniform(0.6, 0.9), shop.uniform(0.7, 0.78))
    parts = [table(shop, size, 0)]
    for _ in range(shop.count(0, 2)):
        parts.append(
            screen(shop).moved((shop.uniform(-0.3, 0.3) * size[0], size[1] * 0.2, size[2]), shop.uniform(-0.3, 0.3))
        )
    keys = shapes.block((-0.22, -0.07, 0), (0.22, 0.07, 0.02))
    parts.append(shop.cover(keys, "plastic").moved((shop.uniform(-0.2, 0.2), -size[1] * 0.25, size[2])))
    parts += spread(shop, size[0], size[1], size[2], shop.count(2, 12), 0.3)
    turn = np.pi + float(shop.rng.normal(0, 0.5))
    parts.append(
        furniture(shop, "chair").moved((shop.uniform(-0.3, 0.3), -size[1] / 2 - shop.uniform(0.1, 0.5), 0), turn)
    )
    return merge(parts)


def office(shop: Workshop) -> World:
    """An office: rows of desks, screens, chairs, shelves, partitions."""
    shell = Shell(shop.uniform(3, 9), shop.uniform(3, 11), shop.uniform(2.4, 3.4))
    build_shell(shop, shell)
    line_walls(shop, shell, ("shelf", "cabinet", "plant", "table", "lamp"), shop.uniform(0.2, 0.7))
    turn = shop.count(0, 1) * np.pi / 2
    for x in np.arange(-shell.half[0] + 1.2, shell.half[0] - 0.8, shop.uniform(1.9, 3)):
        for y in np.arange(-shell.half[1] + 1.4, shell.half[1] - 0.8, shop.uniform(2, 3.2)):
            if shop.chance(0.65):
                shop.add(workplace(shop), (x, y, 0), turn + np.pi * shop.count(0, 1) + float(shop.rng.normal(0, 0.05)))
            elif shop.chance(0.3):
                board = shapes.block((-0.8, -0.02, 0.05), (0.8, 0.02, shop.uniform(1.1, 1.8)))
                shop.add(shop.cover(board, "fabric"), (x, y, 0), turn)
    litter(shop, shell, shop.count(0, 4))
    return finish(shop, shell)


def corridor(shop: Workshop) -> World:
    """A long narrow space with doors and things along its walls."""
    shell = Shell(shop.uniform(1.2, 3), shop.uniform(6, 25), shop.uniform(2.2, 3.4))
    build_shell(shop, shell)
    for side in (1, 3):
        for x in np.arange(-shell.length / 2 + 1, shell.length / 2 - 1, shop.uniform(1.8, 4)):
            if shop.chance(0.6):
                leaf = merge(
                    [
                        shop.cover(shapes.block((-0.5, -0.03, 0), (0.5, 0.0, 2.1)), "wood"),
                        shop.cover(
                            shapes.block((-0.44, -0.04, 0.02), (0.44, -0.03, 2.04)), shop.pick("wood", "plastic")
                        ),
                        shop.cover(shapes.rod((0.36, -0.09, 1.0), (0.24, -0.09, 1.0), 0.011, 6), "metal"),
                    ]
                )
                put(shop, shell, side, leaf, x, 0)
            elif shop.chance(0.5):
                roles = (
                    ("cabinet", "shelf", "plant", "stool", "chair")
                    if shell.width > 1.6
                    else ("stool", "chair", "plant")
                )
                put(shop, shell, side, furniture(shop, shop.pick(*roles)), x)
    litter(shop, shell, shop.count(0, 5))
    hx, hy = shell.half
    ahead = box_view(
        [[-hx + 0.4, -hy + 0.4, 0.8], [hx - 0.4, -hy * 0.2, 1.8]], [[-hx, hy * 0.5, 0.5], [hx, hy, 1.8]], fov=(45, 85)
    )
    return finish(shop, shell, [ahead, ahead, ahead])


def store(shop: Workshop) -> World:
    """A library, shop or warehouse: rows of filled shelves, sometimes crates between them."""
    shell = Shell(shop.uniform(4, 8), shop.uniform(5, 14), shop.uniform(2.6, 5))
    build_shell(shop, shell)
    gap = shop.uniform(1.1, 2.2)
    rows = np.arange(-shell.half[0] + 0.4, shell.half[0] - 0.2, gap + 0.5)
    size = (shop.uniform(0.9, 1.6), shop.uniform(0.3, 0.5), min(shop.uniform(1.2, 2.6), shell.height - 0.2))
    models = [shelf(shop, size) for _ in range(3)]
    for x in rows:
        for y in np.arange(-shell.half[1] + 1, shell.half[1] - 1, size[0] + 0.02):
            if shop.chance(0.85):
                shop.add(models[shop.count(0, 2)], (x, y, 0), np.pi / 2 if shop.chance(0.5) else -np.pi / 2)
    for _ in range(shop.count(0, 8)):
        thing = SMALL["carton"][0](shop).scaled(shop.uniform(1, 3))
        shop.add(thing, (*(shop.rng.uniform(-0.9, 0.9, 2) * shell.half), 0), shop.uniform(0, 6.3))
    middle = float(rows[len(rows) // 2]) + (gap + 0.5) / 2
    hy = shell.half[1]
    along = box_view(
        [[middle - 0.3, -hy + 0.5, 0.8], [middle + 0.3, 0, 1.8]], [[middle - 1, hy * 0.3, 0.3], [middle + 1, hy, 1.8]]
    )
    face = box_view(
        [[middle - 0.2, -hy * 0.5, 0.8], [middle + 0.2, hy * 0.5, 1.7]],
        [[middle - 1.2, -hy * 0.6, 0.3], [middle + 1.2, hy * 0.6, 1.7]],
        step=0.5,
    )
    return finish(shop, shell, [along, along, face, face])
