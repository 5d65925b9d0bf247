"""Furniture of composed parts. Every maker returns a mesh on z = 0, its front to -y, in metres."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import Material, SceneBuilder
from starter.scenes.mesh import Mesh, merge
from starter.scenes.props.designs import designed
from starter.scenes.props.small import book_row, potted_plant, small


def table(scene: SceneBuilder, size: tuple[float, float, float] | None = None, things: int | None = None) -> Mesh:
    """A table or desk, round or square, with things on it."""
    w, d, h = size or (scene.uniform(0.6, 2.0), scene.uniform(0.5, 1.0), scene.uniform(0.68, 0.8))
    top = scene.material(scene.pick("wood", "wood", "plastic", "stone"))
    leg = scene.material(scene.pick("wood", "metal"))
    thick = scene.uniform(0.015, 0.06)
    parts: list[Mesh] = []
    if scene.chance(0.2):
        r = min(w, d) / 2
        parts.append(scene.cover(shapes.cylinder(r, thick, 32).moved((0, 0, h - thick)), top))
        parts.append(scene.cover(shapes.lathe([0, r * 0.6, 0.04, 0.04], [0, 0, 0.05, h - thick]), leg))
        w = d = r * 1.4
    else:
        parts.append(scene.cover(shapes.block((-w / 2, -d / 2, h - thick), (w / 2, d / 2, h)), top))
        r, splay = scene.uniform(0.012, 0.04), scene.uniform(0, 0.06) * scene.chance(0.4)
        for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            upper = np.array([x * (w / 2 - 0.03 - r), y * (d / 2 - 0.03 - r), h - thick])
            foot = (upper[0] + x * splay, upper[1] + y * splay, 0)
            post = shapes.rod(foot, upper, r, scene.count(4, 9))
            parts.append(scene.cover(post, leg))
        if scene.chance(0.4):
            corner = (w / 2 - scene.uniform(0.3, 0.45), -d / 2 + 0.03, scene.uniform(0.05, 0.5))
            side = shapes.block(corner, (w / 2 - 0.02, d / 2 - 0.03, h - thick))
            parts.append(scene.cover(side, top))
    return merge([*parts, *spread(scene, w, d, h, scene.count(0, 8) if things is None else things)])


def spread(scene: SceneBuilder, width: float, depth: float, height: float, count: int, size: float = 0.4) -> list[Mesh]:
    """Things spread over a plane of `width` by `depth` at `height`."""
    things = [small(scene, min(size, width, depth), size * 1.2) for _ in range(count)]
    return [x.moved((scene.uniform(-0.45, 0.45) * width, scene.uniform(-0.42, 0.42) * depth, height)) for x in things]


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
            for x in np.arange(-w / 2 + d / 2, w / 2 - d / 2 + 1e-6, max(d * 0.8, 0.18)):
                if scene.chance(0.7):
                    out.append(small(scene, d * 0.9, gap * 0.9).moved((x, 0, z + t)))
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


def furniture(scene: SceneBuilder, role: str) -> Mesh:
    """A real model for the role if the library has one and chance wants it, otherwise a built one."""
    real = scene.real_prop(role) if scene.chance(0.6) else None
    if real is None:
        if role == "plant":
            return potted_plant(scene, scene.uniform(0.5, 1.9))
        makers = {"table": table, "shelf": shelf, "cabinet": cabinet}
        return makers[role](scene) if role in makers else designed(scene, role)
    low, high = real.bounds
    if role == "table" and scene.chance(0.7):
        width, depth = (high - low)[:2]
        return merge([real, *spread(scene, width * 0.9, depth * 0.9, float(high[2]), scene.count(1, 8))])
    return real
