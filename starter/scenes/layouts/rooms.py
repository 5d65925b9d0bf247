"""Indoor layouts: living rooms and bedrooms, kitchens, offices, corridors, rows of shelves."""

from __future__ import annotations

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import Material, SceneBuilder
from starter.scenes.mesh import Mesh, merge
from starter.scenes.props.designs import designed
from starter.scenes.props.indoor import cabinet, furniture, shelf, spread, table
from starter.scenes.props.outdoor import person
from starter.scenes.props.small import SMALL, potted_plant, small
from starter.scenes.room_shell import RoomShell, build_shell, finish, put, wall_frame
from starter.scenes.world import View, World


def box_view(eye: list[list[float]], target: list[list[float]], **how: object) -> View:
    """A view between two boxes given by their corners."""
    return View(np.array(eye, np.float64), np.array(target, np.float64), **how)  # type: ignore[arg-type]


def line_walls(scene: SceneBuilder, shell: RoomShell, roles: tuple[str, ...], density: float) -> None:
    """Furniture side by side along the walls."""
    for side in range(4):
        long, _ = wall_frame(shell, side)
        x = -long / 2 + scene.uniform(0, 0.6)
        while x < long / 2 - 0.4:
            if not scene.chance(density):
                x += scene.uniform(0.3, 1.2)
                continue
            item = furniture(scene, scene.pick(*roles))
            w = float(item.bounds[1, 0] - item.bounds[0, 0])
            if x + w > long / 2:
                break
            put(scene, shell, side, item, x + w / 2, scene.uniform(0.01, 0.08))
            top = float(item.bounds[1, 2])
            if 0.3 < top < 1.6 and scene.chance(0.7):
                for _ in range(scene.count(1, 5)):
                    put(
                        scene,
                        shell,
                        side,
                        small(scene, 0.35),
                        x + w * scene.uniform(0.2, 0.8),
                        scene.uniform(0.05, 0.15),
                        top,
                    )
            x += w + scene.uniform(0.02, 0.5)


def group(scene: SceneBuilder, at: tuple[float, float], chairs: int) -> None:
    """A table with chairs round it."""
    desk = furniture(scene, "table")
    w, d = (desk.bounds[1] - desk.bounds[0])[:2]
    turn = scene.turn()
    parts = [desk]
    model = furniture(scene, "chair")
    for k in range(chairs):
        one = model if scene.chance(0.8) else furniture(scene, "chair")
        side = k % 4
        away = (d / 2 if side % 2 == 0 else w / 2) + scene.uniform(-0.05, 0.4)
        # The chair's front looks at the table: at +y it looks to -y.
        slide = scene.uniform(-0.3, 0.3) * (w if side % 2 == 0 else d)
        chair = one.moved((slide, away, 0)).moved(yaw=side * np.pi / 2 + float(scene.rng.normal(0, 0.15)))
        parts.append(chair)
    scene.add(merge(parts), (*at, 0.0), turn)


def litter(scene: SceneBuilder, shell: RoomShell, count: int) -> None:
    """Small things on the floor, and a rug."""
    if scene.chance(0.4):
        w, d = scene.uniform(0.8, 2.5), scene.uniform(0.6, 2)
        rug = shapes.block((-w / 2, -d / 2, 0), (w / 2, d / 2, 0.012))
        scene.add(scene.cover(rug, "fabric"), (*(scene.rng.uniform(-0.4, 0.4, 2) * shell.half), 0), scene.turn())
    for _ in range(scene.count(0, 2)):
        thing = scene.real_prop("other")
        if thing is not None:
            scene.add(thing, (*(scene.rng.uniform(-0.8, 0.8, 2) * shell.half), 0), scene.turn())
    if scene.chance(0.15):
        scene.add(person(scene), (*(scene.rng.uniform(-0.7, 0.7, 2) * shell.half), 0), scene.turn())
    for _ in range(scene.count(0, 3)):
        plant, side = potted_plant(scene, scene.uniform(0.3, 1.7)), scene.count(0, 3)
        put(scene, shell, side, plant, scene.uniform(-0.45, 0.45) * wall_frame(shell, side)[0], 0.05)
    for _ in range(count):
        scene.add(small(scene, 0.6, 0.8), (*(scene.rng.uniform(-0.9, 0.9, 2) * shell.half), 0))


def room(scene: SceneBuilder) -> World:
    """A living room, dining room or bedroom."""
    shell = RoomShell(scene.uniform(2.6, 7), scene.uniform(2.8, 9), scene.uniform(2.2, 3.3))
    build_shell(scene, shell)
    roles = ("cabinet", "shelf", "sofa", "lamp", "plant", "table", "chair", "stool", "bed")
    line_walls(scene, shell, roles, scene.uniform(0.3, 0.9))
    for _ in range(scene.count(0, 2)):
        at = tuple(scene.rng.uniform(-0.5, 0.5, 2) * shell.half)
        group(scene, (float(at[0]), float(at[1])), scene.count(0, 5))
    for _ in range(scene.count(0, 3)):
        item = furniture(scene, scene.pick("chair", "stool", "sofa", "plant", "lamp", "table"))
        scene.add(item, (*(scene.rng.uniform(-0.6, 0.6, 2) * shell.half), 0), scene.turn())
    litter(scene, shell, scene.count(0, 6))
    return finish(scene, shell)


