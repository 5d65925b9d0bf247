"""Triangle meshes with what shading needs at each corner: normal, texture coordinates, material."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def floats(values: npt.ArrayLike) -> Floats:
    """An array in float32."""
    return np.asarray(values, np.float32)


@dataclass(frozen=True)
class Mesh:
    """V vertices and T triangles, in metres, z up.

    Attributes:
        vertices: (V, 3) float32.
        triangles: (T, 3) int32, indices of vertices.
        normals: (T, 3, 3) float32, unit normal at each corner.
        uv: (T, 3, 2) float32, texture coordinates at each corner; 1 is one tile of the texture.
        material: (T,) int32, row of the scene's material table.
    """

    vertices: Floats
    triangles: Ints
    normals: Floats
    uv: Floats
    material: Ints

    def moved(
        self, offset: npt.ArrayLike = (0, 0, 0), yaw: float = 0.0, rotation: npt.NDArray[np.float64] | None = None
    ) -> Mesh:
        """The mesh turned by `rotation` (3, 3) and then by `yaw` radians about z, and shifted by `offset` metres."""
        turn = rotation_z(yaw) if rotation is None else rotation_z(yaw) @ rotation
        matrix = turn.astype(np.float32)
        vertices = self.vertices @ matrix.T + np.asarray(offset, np.float32)
        return replace(self, vertices=vertices, normals=self.normals @ matrix.T)

    def scaled(self, factors: npt.ArrayLike) -> Mesh:
        """The mesh stretched by one factor or by three (x, y, z), all positive."""
        scale = np.broadcast_to(np.asarray(factors, np.float32), (3,))
        normals = self.normals / scale
        normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
        return replace(self, vertices=self.vertices * scale, normals=normals)

    def painted(
        self, material: int, tile: float = 1.0, shift: tuple[float, float] = (0.0, 0.0), turned: bool = False
    ) -> Mesh:
        """The mesh in one material, its texture tiles `tile` metres wide, shifted by `shift` tiles, perhaps turned."""
        uv = self.uv[..., ::-1] if turned else self.uv
        uv = uv / np.float32(tile) + np.asarray(shift, np.float32)
        return replace(self, uv=uv, material=np.full(len(self.triangles), material, np.int32))

    @property
    def bounds(self) -> Floats:
        """(2, 3): the least and the greatest coordinates."""
        return np.stack([self.vertices.min(0), self.vertices.max(0)])

    def centred(self) -> Mesh:
        """The mesh standing on z = 0 with the middle of its footprint at the origin."""
        low, high = self.bounds
        return replace(self, vertices=self.vertices - np.array([*(low + high)[:2] / 2, low[2]], np.float32))


def merge(meshes: Iterable[Mesh]) -> Mesh:
    """One mesh of many; at least one is needed."""
    parts = list(meshes)
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.triangles + np.int32(start) for part, start in zip(parts, starts)]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.uv for part in parts]),
        np.concatenate([part.material for part in parts]),
    )


def from_triangles(
    vertices: npt.ArrayLike, triangles: npt.ArrayLike, uv: npt.NDArray[np.float32] | None = None, crease: float = 0.6
) -> Mesh:
    """A mesh with smooth normals, except where faces meet with a cosine below `crease` to their average.

    Without `uv` each face is textured along the two axes across its normal, in metres.
    """
    points = np.asarray(vertices, np.float32)
    faces = np.asarray(triangles, np.int32)
    corners = points[faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    face = np.stack([a[:, i] * b[:, j] - a[:, j] * b[:, i] for i, j in ((1, 2), (2, 0), (0, 1))], -1)
    flat = face / np.sqrt(np.maximum(np.einsum("ni,ni->n", face, face), 1e-30))[:, None]
    normals = np.broadcast_to(flat[:, None], corners.shape)
    if crease < 1:
        summed = np.stack(
            [np.bincount(faces.ravel(), np.repeat(face[:, k], 3), minlength=len(points)) for k in range(3)], axis=1
        ).astype(np.float32)
        summed /= np.sqrt(np.maximum(np.einsum("ni,ni->n", summed, summed), 1e-30))[:, None]
        smooth = summed[faces]
        normals = np.where(np.einsum("nki,ni->nk", smooth, flat)[..., None] > crease, smooth, normals)
    if uv is None:
        uv = box_mapping(corners, flat)
    return Mesh(points, faces, np.ascontiguousarray(normals, np.float32), uv, np.zeros(len(faces), np.int32))


def box_mapping(corners: Floats, flat: Floats) -> Floats:
    """(T, 3, 2) coordinates in metres of (T, 3, 3) corners on the axis plane that each (T, 3) normal faces."""
    axis = np.abs(flat).argmax(-1)
    first = np.where(axis == 0, 1, 0)
    second = np.where(axis == 2, 1, 2)
    rows = np.arange(len(corners))[:, None]
    turn = np.arange(3)[None]
    # Texture rows run down, heights run up.
    sign = np.where(axis == 2, 1.0, -1.0).astype(np.float32)[:, None]
    return np.stack([corners[rows, turn, first[:, None]], sign * corners[rows, turn, second[:, None]]], axis=-1)


def rotation_z(angle: float) -> npt.NDArray[np.float64]:
    """(3, 3) turn by `angle` radians about z, from x towards y."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def rotation_between(axis: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(3, 3) rotation that takes z to the direction `axis`."""
    z = np.asarray(axis, np.float64)
    z = z / np.linalg.norm(z)
    helper = np.array([1.0, 0, 0]) if abs(z[0]) < 0.9 else np.array([0, 1.0, 0])
    x = np.cross(helper, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def random_rotation(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(3, 3) uniformly random rotation (Shoemake 1992: a normal quaternion)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
