"""Furniture of composed parts. Every maker returns a mesh on z = 0, its front to -y, in metres."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from training import shapes
from training.mesh import Mesh, merge
from training.pieces_desk import potted_plant
from training.pieces_small import book_row, small
from training.workshop import Paint, Workshop


def legs(shop: Workshop, width: float, depth: float, height: float, paint: Paint, inset: float = 0.03) -> list[Mesh]:
    """Four legs, square or round, straight or splayed."""
    thick, splay = shop.uniform(0.012, 0.04), shop.uniform(0, 0.06) * shop.chance(0.4)
    out = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (width / 2 - inset - thick), sy * (depth / 2 - inset - thick)
            if splay or thick < 0.022:
                out.append(shapes.rod((x + sx * splay, y + sy * splay, 0), (x, y, height), thick))
            else:
                out.append(shapes.block((x - thick, y - thick, 0), (x + thick, y + thick, height)))
    return [shop.cover(leg, paint) for leg in out]


def chair(shop: Workshop) -> Mesh:
    """A chair: seat, legs and a back of slats, a board or a cushion; some with arms or a swivel foot."""
    w, d, h = shop.uniform(0.38, 0.52), shop.uniform(0.38, 0.5), shop.uniform(0.42, 0.5)
    frame = shop.paint(shop.pick("wood", "wood", "metal", "plastic"))
    pad = shop.paint(shop.pick("fabric", "plastic", "wood"))
    parts: list[Mesh] = []
    if shop.chance(0.25):
        parts.append(shop.cover(shapes.rod((0, 0, 0.08), (0, 0, h), 0.03), frame))
        for k in range(5):
            a = k * 2 * np.pi / 5
            parts.append(shop.cover(shapes.rod((0, 0, 0.09), (0.3 * np.cos(a), 0.3 * np.sin(a), 0.03), 0.018), frame))
    else:
        parts += legs(shop, w, d, h, frame, 0.0)
    if shop.chance(0.5):
        parts.append(shop.cover(shapes.block((-w / 2, -d / 2, h), (w / 2, d / 2, h + 0.025)), pad))
    else:
        parts.append(shop.cover(shapes.cushion((w, d, 0.08)).moved((0, 0, h + 0.03)), pad))
    top, lean = h + shop.uniform(0.3, 0.65), shop.uniform(0.0, 0.12)
    left, right = [np.array([s * (w / 2 - 0.02), d / 2 - 0.02, h]) for s in (-1, 1)]
    lift = np.array([0, lean, top - h])
    parts += [shop.cover(shapes.rod(p, p + lift, 0.017), frame) for p in (left, right)]
    style = shop.count(0, 3)
    if style == 0:
        for k in range(shop.count(2, 5)):
            p = left + lift * (0.95 - 0.2 * k)
            parts.append(shop.cover(shapes.block(p - [0, 0.01, 0.03], [right[0], p[1] + 0.01, p[2] + 0.02]), frame))
    elif style == 1:
        for x in np.linspace(left[0], right[0], shop.count(4, 8)):
            foot = np.array([x, left[1], h])
            parts.append(shop.cover(shapes.rod(foot, foot + lift, 0.009, 6), frame))
        parts.append(shop.cover(shapes.rod(left + lift, right + lift, 0.02), frame))
    else:
        board = (
            shapes.cushion((w, 0.05, (top - h) * shop.uniform(0.4, 0.9)))
            if style == 2
            else shapes.box((w, 0.02, (top - h) * 0.6))
        )
        parts.append(shop.cover(board.moved(left * [0, 1, 1] + lift * 0.65), pad))
    if shop.chance(0.25):
        for s in (-1, 1):
            parts.append(
                shop.cover(
                    shapes.block((s * w / 2 - 0.02, -d / 2, h + 0.2), (s * w / 2 + 0.02, d / 2, h + 0.23)), frame
                )
            )
            parts.append(
                shop.cover(shapes.rod((s * w / 2, -d / 2 + 0.03, h), (s * w / 2, -d / 2 + 0.03, h + 0.2), 0.012), frame)
            )
    return merge(parts)


def stool(shop: Workshop) -> Mesh:
    """A round stool, ottoman or bin."""
    r, h = shop.uniform(0.15, 0.25), shop.uniform(0.3, 0.75)
    if shop.chance(0.4):
        return shop.cover(
            shapes.cylinder(r, h * 0.7, top=r * shop.uniform(0.8, 1.2)), shop.pick("fabric", "plastic", "metal")
        )
    seat = shop.cover(shapes.cylinder(r, 0.05).moved((0, 0, h)), shop.pick("wood", "fabric", "plastic"))
    return merge([seat, *legs(shop, r * 1.6, r * 1.6, h, shop.paint(shop.pick("wood", "metal")), 0)])


def table(shop: Workshop, size: tuple[float, float, float] | None = None, things: int | None = None) -> Mesh:
    """A table or desk, round or square, with things on it."""
    w, d, h = size or (shop.uniform(0.6, 2.0), shop.uniform(0.5, 1.0), shop.uniform(0.68, 0.8))
    top, leg = shop.paint(shop.pick("wood", "wood", "plastic", "stone")), shop.paint(shop.pick("wood", "metal"))
    thick = shop.uniform(0.015, 0.06)
    parts: list[Mesh] = []
    if shop.chance(0.2):
        r = min(w, d) / 2
        parts.append(shop.cover(shapes.cylinder(r, thick, 32).moved((0, 0, h - thick)), top))
        parts.append(shop.cover(shapes.lathe([0, r * 0.6, 0.04, 0.04], [0, 0, 0.05, h - thick]), leg))
        w = d = r * 1.4
    else:
        parts.append(shop.cover(shapes.block((-w / 2, -d / 2, h - thick), (w / 2, d / 2, h)), top))
        parts += legs(shop, w, d, h - thick, leg)
        if shop.chance(0.4):
            x = shop.uniform(0.3, 0.45)
            side = shapes.block(
                (w / 2 - x, -d / 2 + 0.03, shop.uniform(0.05, 0.5)), (w / 2 - 0.02, d / 2 - 0.03, h - thick)
            )
            parts.append(shop.cover(side, top))
    return merge([*parts, *spread(shop, w, d, h, shop.count(0, 8) if things is None else things)])


def spread(shop: Workshop, width: float, depth: float, height: float, count: int, size: float = 0.4) -> list[Mesh]:
    """Things spread over a plane of `width` by `depth` at `height`."""
    return [
        small(shop, min(size, width, depth), size * 1.2).moved(
            (shop.uniform(-0.45, 0.45) * width, shop.uniform(-0.42, 0.42) * depth, height)
        )
        for _ in range(count)
    ]


def sofa(shop: Workshop) -> Mesh:
    """A sofa or armchair of cushions."""
    seats = shop.count(1, 3)
    w, d, h = 0.65 * seats + 0.3, shop.uniform(0.75, 0.95), shop.uniform(0.35, 0.45)
    cloth = shop.paint("fabric")
    soft = shop.uniform(0.08, 0.35)
    parts = [shapes.cushion((w, d, h * 0.6), soft).moved((0, 0, h * 0.4))]
    parts.append(shapes.cushion((w, 0.22, shop.uniform(0.5, 0.8)), soft).moved((0, d / 2 - 0.1, h + 0.1)))
    parts += [shapes.cushion((0.18, d, h * 1.4), soft).moved((s * (w / 2 - 0.08), 0, h * 0.75)) for s in (-1, 1)]
    for k in range(seats):
        x = (k - (seats - 1) / 2) * 0.65
        parts.append(shapes.cushion((0.63, d * 0.75, 0.16), soft).moved((x, -0.08, h * 0.75 + 0.05)))
    out = [shop.cover(part, cloth) for part in parts]
    for _ in range(shop.count(0, 3)):
        pillow = shapes.cushion((0.42, 0.14, 0.4), 0.5).moved(
            (shop.uniform(-0.35, 0.35) * w, d * 0.2, h + 0.25), shop.uniform(-0.4, 0.4)
        )
        out.append(shop.cover(pillow, "fabric"))
    return merge(out)


def bed(shop: Workshop) -> Mesh:
    """A bed with a blanket, its head at +y."""
    w, d, h = shop.uniform(0.85, 1.8), shop.uniform(1.9, 2.2), shop.uniform(0.3, 0.6)
    wood = shop.paint("wood")
    parts = [
        shop.cover(shapes.block((-w / 2, -d / 2, 0.1), (w / 2, d / 2, h * 0.7)), wood),
        shop.cover(shapes.block((-w / 2, d / 2, 0), (w / 2, d / 2 + 0.05, h + shop.uniform(0.2, 0.7))), wood),
        shop.cover(shapes.cushion((w * 0.98, d * 0.98, h * 0.6), 0.15).moved((0, 0, h * 0.8)), "fabric"),
    ]
    bumps = 0.05 * shapes.smooth_noise(shop.rng, (16, 16), 4)
    blanket = shapes.heightfield((w * 1.04, d * 0.7), np.abs(bumps) + 0.02).moved((0, -d * 0.15, h * 1.1))
    parts.append(shop.cover(blanket, "fabric"))
    for x in [0] if w < 1.2 else [-w / 4, w / 4]:
        parts.append(shop.cover(shapes.cushion((0.6, 0.4, 0.18), 0.5, 16).moved((x, d * 0.36, h * 1.15)), "fabric"))
    return merge(parts)


def shelf(shop: Workshop, size: tuple[float, float, float] | None = None) -> Mesh:
    """Shelves with books, boxes and gaps."""
    w, d, h = size or (shop.uniform(0.5, 1.6), shop.uniform(0.22, 0.45), shop.uniform(0.7, 2.3))
    board, t = shop.paint(shop.pick("wood", "wood", "metal", "plastic")), shop.uniform(0.012, 0.03)
    rows = max(2, round(h / shop.uniform(0.28, 0.45)))
    parts = [shapes.block((s * w / 2 - t / 2, -d / 2, 0), (s * w / 2 + t / 2, d / 2, h)) for s in (-1, 1)]
    if shop.chance(0.6):
        parts.append(shapes.block((-w / 2, d / 2 - 0.008, 0), (w / 2, d / 2, h)))
    levels = np.linspace(0.06, h - t, rows + 1)
    parts += [shapes.block((-w / 2, -d / 2, z), (w / 2, d / 2, z + t)) for z in levels]
    out = [shop.cover(part, board) for part in parts]
    for z, upper in pairwise(levels):
        gap = upper - z - t
        if shop.chance(0.45):
            width = w * shop.uniform(0.3, 0.95)
            row = book_row(shop, width, gap, d * 0.9)
            out.append(row.moved(((w - width) / 2 * shop.uniform(-0.9, 0.9), -d / 2, z + t)))
        elif shop.chance(0.85):
            out += [
                small(shop, d * 0.9, gap * 0.9).moved((x, 0, z + t))
                for x in np.arange(-w / 2 + d / 2, w / 2 - d / 2 + 1e-6, max(d * 0.8, 0.18)) if shop.chance(0.7)
            ]  # fmt: skip
    return merge(out)


def cabinet(shop: Workshop, size: tuple[float, float, float] | None = None, paint: Paint | None = None) -> Mesh:
    """A cupboard, chest of drawers, fridge or oven: a body with fronts and handles."""
    w, d, h = size or (shop.uniform(0.4, 1.4), shop.uniform(0.35, 0.65), shop.uniform(0.5, 2.1))
    body = paint or shop.paint(shop.pick("wood", "wood", "plastic", "metal"))
    front = body if shop.chance(0.6) else shop.paint(shop.pick("wood", "plastic", "metal"))
    handle = shop.paint("metal")
    parts = [shop.cover(shapes.block((-w / 2, -d / 2, 0), (w / 2, d / 2, h)), body)]
    columns, rows = max(1, round(w / shop.uniform(0.4, 0.7))), 1 if shop.chance(0.5) else shop.count(2, 5)
    cw, rh, gap = w / columns, (h - 0.06) / rows, shop.uniform(0.003, 0.008)
    upright = rows == 1
    for i in range(columns):
        for j in range(rows):
            x0, z0 = -w / 2 + i * cw + gap, 0.05 + j * rh + gap
            door = shapes.block((x0, -d / 2 - 0.018, z0), (x0 + cw - 2 * gap, -d / 2, z0 + rh - 2 * gap))
            parts.append(shop.cover(door, front))
            y = -d / 2 - 0.045
            if upright:
                x, z = (x0 + cw - 0.06 if i % 2 == 0 else x0 + 0.04), z0 + rh * (0.8 if h < 1 else 0.5)
                bar = shapes.rod((x, y, z - 0.09), (x, y, z + 0.06), 0.006, 6)
            else:
                x, z = x0 + cw / 2, z0 + rh * 0.75
                bar = shapes.rod((x - 0.07, y, z), (x + 0.07, y, z), 0.006, 6)
            parts.append(shop.cover(bar, handle))
    return merge(parts)


def floor_lamp(shop: Workshop) -> Mesh:
    """A standing lamp with a shade."""
    h, r, metal = shop.uniform(1.1, 1.9), shop.uniform(0.1, 0.25), shop.paint("metal")
    shade = shapes.lathe([r, r * shop.uniform(0.4, 1)], [0, r * 1.5]).moved((0, 0, h - r))
    glow = Paint(shop.materials.plain(shop.grey(0.6, 0.95), emission=shop.uniform(0, 2)))
    return merge(
        [
            shop.cover(shapes.cylinder(0.14, 0.02), metal),
            shop.cover(shapes.rod((0, 0, 0), (0, 0, h), 0.012), metal),
            shop.cover(shade, glow),
        ]
    )


def big_plant(shop: Workshop) -> Mesh:
    """A house plant up to a man's height."""
    return potted_plant(shop, shop.uniform(0.5, 1.9))


FURNITURE: dict[str, Callable[[Workshop], Mesh]] = {
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


def furniture(shop: Workshop, role: str) -> Mesh:
    """A real piece for the role if the library has one and chance wants it, otherwise a built one."""
    real = shop.piece(role) if shop.chance(0.6) else None
    if real is None:
        return FURNITURE[role](shop)
    low, high = real.bounds
    if role == "table" and shop.chance(0.7):
        width, depth = (high - low)[:2]
        return merge([real, *spread(shop, width * 0.9, depth * 0.9, float(high[2]), shop.count(1, 8))])
    return real
