"""Furniture of composed parts. Every maker returns a mesh on z = 0, its front to -y, in metres."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import Material, SceneBuilder
from starter.scenes.mesh import Mesh, merge
from starter.scenes.props.desk import potted_plant
from starter.scenes.props.small import book_row, small


def legs(
    scene: SceneBuilder, width: float, depth: float, height: float, material: Material, inset: float = 0.03
) -> list[Mesh]:
    """Four legs, square or round, straight or splayed."""
    thick, splay = scene.uniform(0.012, 0.04), scene.uniform(0, 0.06) * scene.chance(0.4)
    out = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (width / 2 - inset - thick), sy * (depth / 2 - inset - thick)
            if splay or thick < 0.022:
                out.append(shapes.rod((x + sx * splay, y + sy * splay, 0), (x, y, height), thick))
            else:
                out.append(shapes.block((x - thick, y - thick, 0), (x + thick, y + thick, height)))
    return [scene.cover(leg, material) for leg in out]


def chair(scene: SceneBuilder) -> Mesh:
    """A chair: seat, legs and a back of slats, a board or a cushion; some with arms or a swivel foot."""
    w, d, h = scene.uniform(0.38, 0.52), scene.uniform(0.38, 0.5), scene.uniform(0.42, 0.5)
    frame = scene.material(scene.pick("wood", "wood", "metal", "plastic"))
    pad = scene.material(scene.pick("fabric", "plastic", "wood"))
    parts: list[Mesh] = []
    if scene.chance(0.25):
        parts.append(scene.cover(shapes.rod((0, 0, 0.08), (0, 0, h), 0.03), frame))
        for k in range(5):
            a = k * 2 * np.pi / 5
            parts.append(scene.cover(shapes.rod((0, 0, 0.09), (0.3 * np.cos(a), 0.3 * np.sin(a), 0.03), 0.018), frame))
    else:
        parts += legs(scene, w, d, h, frame, 0.0)
    if scene.chance(0.5):
        parts.append(scene.cover(shapes.block((-w / 2, -d / 2, h), (w / 2, d / 2, h + 0.025)), pad))
    else:
        parts.append(scene.cover(shapes.cushion((w, d, 0.08)).moved((0, 0, h + 0.03)), pad))
    top, lean = h + scene.uniform(0.3, 0.65), scene.uniform(0.0, 0.12)
    left, right = [np.array([s * (w / 2 - 0.02), d / 2 - 0.02, h]) for s in (-1, 1)]
    lift = np.array([0, lean, top - h])
    parts += [scene.cover(shapes.rod(p, p + lift, 0.017), frame) for p in (left, right)]
    style = scene.count(0, 3)
    if style == 0:
        for k in range(scene.count(2, 5)):
            p = left + lift * (0.95 - 0.2 * k)
            parts.append(scene.cover(shapes.block(p - [0, 0.01, 0.03], [right[0], p[1] + 0.01, p[2] + 0.02]), frame))
    elif style == 1:
        for x in np.linspace(left[0], right[0], scene.count(4, 8)):
            foot = np.array([x, left[1], h])
            parts.append(scene.cover(shapes.rod(foot, foot + lift, 0.009, 6), frame))
        parts.append(scene.cover(shapes.rod(left + lift, right + lift, 0.02), frame))
    else:
        board = (
            shapes.cushion((w, 0.05, (top - h) * scene.uniform(0.4, 0.9)))
            if style == 2
            else shapes.box((w, 0.02, (top - h) * 0.6))
        )
        parts.append(scene.cover(board.moved(left * [0, 1, 1] + lift * 0.65), pad))
    if scene.chance(0.25):
        for s in (-1, 1):
            parts.append(
                scene.cover(
                    shapes.block((s * w / 2 - 0.02, -d / 2, h + 0.2), (s * w / 2 + 0.02, d / 2, h + 0.23)), frame
                )
            )
            parts.append(
                scene.cover(
                    shapes.rod((s * w / 2, -d / 2 + 0.03, h), (s * w / 2, -d / 2 + 0.03, h + 0.2), 0.012), frame
                )
            )
    return merge(parts)


def stool(scene: SceneBuilder) -> Mesh:
    """A round stool, ottoman or bin."""
    r, h = scene.uniform(0.15, 0.25), scene.uniform(0.3, 0.75)
    if scene.chance(0.4):
        return scene.cover(
            shapes.cylinder(r, h * 0.7, top=r * scene.uniform(0.8, 1.2)), scene.pick("fabric", "plastic", "metal")
        )
    seat = scene.cover(shapes.cylinder(r, 0.05).moved((0, 0, h)), scene.pick("wood", "fabric", "plastic"))
    return merge([seat, *legs(scene, r * 1.6, r * 1.6, h, scene.material(scene.pick("wood", "metal")), 0)])


def table(scene: SceneBuilder, size: tuple[float, float, float] | None = None, things: int | None = None) -> Mesh:
    """A table or desk, round or square, with things on it."""
    w, d, h = size or (scene.uniform(0.6, 2.0), scene.uniform(0.5, 1.0), scene.uniform(0.68, 0.8))
    top, leg = (
        scene.material(scene.pick("wood", "wood", "plastic", "stone")),
        scene.material(scene.pick("wood", "metal")),
    )
    thick = scene.uniform(0.015, 0.06)
    parts: list[Mesh] = []
    if scene.chance(0.2):
        r = min(w, d) / 2
        parts.append(scene.cover(shapes.cylinder(r, thick, 32).moved((0, 0, h - thick)), top))
        parts.append(scene.cover(shapes.lathe([0, r * 0.6, 0.04, 0.04], [0, 0, 0.05, h - thick]), leg))
        w = d = r * 1.4
    else:
        parts.append(scene.cover(shapes.block((-w / 2, -d / 2, h - thick), (w / 2, d / 2, h)), top))
        parts += legs(scene, w, d, h - thick, leg)
        if scene.chance(0.4):
            x = scene.uniform(0.3, 0.45)
            side = shapes.block(
                (w / 2 - x, -d / 2 + 0.03, scene.uniform(0.05, 0.5)), (w / 2 - 0.02, d / 2 - 0.03, h - thick)
            )
            parts.append(scene.cover(side, top))
    return merge([*parts, *spread(scene, w, d, h, scene.count(0, 8) if things is None else things)])


def spread(scene: SceneBuilder, width: float, depth: float, height: float, count: int, size: float = 0.4) -> list[Mesh]:
    """Things spread over a plane of `width` by `depth` at `height`."""
    return [
        small(scene, min(size, width, depth), size * 1.2).moved(
            (scene.uniform(-0.45, 0.45) * width, scene.uniform(-0.42, 0.42) * depth, height)
        )
        for _ in range(count)
    ]


def sofa(scene: SceneBuilder) -> Mesh:
    """A sofa or armchair of cushions."""
    seats = scene.count(1, 3)
    w, d, h = 0.65 * seats + 0.3, scene.uniform(0.75, 0.95), scene.uniform(0.35, 0.45)
    cloth = scene.material("fabric")
    soft = scene.uniform(0.08, 0.35)
    parts = [shapes.cushion((w, d, h * 0.6), soft).moved((0, 0, h * 0.4))]
    parts.append(shapes.cushion((w, 0.22, scene.uniform(0.5, 0.8)), soft).moved((0, d / 2 - 0.1, h + 0.1)))
    parts += [shapes.cushion((0.18, d, h * 1.4), soft).moved((s * (w / 2 - 0.08), 0, h * 0.75)) for s in (-1, 1)]
    for k in range(seats):
        x = (k - (seats - 1) / 2) * 0.65
        parts.append(shapes.cushion((0.63, d * 0.75, 0.16), soft).moved((x, -0.08, h * 0.75 + 0.05)))
    out = [scene.cover(part, cloth) for part in parts]
    for _ in range(scene.count(0, 3)):
        pillow = shapes.cushion((0.42, 0.14, 0.4), 0.5).moved(
            (scene.uniform(-0.35, 0.35) * w, d * 0.2, h + 0.25), scene.uniform(-0.4, 0.4)
        )
        out.append(scene.cover(pillow, "fabric"))
    return merge(out)


def bed(scene: SceneBuilder) -> Mesh:
    """A bed with a blanket, its head at +y."""
    w, d, h = scene.uniform(0.85, 1.8), scene.uniform(1.9, 2.2), scene.uniform(0.3, 0.6)
    wood = scene.material("wood")
    parts = [
        scene.cover(shapes.block((-w / 2, -d / 2, 0.1), (w / 2, d / 2, h * 0.7)), wood),
        scene.cover(shapes.block((-w / 2, d / 2, 0), (w / 2, d / 2 + 0.05, h + scene.uniform(0.2, 0.7))), wood),
        scene.cover(shapes.cushion((w * 0.98, d * 0.98, h * 0.6), 0.15).moved((0, 0, h * 0.8)), "fabric"),
    ]
    bumps = 0.05 * shapes.smooth_noise(scene.rng, (16, 16), 4)
    blanket = shapes.heightfield((w * 1.04, d * 0.7), np.abs(bumps) + 0.02).moved((0, -d * 0.15, h * 1.1))
    parts.append(scene.cover(blanket, "fabric"))
    for x in [0] if w < 1.2 else [-w / 4, w / 4]:
        parts.append(scene.cover(shapes.cushion((0.6, 0.4, 0.18), 0.5, 16).moved((x, d * 0.36, h * 1.15)), "fabric"))
    return merge(parts)


def shelf(scene: SceneBuilder, size: tuple[float, float, float] | None = None) -> Mesh:
    """Shelves with books, boxes and gaps."""
    w, d, h = size or (scene.uniform(0.5, 1.6), scene.uniform(0.22, 0.45), scene.uniform(0.7, 2.3))
    board, t = scene.material(scene.pick("wood", "wood", "metal", "plastic")), scene.uniform(0.012, 0.03)
    rows = max(2, round(h / scene.uniform(0.28, 0.45)))
    parts = [shapes.block((s * w / 2 - t / 2, -d / 2, 0), (s * w / 2 + t / 2, d / 2, h)) for s in (-1, 1)]
    if scene.chance(0.6):
        parts.append(shapes.block((-w / 2, d / 2 - 0.008, 0), (w / 2, d / 2, h)))
    levels = np.linspace(0.06, h - t, rows + 1)
    parts += [shapes.block((-w / 2, -d / 2, z), (w / 2, d / 2, z + t)) for z in levels]
    out = [scene.cover(part, board) for part in parts]
    for z, upper in pairwise(levels):
        gap = upper - z - t
        if scene.chance(0.45):
            width = w * scene.uniform(0.3, 0.95)
            row = book_row(scene, width, gap, d * 0.9)
            out.append(row.moved(((w - width) / 2 * scene.uniform(-0.9, 0.9), -d / 2, z + t)))
        elif scene.chance(0.85):
            out += [
                small(scene, d * 0.9, gap * 0.9).moved((x, 0, z + t))
                for x in np.arange(-w / 2 + d / 2, w / 2 - d / 2 + 1e-6, max(d * 0.8, 0.18)) if scene.chance(0.7)
            ]  # fmt: skip
    return merge(out)


def cabinet(
    scene: SceneBuilder, size: tuple[float, float, float] | None = None, material: Material | None = None
) -> Mesh:
    """A cupboard, chest of drawers, fridge or oven: a body with fronts and handles."""
    w, d, h = size or (scene.uniform(0.4, 1.4), scene.uniform(0.35, 0.65), scene.uniform(0.5, 2.1))
    body = material or scene.material(scene.pick("front", "front", "wood", "metal"))
    front = body if scene.chance(0.6) else scene.material("front")
    handle = scene.material("metal")
    parts = [scene.cover(shapes.block((-w / 2, -d / 2, 0), (w / 2, d / 2, h)), body)]
    columns, rows = max(1, round(w / scene.uniform(0.4, 0.7))), 1 if scene.chance(0.5) else scene.count(2, 5)
    cw, rh, gap = w / columns, (h - 0.06) / rows, scene.uniform(0.003, 0.008)
    upright = rows == 1
    for i in range(columns):
        for j in range(rows):
            x0, z0 = -w / 2 + i * cw + gap, 0.05 + j * rh + gap
            door = shapes.block((x0, -d / 2 - 0.018, z0), (x0 + cw - 2 * gap, -d / 2, z0 + rh - 2 * gap))
            parts.append(scene.cover(door, front))
            y = -d / 2 - 0.045
            if upright:
                x, z = (x0 + cw - 0.06 if i % 2 == 0 else x0 + 0.04), z0 + rh * (0.8 if h < 1 else 0.5)
                bar = shapes.rod((x, y, z - 0.09), (x, y, z + 0.06), 0.006, 6)
            else:
                x, z = x0 + cw / 2, z0 + rh * 0.75
                bar = shapes.rod((x - 0.07, y, z), (x + 0.07, y, z), 0.006, 6)
            parts.append(scene.cover(bar, handle))
    return merge(parts)


def floor_lamp(scene: SceneBuilder) -> Mesh:
    """A standing lamp with a shade."""
    h, r, metal = scene.uniform(1.1, 1.9), scene.uniform(0.1, 0.25), scene.material("metal")
    shade = shapes.lathe([r, r * scene.uniform(0.4, 1)], [0, r * 1.5]).moved((0, 0, h - r))
    glow = scene.plain(scene.grey(0.6, 0.95), emission=scene.uniform(0, 2))
    return merge(
        [
            scene.cover(shapes.cylinder(0.14, 0.02), metal),
            scene.cover(shapes.rod((0, 0, 0), (0, 0, h), 0.012), metal),
            scene.cover(shade, glow),
        ]
    )


def big_plant(scene: SceneBuilder) -> Mesh:
    """A house plant up to a man's height."""
    return potted_plant(scene, scene.uniform(0.5, 1.9))


FURNITURE: dict[str, Callable[[SceneBuilder], Mesh]] = {
    "chair": chair,
    "stool": stool,
    "table": table,
    "sofa": sofa,
    "bed": bed,
    "shelf": shelf,
    "cabinet": cabinet,
    "lamp": floor_lamp,
    "plant": big_plant,
}


def furniture(scene: SceneBuilder, role: str) -> Mesh:
    """A real model for the role if the library has one and chance wants it, otherwise a built one."""
    real = scene.real_prop(role) if scene.chance(0.6) else None
    if real is None:
        return FURNITURE[role](scene)
    low, high = real.bounds
    if role == "table" and scene.chance(0.7):
        width, depth = (high - low)[:2]
        return merge([real, *spread(scene, width * 0.9, depth * 0.9, float(high[2]), scene.count(1, 8))])
    return real
