"""Indoor layouts: living rooms and bedrooms, kitchens, offices, corridors, rows of shelves."""

from __future__ import annotations

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import Material, SceneBuilder
from starter.scenes.mesh import Mesh, merge
from starter.scenes.props.designs import designed
from starter.scenes.props.indoor import cabinet, furniture, shelf, spread, table
from starter.scenes.props.outdoor import person
from starter.scenes.props.small import potted_plant, small
from starter.scenes.room_shell import Room, box_view
from starter.scenes.world import View, World


def line_walls(own: Room, roles: tuple[str, ...], density: float) -> None:
    """Furniture side by side along the walls."""
    scene = own.scene
    for side in range(4):
        long, _ = own.wall(side)
        x = -long / 2 + scene.uniform(0, 0.6)
        while x < long / 2 - 0.4:
            if not scene.chance(density):
                x += scene.uniform(0.3, 1.2)
                continue
            item = furniture(scene, scene.pick(*roles))
            w, _, top = (float(v) for v in np.ptp(item.bounds, axis=0))
            if x + w > long / 2:
                break
            own.put(side, item, x + w / 2, scene.uniform(0.01, 0.08))
            for _ in range(scene.count(1, 5) if 0.3 < top < 1.6 and scene.chance(0.7) else 0):
                place = x + w * scene.uniform(0.2, 0.8)
                own.put(side, small(scene, 0.35), place, scene.uniform(0.05, 0.15), top)
            x += w + scene.uniform(0.02, 0.5)


def group(own: Room, share: float, chairs: int) -> None:
    """A table with chairs round it, within a share of the floor."""
    scene = own.scene
    desk, model = furniture(scene, "table"), furniture(scene, "chair")
    w, d = np.ptp(desk.bounds, axis=0)[:2]
    parts = [desk]
    for k in range(chairs):
        one = model if scene.chance(0.8) else furniture(scene, "chair")
        across, deep = (w, d) if k % 2 == 0 else (d, w)
        # The chair's front looks at the table: at +y it looks to -y.
        at = (scene.uniform(-0.3, 0.3) * across, deep / 2 + scene.uniform(-0.05, 0.4), 0)
        parts.append(one.moved(at).moved(yaw=k * np.pi / 2 + float(scene.rng.normal(0, 0.15))))
    scene.add(merge(parts), own.spot(share), scene.turn())


def littered(own: Room, count: int, *further: View) -> World:
    """The finished room with small things on its floor, plants, a rug, a person."""
    scene = own.scene
    if scene.chance(0.4):
        w, d = scene.uniform(0.8, 2.5), scene.uniform(0.6, 2)
        rug = shapes.block((-w / 2, -d / 2, 0), (w / 2, d / 2, 0.012))
        scene.add(scene.cover(rug, "fabric"), own.spot(0.4), scene.turn())
    for _ in range(scene.count(0, 2)):
        thing = scene.real_prop("other")
        if thing is not None:
            scene.add(thing, own.spot(0.8), scene.turn())
    if scene.chance(0.15):
        scene.add(person(scene), own.spot(0.7), scene.turn())
    for _ in range(scene.count(0, 3)):
        side = scene.count(0, 3)
        own.put(side, potted_plant(scene, scene.uniform(0.3, 1.7)), own.along(side), 0.05)
    for _ in range(count):
        scene.add(small(scene, 0.6, 0.8), own.spot(0.9))
    return own.finish(list(further))


def room(scene: SceneBuilder) -> World:
    """A living room, dining room or bedroom."""
    own = Room(scene, scene.uniform(2.6, 7), scene.uniform(2.8, 9), scene.uniform(2.2, 3.3))
    roles = ("cabinet", "shelf", "sofa", "lamp", "plant", "table", "chair", "stool", "bed")
    line_walls(own, roles, scene.uniform(0.3, 0.9))
    for _ in range(scene.count(0, 2)):
        group(own, 0.5, scene.count(0, 5))
    for _ in range(scene.count(0, 3)):
        item = furniture(scene, scene.pick("chair", "stool", "sofa", "plant", "lamp", "table"))
        scene.add(item, own.spot(0.6), scene.turn())
    return littered(own, scene.count(0, 6))


