"""Basic shapes as meshes: boxes, surfaces of revolution, tubes, sheets, blobs. Metres, z up."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from starter.scenes.mesh import Floats, Mesh, from_triangles, rotation_between

_BOX_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
_BOX_FACES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]
    ],
    np.int32
)  # fmt: skip
# The two axes across each of these faces, in pairs: x, x, y, y, z, z.
_BOX_AXES = np.repeat([[1, 2], [0, 2], [0, 1]], 4, axis=0)


def box(size: npt.ArrayLike, centre: npt.ArrayLike = (0, 0, 0)) -> Mesh:
    """A box of `size` (x, y, z) metres about `centre`."""
    extent = np.asarray(size, np.float32)
    unit = _unit_box()
    vertices = unit.vertices * extent + np.asarray(centre, np.float32)
    # Textures are in metres: each face by the two sizes across it.
    return replace(unit, vertices=vertices, uv=unit.uv * extent[_BOX_AXES][:, None])


def printed_box(size: npt.ArrayLike, centre: npt.ArrayLike = (0, 0, 0)) -> Mesh:
    """A box with the whole texture once on each face, upright."""
    return replace(box(size, centre), uv=_unit_box().uv + np.float32(0.5))


@cache
def _unit_box() -> Mesh:
    return from_triangles(_BOX_CORNERS, _BOX_FACES, crease=1)


def block(low: npt.ArrayLike, high: npt.ArrayLike) -> Mesh:
    """A box from corner `low` to corner `high`."""
    a, b = np.asarray(low, np.float64), np.asarray(high, np.float64)
    return box(b - a, (a + b) / 2)


def quad(origin: npt.ArrayLike, along: npt.ArrayLike, up: npt.ArrayLike, fitted: bool = False) -> Mesh:
    """A parallelogram at `origin` with sides `along` and `up`; its texture in metres, or `fitted` once, upright."""
    o, a, b = (np.asarray(v, np.float64) for v in (origin, along, up))
    width, height = (1.0, 1.0) if fitted else (float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    uv = np.array([[0, height], [width, height], [width, 0], [0, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return from_triangles(np.stack([o, o + a, o + a + b, o + b]), faces, uv[faces], crease=1)


@cache
def _grid(rows: int, columns: int, wrap_rows: bool, wrap_columns: bool) -> tuple[npt.NDArray[np.int32], Floats]:
    """Triangles (T, 3) of a grid of points, and row-wise places (T, 3, 2) of their corners on it."""
    i, j = np.meshgrid(np.arange(rows - (not wrap_rows)), np.arange(columns - (not wrap_columns)), indexing="ij")
    steps = ((0, 0), (0, 1), (1, 1), (0, 0), (1, 1), (1, 0))
    faces = np.stack([(i + di) % rows * columns + (j + dj) % columns for di, dj in steps], -1)
    places = np.stack([np.stack([j + dj, i + di], -1) for di, dj in steps], 2)
    return faces.reshape(-1, 3).astype(np.int32), places.reshape(-1, 3, 2).astype(np.float32)


def surface(
    points: npt.NDArray[np.floating], wrap_rows: bool = False, wrap_columns: bool = False, crease: float = 0.6
) -> Mesh:
    """A mesh through an (R, C, 3) grid of points, perhaps closed along its rows or columns; texture in metres.

    Seen from the side where columns run right and rows run down, the normal points away from the viewer.
    """
    rows, columns = points.shape[:2]
    closed = np.concatenate([points, points[:, :1]], 1) if wrap_columns else points
    width = float(np.linalg.norm(np.diff(closed, axis=1), axis=-1).sum(1).max())
    closed = np.concatenate([points, points[:1]], 0) if wrap_rows else points
    height = float(np.linalg.norm(np.diff(closed, axis=0), axis=-1).sum(0).max())
    steps = np.array(
        [width / max(columns - (not wrap_columns), 1), height / max(rows - (not wrap_rows), 1)], np.float32
    )
    faces, places = _grid(rows, columns, wrap_rows, wrap_columns)
    return from_triangles(points.reshape(-1, 3), faces, places * steps, crease)


def lathe(radii: npt.ArrayLike, heights: npt.ArrayLike, sides: int = 20) -> Mesh:
    """A surface of revolution about z through (radius, height) pairs; radius 0 at an end closes it."""
    r, z = np.asarray(radii, np.float64), np.asarray(heights, np.float64)
    angle = np.arange(sides) * (-2 * np.pi / sides)
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    points = np.concatenate([r[:, None, None] * ring, np.broadcast_to(z[:, None, None], (len(r), sides, 1))], -1)
    return surface(points, wrap_columns=True)


def cylinder(radius: float, height: float, sides: int = 20, top: float | None = None) -> Mesh:
    """A closed cylinder standing on z = 0, or a cone's stump with another `top` radius."""
    return lathe([0, radius, radius if top is None else top, 0], [0, 0, height, height], sides)


