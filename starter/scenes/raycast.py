"""Which surface a ray meets, by Open3D's RaycastingScene (Embree)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import open3d as o3d

from starter.scenes.mesh import Mesh, merge
from starter.scenes.world import World

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: `pose` (4, 4) camera to world in OpenCV axes, `intrinsics` (3, 3), pixel centres whole."""

    pose: npt.NDArray[np.float64]
    intrinsics: npt.NDArray[np.float64]

    @property
    def origin(self) -> Floats:
        """(3,) where it stands."""
        return self.pose[:3, 3].astype(np.float32)

    def directions(self, x: Floats, y: Floats) -> Floats:
        """(N, 3) world directions through pixels (N,); 1 long along the optical axis, so that hits give z-depth."""
        k = self.intrinsics.astype(np.float32)
        local = np.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones(len(x), np.float32)], -1)
        return local @ self.pose[:3, :3].T.astype(np.float32)


def pixels(width: int, height: int) -> tuple[Floats, Floats]:
    """(H * W,) columns and rows of all pixel centres, row by row."""
    y, x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    return x.ravel(), y.ravel()


@dataclass(frozen=True)
class Hits:
    """What N rays met: distance in units of the direction (inf: nothing), triangle, and place on it (N, 2)."""

    distance: Floats
    triangle: npt.NDArray[np.int64]
    place: Floats


class Tracer:
    """All surfaces of a world at a time, in one Embree scene on one thread.

    Attributes:
        normals, uv, material: of all triangles, as in `Mesh`.
        tiles: (T,) float32, texture tiles per metre.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        whole = merge([world.still, *(mesh for mesh, _ in world.moving)])
        self._vertices, self._triangles = whole.vertices, np.ascontiguousarray(whole.triangles, np.uint32)
        self.normals, self.uv, self.material = whole.normals, whole.uv, whole.material
        self.tiles = _density(whole)
        self._scene: o3d.t.geometry.RaycastingScene | None = None
        self.set_time(0.0)

    def set_time(self, seconds: float) -> None:
        """Put the moving meshes where they are at that time."""
        if self._scene is not None and not self._world.moving:
            return
        vertex, face = len(self._world.still.vertices), len(self._world.still.triangles)
        for mesh, motion in self._world.moving:
            placed = mesh.moved(*motion.place(seconds))
            self._vertices[vertex : vertex + len(mesh.vertices)] = placed.vertices
            self.normals[face : face + len(mesh.triangles)] = placed.normals
            vertex, face = vertex + len(mesh.vertices), face + len(mesh.triangles)
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(*map(o3d.core.Tensor.from_numpy, (self._vertices, self._triangles)))

    def cast(self, origin: Floats, direction: Floats) -> Hits:
        """Nearest hits of rays from `origin` (3,) or (N, 3) along `direction` (N, 3)."""
        assert self._scene is not None
        found = self._scene.cast_rays(_rays(origin, direction), nthreads=1)
        triangle = found["primitive_ids"].numpy().astype(np.int64)
        return Hits(found["t_hit"].numpy(), triangle, found["primitive_uvs"].numpy())

    def blocked(self, origin: Floats, direction: Floats, far: float) -> npt.NDArray[np.bool_]:
        """(N,) whether anything is met before `far` lengths of `direction`."""
        assert self._scene is not None
        met: npt.NDArray[np.bool_] = self._scene.test_occlusions(_rays(origin, direction), 0.0, far, nthreads=1).numpy()
        return met

    def depth(self, camera: Camera, width: int, height: int) -> Floats:
        """(height, width) z-depth in metres through pixel centres; inf where nothing is."""
        hits = self.cast(camera.origin, camera.directions(*pixels(width, height)))
        return hits.distance.reshape(height, width)


def _rays(origin: Floats, direction: Floats) -> o3d.core.Tensor:
    out = np.empty((len(direction), 6), np.float32)
    out[:, :3], out[:, 3:] = origin, direction
    return o3d.core.Tensor.from_numpy(out)


def _density(mesh: Mesh) -> Floats:
    corner = mesh.vertices[mesh.triangles]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.sqrt(np.einsum("ni,ni->n", cross, cross))
    a, b = mesh.uv[:, 1] - mesh.uv[:, 0], mesh.uv[:, 2] - mesh.uv[:, 0]
    tiles: Floats = np.sqrt(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / np.maximum(area, 1e-12))
    return tiles