def counter(own: Room, side: int, front: Material, top: Material) -> None:
    """A kitchen line: base units, worktop, splashback, wall units, things on top."""
    scene, (long, _) = own.scene, own.wall(side)
    low, high = sorted(scene.rng.uniform(-0.5, 0.5, 2) * long)
    low, high = (low, high) if high - low > 1.5 else (-0.48 * long, 0.48 * long)
    deep, h, width, middle = scene.uniform(0.55, 0.68), scene.uniform(0.84, 0.95), high - low, (low + high) / 2
    own.put(side, cabinet(scene, (width, deep, h - 0.04), front), middle)
    slab = shapes.block((-width / 2, -deep / 2 - 0.03, 0), (width / 2, deep / 2, 0.04))
    own.put(side, scene.cover(slab, top), middle, z=h - 0.04)
    if scene.chance(0.6):
        panel = shapes.block((-width / 2, -0.01, 0), (width / 2, 0, scene.uniform(0.3, 0.6)))
        tiles = scene.textured((0.4, 1), "tiles", "bricks", "plaster", base=scene.grey(0.3, 0.95))
        own.put(side, scene.cover(panel, tiles), middle, 0.001, h)
    if scene.chance(0.75):
        wide = width * scene.uniform(0.4, 1)
        unit = cabinet(scene, (wide, 0.35, scene.uniform(0.45, 0.9)), front if scene.chance(0.7) else None)
        own.put(side, unit, middle + scene.uniform(-0.5, 0.5) * (width - wide), z=scene.uniform(1.35, 1.55))
    if scene.chance(0.6):
        t = np.linspace(0, np.pi, 9)
        bow = np.stack([np.zeros(9), -0.08 + 0.08 * np.cos(t), 0.22 + 0.08 * np.sin(t)], -1)
        tap = scene.cover(shapes.tube(np.concatenate([[[0, 0, 0.0]], bow]), 0.012), "metal")
        basin = scene.cover(shapes.block((-0.25, -deep + 0.14, 0), (0.25, -0.06, 0.004)), "metal")
        own.put(side, merge([tap, basin]), scene.uniform(low + 0.3, high - 0.3), 0.1, h)
    for _ in range(scene.count(3, 16)):
        place = scene.uniform(low + 0.1, high - 0.1)
        own.put(side, small(scene, 0.35, 0.4), place, scene.uniform(0.02, deep - 0.2), h)


def kitchen(scene: SceneBuilder) -> World:
    """A kitchen, of a flat or an office: counters, appliances, an island or a dining table."""
    own = Room(scene, scene.uniform(2.4, 6.5), scene.uniform(2.6, 7), scene.uniform(2.3, 3))
    front, top = scene.material("front"), scene.material(scene.pick("stone", "wood", "plastic"))
    sides = scene.rng.permutation(4)[: scene.count(1, 3)]
    for side in range(4):
        if side in sides:
            counter(own, side, front, top)
            continue
        for _ in range(scene.count(0, 2)):
            size = (scene.uniform(0.5, 0.95), scene.uniform(0.5, 0.7), scene.uniform(1.2, 2.1))
            item = (scene.real_prop("kitchen") if scene.chance(0.5) else None) or cabinet(scene, size)
            own.put(side, item, own.along(side, 0.4))
    if min(own.width, own.length) > 3:
        group(own, 0.3, scene.count(1, 6))
    hx, hy = own.half
    eye = [[-hx + 0.5, -hy + 0.5, 1.1], [hx - 0.5, hy - 0.5, 1.7]]
    worktop = box_view(eye, [[-hx, -hy, 0.8], [hx, hy, 1.2]], step=0.5, fov=(45, 75))
    return littered(own, scene.count(0, 3), worktop)


def workplace(scene: SceneBuilder) -> Mesh:
    """A desk with a screen and things, and a chair."""
    w, d, h = scene.uniform(1.1, 1.8), scene.uniform(0.6, 0.9), scene.uniform(0.7, 0.78)
    parts = [table(scene, (w, d, h), 0), *spread(scene, w, d, h, scene.count(2, 12), 0.3)]
    for _ in range(scene.count(0, 2)):
        at = (scene.uniform(-0.3, 0.3) * w, d * 0.2, h)
        parts.append(designed(scene, "screen").moved(at, scene.uniform(-0.3, 0.3)))
    keys = scene.cover(shapes.block((-0.22, -0.07, 0), (0.22, 0.07, 0.02)), "plastic")
    parts.append(keys.moved((scene.uniform(-0.2, 0.2), -d * 0.25, h)))
    at = (scene.uniform(-0.3, 0.3), -d / 2 - scene.uniform(0.1, 0.5), 0)
    parts.append(furniture(scene, "chair").moved(at, np.pi + float(scene.rng.normal(0, 0.5))))
    return merge(parts)


