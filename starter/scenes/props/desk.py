"""Screens, laptops, lamps and plants. Every maker returns a mesh that stands on z = 0, front to -y, in metres."""

from __future__ import annotations

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import SceneBuilder
from starter.scenes.mesh import Mesh, merge


def screen(scene: SceneBuilder, width: float | None = None) -> Mesh:
    """A monitor or television on a foot, front to -y."""
    w = width or scene.uniform(0.35, 0.75)
    h, z = w * scene.uniform(0.5, 0.7), scene.uniform(0.06, 0.16)
    frame = scene.material("plastic") if scene.chance(0.2) else scene.plain(scene.grey(0.03, 0.25), specular=0.2)
    parts = [
        scene.cover(shapes.block((-w / 2, 0, z), (w / 2, 0.03, z + h)), frame),
        scene.cover(shapes.block((-0.02, 0.03, 0), (0.02, 0.06, z + h / 2)), frame),
        scene.cover(shapes.block((-w / 5, -0.05, 0), (w / 5, 0.13, 0.012)), frame),
    ]
    on = scene.chance(0.5)
    face = (
        scene.poster("picture", "page", emission=scene.uniform(0.4, 1.2))
        if on
        else scene.materials.plain(np.full(3, 0.01), specular=0.5, mirror=0.5)
    )
    parts.append(
        shapes.quad((-w / 2 + 0.012, -0.001, z + 0.012), (w - 0.024, 0, 0), (0, 0, h - 0.024), True).painted(face)
    )
    return merge(parts)


def laptop(scene: SceneBuilder) -> Mesh:
    """A laptop, opened."""
    w, d, angle = scene.uniform(0.28, 0.38), scene.uniform(0.2, 0.26), scene.uniform(1.5, 2.3)
    body = scene.material("metal")
    c, s = np.cos(angle), np.sin(angle)
    lid = shapes.block((-w / 2, -d, 0), (w / 2, 0, 0.008))
    show = shapes.quad((-w / 2 + 0.01, -d + 0.01, -0.001), (w - 0.02, 0, 0), (0, d - 0.02, 0), True)
    face = scene.poster("picture", "page", emission=scene.uniform(0, 1))
    turn = np.array([[1.0, 0, 0], [0, c, s], [0, -s, c]])
    parts = [scene.cover(shapes.block((-w / 2, -d, 0), (w / 2, 0, 0.015)), body)]
    parts.append(scene.cover(lid.moved((0, 0, 0.015), rotation=turn), body))
    parts.append(show.painted(face).moved((0, 0, 0.015), rotation=turn))
    keys = scene.materials.tinted(scene.texture("checker", "tiles"), np.full(3, 0.2))
    parts.append(shapes.quad((-w * 0.42, -d * 0.55, 0.0155), (w * 0.84, 0, 0), (0, d * 0.5, 0), True).painted(keys))
    return merge(parts)


def desk_lamp(scene: SceneBuilder) -> Mesh:
    """A lamp with a jointed arm."""
    material = scene.material("metal")
    a, b = np.array([0, 0, 0.02]), np.array([scene.uniform(-0.15, 0.05), 0, scene.uniform(0.15, 0.3)])
    c = b + np.array([scene.uniform(0.05, 0.2), 0, scene.uniform(-0.02, 0.15)])
    parts = [shapes.cylinder(0.08, 0.02), shapes.rod(a, b, 0.008), shapes.rod(b, c, 0.008)]
    hood = shapes.lathe([0.02, 0.03, 0.08], [0.1, 0.06, 0]).moved(c - [0, 0, 0.08])
    return merge([scene.cover(part, material) for part in [*parts, hood]])


def potted_plant(scene: SceneBuilder, height: float | None = None) -> Mesh:
    """A plant in a pot: leaves bent outwards."""
    h = height or scene.uniform(0.15, 0.5)
    r = h * scene.uniform(0.12, 0.25)
    pot = shapes.lathe([0, r * 0.7, r, r * 0.9, 0], [0, 0, h * 0.3, h * 0.29, h * 0.27])
    parts = [scene.cover(pot, scene.pick("plastic", "stone", "any"))]
    leaf = scene.material("leaf")
    slim = scene.uniform(0.03, 0.14)
    for _ in range(scene.count(8, 28)):
        a, reach, rise = scene.turn(), h * scene.uniform(0.2, 0.6), h * scene.uniform(0.2, 0.75)
        t = np.linspace(0, 1, 5)
        spine = np.stack([reach * t, np.zeros(5), h * 0.28 + rise * np.sin(t * scene.uniform(1.3, 2.6))], -1)
        half = h * slim * np.sin(np.pi * np.clip(t + 0.08, 0, 1))
        blade = np.stack(
            [spine + [0, 1, 0] * half[:, None], spine - np.array([0, 0, 0.01]), spine - [0, 1, 0] * half[:, None]], 1
        )
        parts.append(scene.cover(shapes.surface(blade), leaf).moved(yaw=a))
    return merge(parts)