def counter(scene: SceneBuilder, shell: RoomShell, side: int, front: Material, top: Material) -> None:
    """A kitchen line: base units, worktop, splashback, wall units, things on top."""
    long, _ = wall_frame(shell, side)
    low, high = sorted(scene.rng.uniform(-0.5, 0.5, 2) * long)
    low, high = (low, high) if high - low > 1.5 else (-0.48 * long, 0.48 * long)
    deep, h = scene.uniform(0.55, 0.68), scene.uniform(0.84, 0.95)
    width = high - low
    put(scene, shell, side, cabinet(scene, (width, deep, h - 0.04), front), (low + high) / 2)
    slab = shapes.block((-width / 2, -deep / 2 - 0.03, 0), (width / 2, deep / 2, 0.04))
    put(scene, shell, side, scene.cover(slab, top), (low + high) / 2, z=h - 0.04)
    if scene.chance(0.6):
        panel = shapes.block((-width / 2, -0.01, 0), (width / 2, 0, scene.uniform(0.3, 0.6)))
        tiles = scene.textured(
            (0.4, 1), "tiles", "bricks", "plaster", base=scene.grey(0.3, 0.95), finish={"specular": 0.3}
        )
        put(scene, shell, side, scene.cover(panel, tiles), (low + high) / 2, 0.001, h)
    if scene.chance(0.75):
        above = scene.uniform(1.35, 1.55)
        wide = width * scene.uniform(0.4, 1)
        unit = cabinet(scene, (wide, 0.35, scene.uniform(0.45, 0.9)), front if scene.chance(0.7) else None)
        put(scene, shell, side, unit, (low + high) / 2 + scene.uniform(-0.5, 0.5) * (width - wide), z=above)
    if scene.chance(0.6):
        tap(scene, shell, side, scene.uniform(low + 0.3, high - 0.3), deep, h)
    for _ in range(scene.count(3, 16)):
        put(
            scene,
            shell,
            side,
            small(scene, 0.35, 0.4),
            scene.uniform(low + 0.1, high - 0.1),
            scene.uniform(0.02, deep - 0.2),
            h,
        )


def tap(scene: SceneBuilder, shell: RoomShell, side: int, x: float, deep: float, h: float) -> None:
    """A sink's rim and its tap."""
    metal = scene.material("metal")
    dark = scene.plain(scene.grey(0.1, 0.5), specular=0.6)
    t = np.linspace(0, np.pi, 9)
    bow = np.stack([np.zeros(9), -0.08 + 0.08 * np.cos(t), 0.22 + 0.08 * np.sin(t)], -1)
    pipe = shapes.tube(np.concatenate([[[0, 0, 0.0]], bow]), 0.012)
    basin = shapes.block((-0.25, -deep + 0.14, 0), (0.25, -0.06, 0.004))
    put(scene, shell, side, merge([scene.cover(pipe, metal), scene.cover(basin, dark)]), x, 0.1, h)


def kitchen(scene: SceneBuilder) -> World:
    """A kitchen, of a flat or an office: counters, appliances, an island or a dining table."""
    shell = RoomShell(scene.uniform(2.4, 6.5), scene.uniform(2.6, 7), scene.uniform(2.3, 3))
    build_shell(scene, shell)
    front = scene.material("front")
    top = scene.material(scene.pick("stone", "wood", "plastic"))
    sides = scene.rng.permutation(4)[: scene.count(1, 3)]
    for side in sides:
        counter(scene, shell, int(side), front, top)
    for side in range(4):
        if side not in sides:
            for _ in range(scene.count(0, 2)):
                size = (scene.uniform(0.5, 0.95), scene.uniform(0.5, 0.7), scene.uniform(1.2, 2.1))
                item = (scene.real_prop("kitchen") if scene.chance(0.5) else None) or cabinet(scene, size)
                put(scene, shell, side, item, scene.uniform(-0.4, 0.4) * wall_frame(shell, side)[0])
    if min(shell.width, shell.length) > 3:
        at = scene.rng.uniform(-0.3, 0.3, 2) * shell.half
        group(scene, (float(at[0]), float(at[1])), scene.count(1, 6))
    litter(scene, shell, scene.count(0, 3))
    hx, hy = shell.half
    worktop = box_view(
        [[-hx + 0.5, -hy + 0.5, 1.1], [hx - 0.5, hy - 0.5, 1.7]],
        [[-hx, -hy, 0.8], [hx, hy, 1.2]],
        step=0.5,
        fov=(45, 75),
    )
    return finish(scene, shell, [worktop])