def rod(start: npt.ArrayLike, end: npt.ArrayLike, radius: float, sides: int = 8, top: float | None = None) -> Mesh:
    """A cylinder from one point to another."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    length = float(np.linalg.norm(b - a))
    return cylinder(radius, length, sides, top).moved(a, rotation=rotation_between(b - a))


def capsule(start: npt.ArrayLike, end: npt.ArrayLike, radius: float, sides: int = 12) -> Mesh:
    """A rod with round ends, three quarters as thick at its end."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    arc, upper = np.linspace(0, np.pi / 2, 4), 0.75 * radius
    radii = np.concatenate([radius * np.sin(arc), upper * np.cos(arc)])
    heights = np.concatenate([-radius * np.cos(arc), float(np.linalg.norm(b - a)) + upper * np.sin(arc)])
    return lathe(radii, heights, sides).moved(a, rotation=rotation_between(b - a))


def superquadric(radii: npt.ArrayLike, north: float = 1.0, east: float = 1.0, sides: int = 24) -> Mesh:
    """A superellipsoid (Barr 1981): exponents 1 give an ellipsoid, towards 0 a rounded box, 2 an octahedron."""
    a = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)[:, None]
    b = (np.arange(sides) * (-2 * np.pi / sides))[None]

    def power(x: npt.NDArray[np.float64], e: float) -> npt.NDArray[np.float64]:
        return np.sign(x) * np.abs(x) ** e

    x = power(np.cos(a), north) * power(np.cos(b), east)
    y = power(np.cos(a), north) * power(np.sin(b), east)
    z = np.broadcast_to(power(np.sin(a), north), x.shape)
    return surface(np.stack([x, y, z], -1) * np.asarray(radii, np.float64), wrap_columns=True)


def cushion(size: npt.ArrayLike, roundness: float = 0.25, sides: int = 20) -> Mesh:
    """A rounded box of `size` about the origin, as of upholstery; `roundness` between 0 (box) and 1 (ellipsoid)."""
    return superquadric(np.asarray(size, np.float64) / 2, roundness, roundness, sides)


def torus(radius: float, thickness: float, sides: int = 24) -> Mesh:
    """A ring in the plane z = 0; `thickness` is the radius of its tube."""
    a = (np.arange(sides) * (2 * np.pi / sides))[:, None]
    b = (np.arange(10) * (2 * np.pi / 10))[None]
    r = radius + thickness * np.cos(b)
    points = np.stack(np.broadcast_arrays(r * np.cos(a), r * np.sin(a), thickness * np.sin(b)), -1)
    return surface(points[:, ::-1], True, True)


def tube(path: npt.NDArray[np.floating], radius: float, sides: int = 8) -> Mesh:
    """A round tube along an (N, 3) path: cables, handles, rails."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-12)
    side = np.cross(tangent, np.array([0.31, 0.23, 0.92]))
    side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-12)
    other = np.cross(tangent, side)
    angle = np.arange(sides) * (-2 * np.pi / sides)
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    return surface(path[:, None] + radius * ring, wrap_columns=True)


def extrusion(outline: npt.ArrayLike, height: float) -> Mesh:
    """A prism over an (N, 2) polygon that is star-shaped about its mean, counter-clockwise, from z = 0 to `height`."""
    flat = np.asarray(outline, np.float64)
    n = len(flat)
    low = np.concatenate([flat, np.zeros((n, 1))], 1)
    high = low + np.array([0, 0, height])
    middle = flat.mean(0)
    points = np.concatenate([low, high, [[*middle, 0], [*middle, height]]])
    i, j = np.arange(n), (np.arange(n) + 1) % n
    faces = [
        np.stack([i, j, j + n], -1), np.stack([i, j + n, i + n], -1),
        np.stack([j, i, np.full(n, 2 * n)], -1), np.stack([i + n, j + n, np.full(n, 2 * n + 1)], -1)
    ]  # fmt: skip
    return from_triangles(points, np.concatenate(faces))


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: int, octaves: int = 3
) -> npt.NDArray[np.float32]:
    """Value noise of about unit range and mean 0, `cells` bumps across, with `octaves` finer layers."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        n = cells * 2**octave + 2
        grid = rng.uniform(-1, 1, (n, n)).astype(np.float32)
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    return total


def heightfield(size: tuple[float, float], heights: npt.NDArray[np.floating]) -> Mesh:
    """Ground of `size` (x, y) metres about the origin over an (R, C) grid of heights; rows run along y."""
    rows, columns = heights.shape
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, columns) * size[0], np.linspace(-0.5, 0.5, rows) * size[1])
    return surface(np.stack([x, y, heights], -1), crease=0.2)


def blob(rng: np.random.Generator, radius: float, roughness: float = 0.3, sides: int = 24) -> Mesh:
    """A stone-like or crumpled lump: a sphere with noise along its radius."""
    a = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)[:, None]
    b = (np.arange(sides) * (-2 * np.pi / sides))[None]
    unit = np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.broadcast_to(np.sin(a), (len(a), sides))], -1)
    waves = rng.normal(size=(8, 3)) * rng.uniform(1, 5, (8, 1))
    bumps = np.sin(unit @ waves.T + rng.uniform(0, 6.3, 8)).mean(-1)
    return surface(unit * (radius * (1 + roughness * 2 * bumps))[..., None], wrap_columns=True, crease=0.3)
