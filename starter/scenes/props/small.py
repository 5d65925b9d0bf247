"""Things that stand on tables and shelves. Every maker returns a mesh that stands on z = 0, in metres."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from starter.scenes import shapes
from starter.scenes.builder import Material, SceneBuilder
from starter.scenes.mesh import Mesh, merge, random_rotation, rotation_z
from starter.scenes.props.designs import designed


def open_box(scene: SceneBuilder, size: tuple[float, float, float] | None = None) -> Mesh:
    """A box without a lid, perhaps tipped on its side, with things in it."""
    w, d, h = size or (scene.uniform(0.15, 0.5), scene.uniform(0.12, 0.4), scene.uniform(0.06, 0.35))
    t = scene.uniform(0.003, 0.015)
    material = scene.material(scene.pick("cardboard", "cardboard", "plastic", "wood", "any"))
    low, high = np.array([-w / 2, -d / 2, 0]), np.array([w / 2, d / 2, h])
    walls = [shapes.block(low, (w / 2, d / 2, t))]
    for axis in (0, 1):
        inner = np.eye(3)[axis] * ((w, d)[axis] - t)
        walls += [shapes.block(low, high - inner), shapes.block(low + inner, high)]
    shell = merge([scene.cover(wall, material) for wall in walls])
    if scene.chance(0.35):
        # On its side, open to the front, things standing on what was the wall.
        shell = shell.moved(rotation=np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])).centred()
        w, d, h = w, h, d
    things = [small(scene, 0.5 * min(w, d), h * 1.2) for _ in range(scene.count(0, 6))]
    return merge([shell, *(x.moved((*scene.rng.uniform(-0.3, 0.3, 2) * (w, d), t)) for x in things)])


def books(scene: SceneBuilder) -> Mesh:
    """A pile of books or papers."""
    parts, top = [], 0.0
    for _ in range(scene.count(1, 7)):
        at = (*scene.rng.uniform(-0.02, 0.02, 2), top)
        one = designed(scene, "book").moved(at, scene.rng.normal(0, 0.15))
        parts.append(one)
        top = float(one.bounds[1, 2])
    return merge(parts)


def book_row(scene: SceneBuilder, width: float, height: float, depth: float) -> Mesh:
    """Books upright side by side along x, spines to -y."""
    parts, x = [], 0.0
    while x < width - 0.01:
        w, h = min(scene.uniform(0.012, 0.06), width - x), height * scene.uniform(0.6, 0.95)
        d = depth * scene.uniform(0.6, 0.95)
        lean = shapes.block((x, -d, 0), (x + w, 0, h))
        material = scene.material("plastic") if scene.chance(0.6) else Material(scene.poster("picture"), 0.3)
        parts.append(scene.cover(lean, material))
        x += w + (scene.uniform(0, 0.08) if scene.chance(0.1) else 0.001)
    return merge(parts).moved((-width / 2, depth, 0))


def bottle(scene: SceneBuilder) -> Mesh:
    """A bottle, jar or can of random profile, perhaps with a label."""
    r, h = scene.uniform(0.015, 0.06), scene.uniform(0.08, 0.34)
    neck, shoulder = r * scene.uniform(0.25, 1.0), h * scene.uniform(0.55, 0.9)
    profile = [0, r * 0.95, r, r, neck, neck * scene.uniform(0.9, 1.2), 0]
    heights = [0, 0, 0.01 * h, shoulder, min(shoulder + 0.15 * h, 0.95 * h), h, h]
    parts = [scene.cover(shapes.lathe(profile, heights), "plastic")]
    if scene.chance(0.6):
        low, high = sorted((scene.uniform(0.1, 0.4) * shoulder, scene.uniform(0.5, 0.95) * shoulder))
        ring = shapes.lathe([r * 1.01, r * 1.01], [high, low])
        parts.append(scene.cover(ring, Material(scene.poster("picture"), np.pi * r)))
    if scene.chance(0.7):
        parts.append(scene.cover(shapes.cylinder(neck * 1.15, h * 0.12), "plastic").moved((0, 0, h * 0.92)))
    return merge(parts)


def cup(scene: SceneBuilder) -> Mesh:
    """A cup, mug, glass or bowl: a hollow profile, perhaps with a handle."""
    r, h = scene.uniform(0.025, 0.06), scene.uniform(0.05, 0.14)
    base, t = r * scene.uniform(0.5, 1.0), np.linspace(0, 1, 6)
    outer = base + (r - base) * t ** scene.uniform(0.5, 2)
    radii = [0, *outer, *(outer[::-1] - 0.003), 0]
    heights = [0, *(t * h), *(t[::-1] * (h - 0.005) + 0.005), 0.005]
    material = scene.material(scene.pick("plastic", "plastic", "metal", "any"))
    parts = [scene.cover(shapes.lathe(radii, heights), material)]
    if scene.chance(0.5):
        upright = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
        ring = shapes.torus(h * 0.3, 0.005, 14).moved((r * 0.95, 0, h * 0.5), rotation=upright)
        parts.append(scene.cover(ring, material))
    return merge(parts)


def vase(scene: SceneBuilder) -> Mesh:
    """A vase, pot or lamp foot with a wavy profile."""
    h, r = scene.uniform(0.08, 0.4), scene.uniform(0.03, 0.12)
    t = np.linspace(0, 1, 12)
    radii = r * (0.6 + 0.4 * np.sin(t * scene.uniform(2, 6) + scene.turn()))
    return scene.cover(shapes.lathe([0, *radii], [0, *(t * h)]), scene.pick("plastic", "stone", "any", "metal"))


def bowl(scene: SceneBuilder) -> Mesh:
    """A bowl, basket or plate with fruit."""
    r, h = scene.uniform(0.07, 0.2), scene.uniform(0.015, 0.12)
    t = np.linspace(0, 1, 6)
    outer = r * (0.4 + 0.6 * t ** scene.uniform(0.3, 1))
    dish = shapes.lathe([0, *outer, *(outer[::-1] - 0.004), 0], [0, *(t * h), *(t[::-1] * (h - 0.004) + 0.006), 0.006])
    parts = [scene.cover(dish, scene.pick("plastic", "wood", "any", "metal"))]
    for _ in range(scene.count(0, 8)):
        a, b, s = scene.turn(), scene.uniform(0, 0.6) * r, scene.uniform(0.02, 0.045)
        fruit = shapes.superquadric((s, s, s * scene.uniform(0.8, 1.3)), sides=14)
        at = (b * np.cos(a), b * np.sin(a), h * 0.4 + s * scene.uniform(0.5, 1.5))
        fruit = fruit.moved(at, rotation=random_rotation(scene.rng))
        parts.append(scene.cover(fruit, "plastic"))
    return merge(parts)


def papers(scene: SceneBuilder) -> Mesh:
    """Sheets of paper lying about, or a magazine."""
    parts = []
    for k in range(scene.count(1, 6)):
        w, d = 0.21 * scene.uniform(0.5, 1.1), 0.297 * scene.uniform(0.5, 1.1)
        sheet = shapes.quad((-w / 2, -d / 2, 0.001 + 0.0012 * k), (w, 0, 0), (0, d, 0), True)
        sheet = sheet.painted(scene.poster("page", "page", "picture"))
        parts.append(sheet.moved((scene.uniform(-0.1, 0.1), scene.uniform(-0.1, 0.1), 0), scene.turn()))
    return merge(parts)


def lump(scene: SceneBuilder) -> Mesh:
    """A stone, bag, crumpled paper or soft toy."""
    r = scene.uniform(0.03, 0.15)
    mesh = shapes.blob(scene.rng, r, scene.uniform(0.1, 0.6)).scaled(scene.rng.uniform(0.5, 1.3, 3))
    return scene.cover(mesh, scene.pick("fabric", "plastic", "stone", "leaf", "any")).centred()


def solid(scene: SceneBuilder) -> Mesh:
    """A superquadric, ring, cone or prism in any position."""
    s = scene.uniform(0.03, 0.15)
    style = scene.count(0, 3)
    if style == 0:
        mesh = shapes.superquadric(s * scene.rng.uniform(0.4, 1, 3), scene.uniform(0.1, 2), scene.uniform(0.1, 2))
    elif style == 1:
        mesh = shapes.torus(s, s * scene.uniform(0.1, 0.45))
    elif style == 2:
        mesh = shapes.cylinder(s * 0.7, s * scene.uniform(0.4, 2.5), top=s * scene.uniform(0, 0.9))
    else:
        n = scene.count(3, 9)
        angle = np.sort(scene.rng.uniform(0, 2 * np.pi, n)) if scene.chance(0.3) else np.arange(n) * 2 * np.pi / n
        radius = s * scene.rng.uniform(0.6, 1.2, n)
        outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
        mesh = shapes.extrusion(outline, s * scene.uniform(0.1, 2))
    if scene.chance(0.4):
        mesh = mesh.moved(rotation=random_rotation(scene.rng))
    return scene.cover(mesh, "any").centred()


def cable(scene: SceneBuilder) -> Mesh:
    """A cable lying about."""
    n = 24
    steps = np.cumsum(scene.rng.normal(0, 0.5, n))
    path = np.cumsum(np.stack([np.cos(steps), np.sin(steps), np.zeros(n)], -1), 0) * scene.uniform(0.01, 0.04)
    path -= path.mean(0)
    path[:, 2] = 0.004 + 0.01 * (1 + np.sin(np.arange(n) * 0.8))
    return scene.cover(shapes.tube(path, scene.uniform(0.002, 0.006), 6), "plastic")


def potted_plant(scene: SceneBuilder, height: float | None = None) -> Mesh:
    """A plant in a pot: leaves bent outwards."""
    h = height or scene.uniform(0.15, 0.5)
    r = h * scene.uniform(0.12, 0.25)
    pot = shapes.lathe([0, r * 0.7, r, r * 0.9, 0], [0, 0, h * 0.3, h * 0.29, h * 0.27])
    parts = [scene.cover(pot, scene.pick("plastic", "stone", "any"))]
    leaf, slim, t = scene.material("leaf"), scene.uniform(0.03, 0.14), np.linspace(0, 1, 5)
    for _ in range(scene.count(8, 28)):
        reach, rise = h * scene.uniform(0.2, 0.6), h * scene.uniform(0.2, 0.75)
        spine = np.stack([reach * t, np.zeros(5), h * 0.28 + rise * np.sin(t * scene.uniform(1.3, 2.6))], -1)
        side = [0, 1, 0] * (h * slim * np.sin(np.pi * np.clip(t + 0.08, 0, 1)))[:, None]
        blade = np.stack([spine + side, spine - [0, 0, 0.01], spine - side], 1)
        parts.append(scene.cover(shapes.surface(blade), leaf).moved(yaw=scene.turn()))
    return merge(parts)


SMALL: dict[str, tuple[Callable[[SceneBuilder], Mesh], float]] = {
    "open box": (open_box, 1.0),
    "books": (books, 2.0),
    "bottle": (bottle, 3.0),
    "cup": (cup, 2.0),
    "vase": (vase, 1.0),
    "bowl": (bowl, 1.0),
    "papers": (papers, 1.0),
    "lump": (lump, 1.0),
    "solid": (solid, 1.0),
    "cable": (cable, 0.5),
    "plant": (potted_plant, 0.7),
    "carton": (lambda scene: designed(scene, "carton"), 3.0),
    "screen": (lambda scene: designed(scene, "screen"), 0.4),
    "laptop": (lambda scene: designed(scene, "laptop"), 0.4),
    "lamp": (lambda scene: designed(scene, "desk_lamp"), 0.4),
}


def small(scene: SceneBuilder, width: float = 0.4, height: float = 0.5) -> Mesh:
    """A random small thing no wider than `width` and no taller than `height`, turned at random."""
    real = scene.real_prop("small") if scene.chance(0.35) else None
    if real is None:
        names = [name for name in SMALL if name != "open box" or width > 0.25]
        weights = np.array([SMALL[name][1] for name in names])
        real = SMALL[names[int(scene.rng.choice(len(names), p=weights / weights.sum()))]][0](scene)
    size = real.bounds[1] - real.bounds[0]
    shrink = min(1.0, width / max(float(size[:2].max()), 1e-3), height / max(float(size[2]), 1e-3))
    yaw = scene.uniform(0, 2 * np.pi) if scene.chance(0.6) else float(scene.rng.normal(0, 0.2))
    return real.scaled(shrink).moved(rotation=rotation_z(yaw)).centred()