def workplace(scene: SceneBuilder) -> Mesh:
    """A desk with a screen and things, and a chair."""
    size = (scene.uniform(1.1, 1.8), scene.uniform(0.6, 0.9), scene.uniform(0.7, 0.78))
    parts = [table(scene, size, 0)]
    for _ in range(scene.count(0, 2)):
        parts.append(
            designed(scene, "screen").moved(
                (scene.uniform(-0.3, 0.3) * size[0], size[1] * 0.2, size[2]), scene.uniform(-0.3, 0.3)
            )
        )
    keys = shapes.block((-0.22, -0.07, 0), (0.22, 0.07, 0.02))
    parts.append(scene.cover(keys, "plastic").moved((scene.uniform(-0.2, 0.2), -size[1] * 0.25, size[2])))
    parts += spread(scene, size[0], size[1], size[2], scene.count(2, 12), 0.3)
    turn = np.pi + float(scene.rng.normal(0, 0.5))
    parts.append(
        furniture(scene, "chair").moved((scene.uniform(-0.3, 0.3), -size[1] / 2 - scene.uniform(0.1, 0.5), 0), turn)
    )
    return merge(parts)


def office(scene: SceneBuilder) -> World:
    """An office: rows of desks, screens, chairs, shelves, partitions."""
    shell = RoomShell(scene.uniform(3, 9), scene.uniform(3, 11), scene.uniform(2.4, 3.4))
    build_shell(scene, shell)
    line_walls(scene, shell, ("shelf", "cabinet", "plant", "table", "lamp"), scene.uniform(0.2, 0.7))
    turn = scene.count(0, 1) * np.pi / 2
    for x in np.arange(-shell.half[0] + 1.2, shell.half[0] - 0.8, scene.uniform(1.9, 3)):
        for y in np.arange(-shell.half[1] + 1.4, shell.half[1] - 0.8, scene.uniform(2, 3.2)):
            if scene.chance(0.65):
                scene.add(
                    workplace(scene), (x, y, 0), turn + np.pi * scene.count(0, 1) + float(scene.rng.normal(0, 0.05))
                )
            elif scene.chance(0.3):
                board = shapes.block((-0.8, -0.02, 0.05), (0.8, 0.02, scene.uniform(1.1, 1.8)))
                scene.add(scene.cover(board, "fabric"), (x, y, 0), turn)
    litter(scene, shell, scene.count(0, 4))
    return finish(scene, shell)


def corridor(scene: SceneBuilder) -> World:
    """A long narrow space with doors and things along its walls."""
    shell = RoomShell(scene.uniform(1.2, 3), scene.uniform(6, 25), scene.uniform(2.2, 3.4))
    build_shell(scene, shell)
    for side in (1, 3):
        for x in np.arange(-shell.length / 2 + 1, shell.length / 2 - 1, scene.uniform(1.8, 4)):
            if scene.chance(0.6):
                leaf = merge(
                    [
                        scene.cover(shapes.block((-0.5, -0.03, 0), (0.5, 0.0, 2.1)), "wood"),
                        scene.cover(
                            shapes.block((-0.44, -0.04, 0.02), (0.44, -0.03, 2.04)), scene.pick("wood", "plastic")
                        ),
                        scene.cover(shapes.rod((0.36, -0.09, 1.0), (0.24, -0.09, 1.0), 0.011, 6), "metal"),
                    ]
                )
                put(scene, shell, side, leaf, x, 0)
            elif scene.chance(0.5):
                roles = (
                    ("cabinet", "shelf", "plant", "stool", "chair")
                    if shell.width > 1.6
                    else ("stool", "chair", "plant")
                )
                put(scene, shell, side, furniture(scene, scene.pick(*roles)), x)
    litter(scene, shell, scene.count(0, 5))
    hx, hy = shell.half
    ahead = box_view(
        [[-hx + 0.4, -hy + 0.4, 0.8], [hx - 0.4, -hy * 0.2, 1.8]], [[-hx, hy * 0.5, 0.5], [hx, hy, 1.8]], fov=(45, 85)
    )
    return finish(scene, shell, [ahead, ahead, ahead])


def store(scene: SceneBuilder) -> World:
    """A library, scene or warehouse: rows of filled shelves, sometimes crates between them."""
    shell = RoomShell(scene.uniform(4, 8), scene.uniform(5, 14), scene.uniform(2.6, 5))
    build_shell(scene, shell)
    gap = scene.uniform(1.1, 2.2)
    rows = np.arange(-shell.half[0] + 0.4, shell.half[0] - 0.2, gap + 0.5)
    size = (scene.uniform(0.9, 1.6), scene.uniform(0.3, 0.5), min(scene.uniform(1.2, 2.6), shell.height - 0.2))
    models = [shelf(scene, size) for _ in range(3)]
    for x in rows:
        for y in np.arange(-shell.half[1] + 1, shell.half[1] - 1, size[0] + 0.02):
            if scene.chance(0.85):
                scene.add(models[scene.count(0, 2)], (x, y, 0), np.pi / 2 if scene.chance(0.5) else -np.pi / 2)
    for _ in range(scene.count(0, 8)):
        thing = SMALL["carton"][0](scene).scaled(scene.uniform(1, 3))
        scene.add(thing, (*(scene.rng.uniform(-0.9, 0.9, 2) * shell.half), 0), scene.turn())
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
    return finish(scene, shell, [along, along, face, face])