def office(scene: SceneBuilder) -> World:
    """An office: rows of desks, screens, chairs, shelves, partitions."""
    own = Room(scene, scene.uniform(3, 9), scene.uniform(3, 11), scene.uniform(2.4, 3.4))
    line_walls(own, ("shelf", "cabinet", "plant", "table", "lamp"), scene.uniform(0.2, 0.7))
    turn = scene.count(0, 1) * np.pi / 2
    for x in np.arange(-own.half[0] + 1.2, own.half[0] - 0.8, scene.uniform(1.9, 3)):
        for y in np.arange(-own.half[1] + 1.4, own.half[1] - 0.8, scene.uniform(2, 3.2)):
            if scene.chance(0.65):
                yaw = turn + np.pi * scene.count(0, 1) + float(scene.rng.normal(0, 0.05))
                scene.add(workplace(scene), (x, y, 0), yaw)
            elif scene.chance(0.3):
                board = shapes.block((-0.8, -0.02, 0.05), (0.8, 0.02, scene.uniform(1.1, 1.8)))
                scene.add(scene.cover(board, "fabric"), (x, y, 0), turn)
    return littered(own, scene.count(0, 4))


def corridor(scene: SceneBuilder) -> World:
    """A long narrow space with doors and things along its walls."""
    own = Room(scene, scene.uniform(1.2, 3), scene.uniform(6, 25), scene.uniform(2.2, 3.4))
    roles = ["stool", "chair", "plant"] + ["cabinet", "shelf"] * (own.width > 1.6)
    for side in (1, 3):
        for x in np.arange(-own.length / 2 + 1, own.length / 2 - 1, scene.uniform(1.8, 4)):
            if scene.chance(0.6):
                own.put(side, designed(scene, "door"), x, 0)
            elif scene.chance(0.5):
                own.put(side, furniture(scene, scene.pick(*roles)), x)
    hx, hy = own.half
    eye, target = [[-hx + 0.4, -hy + 0.4, 0.8], [hx - 0.4, -hy * 0.2, 1.8]], [[-hx, hy * 0.5, 0.5], [hx, hy, 1.8]]
    return littered(own, scene.count(0, 5), *[box_view(eye, target, fov=(45, 85))] * 3)


def store(scene: SceneBuilder) -> World:
    """A library, shop or warehouse: rows of filled shelves, sometimes crates between them."""
    own = Room(scene, scene.uniform(4, 8), scene.uniform(5, 14), scene.uniform(2.6, 5))
    hx, hy = own.half
    gap = scene.uniform(1.6, 2.7)
    rows = np.arange(-hx + 0.4, hx - 0.2, gap)
    size = (scene.uniform(0.9, 1.6), scene.uniform(0.3, 0.5), min(scene.uniform(1.2, 2.6), own.height - 0.2))
    models = [shelf(scene, size) for _ in range(3)]
    for x in rows:
        for y in np.arange(-hy + 1, hy - 1, size[0] + 0.02):
            if scene.chance(0.85):
                scene.add(models[scene.count(0, 2)], (x, y, 0), np.pi / 2 if scene.chance(0.5) else -np.pi / 2)
    for _ in range(scene.count(0, 8)):
        scene.add(designed(scene, "carton").scaled(scene.uniform(1, 3)), own.spot(0.9), scene.turn())
    x = float(rows[len(rows) // 2]) + gap / 2
    along = [[x - 0.3, -hy + 0.5, 0.8], [x + 0.3, 0, 1.8]], [[x - 1, hy * 0.3, 0.3], [x + 1, hy, 1.8]]
    face = [[x - 0.2, -hy * 0.5, 0.8], [x + 0.2, hy * 0.5, 1.7]], [[x - 1.2, -hy * 0.6, 0.3], [x + 1.2, hy * 0.6, 1.7]]
    return own.finish([box_view(*along), box_view(*face, step=0.5)] * 2)
