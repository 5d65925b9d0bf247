"""Things outdoors, and people. Every maker returns a mesh on z = 0, its front to -y, in metres."""

from __future__ import annotations

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import Material, SceneBuilder
from starter.scenes.mesh import Mesh, from_triangles, merge
from starter.scenes.props.designs import designed


def person(scene: SceneBuilder) -> Mesh:
    """A figure, standing or walking."""
    real = scene.real_prop("person") if scene.chance(0.6) else None
    return real or designed(scene, "person").scaled(0.6 if scene.chance(0.15) else 1.0)


def tree(scene: SceneBuilder, height: float | None = None) -> Mesh:
    """A tree: trunk, branches, and a crown of lumps, cones or leaf cards."""
    h = height or scene.uniform(2.5, 12)
    bark = Material(scene.toned("wood", "stains", "speckle", base=scene.brown() * np.float32(0.6)), 1.0)
    leaf = scene.material("leaf")
    bare, r = h * scene.uniform(0.15, 0.45), h * scene.uniform(0.012, 0.03)
    lean = scene.rng.normal(0, 0.05, 2) * h
    top = np.array([*lean, h * 0.85])
    parts = [scene.cover(shapes.rod((0, 0, 0), top, r, 10, r * 0.3), bark)]
    style = scene.count(0, 3)
    if style == 0:
        n = scene.count(3, 6)
        for k in range(n):
            z = bare + (h - bare) * k / n
            cone = shapes.lathe([h * 0.2 * (1 - k / (n + 1)), 0], [0, (h - bare) / n * 1.7], 12)
            parts.append(scene.cover(cone, leaf).moved((*(lean * z / h), z)))
        return merge(parts)
    for _ in range(scene.count(5, 12)):
        t = scene.uniform(bare / h, 0.9)
        a, reach = scene.turn(), h * scene.uniform(0.1, 0.3)
        start = top * t
        end = start + reach * np.array([np.cos(a), np.sin(a), scene.uniform(0.2, 1)])
        parts.append(scene.cover(shapes.rod(start, end, r * 0.4, 6, r * 0.1), bark))
        if style == 1:
            crown = shapes.blob(scene.rng, h * scene.uniform(0.08, 0.17), scene.uniform(0.2, 0.6), 16)
            parts.append(scene.cover(crown, leaf).moved(end))
        elif style == 2:
            parts.append(leaf_cloud(scene, end, h * scene.uniform(0.06, 0.14), scene.count(40, 120), leaf))
    return merge(parts)


def leaf_cloud(scene: SceneBuilder, centre: np.ndarray, radius: float, count: int, material: Material) -> Mesh:
    """Many single leaves about a point."""
    rng = scene.rng
    middle = np.asarray(centre) + rng.normal(0, radius * 0.6, (count, 3))
    axes = rng.normal(size=(2, count, 3)) * radius * scene.uniform(0.12, 0.3)
    points = np.stack([middle - axes[0], middle + axes[1], middle + axes[0], middle - axes[1]], 1).reshape(-1, 3)
    first = np.arange(count)[:, None] * 4
    faces = np.concatenate([first + np.array(corners) for corners in ([0, 1, 2], [0, 2, 3])])
    return scene.cover(from_triangles(points, faces, crease=1), material)


def bush(scene: SceneBuilder) -> Mesh:
    """A low plant: a lump or a cloud of leaves."""
    r, leaf = scene.uniform(0.2, 1.0), scene.material("leaf")
    if scene.chance(0.5):
        return leaf_cloud(scene, np.array([0, 0, r * 0.7]), r, scene.count(80, 250), leaf)
    return scene.cover(shapes.blob(scene.rng, r, 0.5), leaf).moved((0, 0, r * 0.6))


def building(scene: SceneBuilder, width: float, depth: float, height: float) -> Mesh:
    """A house or tower: walls of windows, a roof, doors and signs at its foot; front to -y."""
    facade = scene.materials.tinted(
        scene.texture("windows"), np.clip(scene.grey(0.6, 1) * scene.uniform(0.6, 1.2), 0, 1), specular=0.1
    )
    walls = shapes.block((-width / 2, 0, 0), (width / 2, depth, height)).painted(facade, scene.uniform(4, 12))
    parts = [walls]
    if scene.chance(0.3):
        roof = shapes.extrusion([(-width * 0.53, 0), (width * 0.53, 0), (0, width * scene.uniform(0.2, 0.5))], depth)
        turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
        parts.append(scene.cover(roof.moved((0, 0, height), rotation=turn), "stone"))
    if scene.chance(0.5):
        base = shapes.block((-width / 2, -0.1, 0), (width / 2, 0, scene.uniform(2.5, 4)))
        parts.append(scene.cover(base, scene.pick("stone", "any", "wall")))
    for _ in range(scene.count(0, 4)):
        w, h = scene.uniform(0.8, 4), scene.uniform(0.5, 2.5)
        x, z = scene.uniform(-0.4, 0.4) * width, scene.uniform(0.2, 4)
        glow = scene.poster("picture", "stripes", "clouds", emission=scene.uniform(0, 1.5) if scene.chance(0.4) else 0)
        parts.append(shapes.quad((x - w / 2, -0.13, z), (w, 0, 0), (0, 0, h), True).painted(glow))
    for _ in range(scene.count(0, 6)):
        w, x, z = scene.uniform(0.6, 3), scene.uniform(-0.4, 0.4) * width, scene.uniform(2.5, max(3, height))
        ledge = shapes.block((x - w / 2, -scene.uniform(0.3, 1.2), z), (x + w / 2, 0, z + scene.uniform(0.1, 1)))
        parts.append(scene.cover(ledge, scene.pick("stone", "metal", "any")))
    return merge(parts)


def fence(scene: SceneBuilder, length: float = 4.0) -> Mesh:
    """A fence or railing along x."""
    h, step, material = scene.uniform(0.6, 1.8), scene.uniform(0.1, 0.5), scene.material(scene.pick("wood", "metal"))
    thin = scene.uniform(0.01, 0.06)
    parts = [
        shapes.block((x - thin, -0.01, 0), (x + thin, 0.01, h))
        for x in np.arange(-length / 2, length / 2, max(step, thin * 3))
    ]
    parts += [shapes.block((-length / 2, -0.02, z * h), (length / 2, 0.02, z * h + 0.05)) for z in (0.25, 0.9)]
    return merge([scene.cover(part, material) for part in parts])


def car(scene: SceneBuilder) -> Mesh:
    """A car, van or bus."""
    real = scene.real_prop("vehicle") if scene.chance(0.6) else None
    return real or designed(scene, scene.pick("car", "van"))


def street_thing(scene: SceneBuilder) -> Mesh:
    """A bench, bin, lamp or sign, a bush, or any real thing that stands outdoors."""
    real = scene.real_prop("outdoor") if scene.chance(0.25) else None
    name = scene.pick("bench", "bin", "lamp_post", "bush")
    return real or (bush(scene) if name == "bush" else designed(scene, name))


def stone(scene: SceneBuilder) -> Mesh:
    """A boulder."""
    lump = shapes.blob(scene.rng, scene.uniform(0.2, 1.5), scene.uniform(0.2, 0.6))
    return scene.cover(lump.scaled(scene.rng.uniform(0.5, 1.2, 3)), "stone")
