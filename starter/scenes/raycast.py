"""Which surface a ray meets, by Open3D's RaycastingScene (Embree), among still and moving meshes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import open3d as o3d

from starter.scenes.mesh import Mesh
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


class Geometry:
    """One mesh in an Embree scene of its own, on one thread."""

    def __init__(self, vertices: Floats, triangles: npt.NDArray[np.int32]) -> None:
        self.scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self.scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(triangles, np.uint32)),
        )

    def cast(self, rays: Floats) -> Hits:
        """The nearest hits of (N, 6) rays."""
        found = self.scene.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=1)
        triangle = found["primitive_ids"].numpy().astype(np.int64)
        return Hits(found["t_hit"].numpy(), triangle, found["primitive_uvs"].numpy())

    def blocked(self, rays: Floats, far: float) -> npt.NDArray[np.bool_]:
        """(N,) whether anything is met before `far` lengths of the direction."""
        blocked: npt.NDArray[np.bool_] = self.scene.test_occlusions(
            o3d.core.Tensor.from_numpy(rays), 0.0, far, nthreads=1
        ).numpy()
        return blocked


class Tracer:
    """All surfaces of a world at a time; triangles count from the still mesh on through the moving ones.

    Attributes:
        normals, uv, material: of all triangles, as in `Mesh`.
        tiles: (T,) float32, texture tiles per metre.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._still = Geometry(world.still.vertices, world.still.triangles)
        self._moving: Geometry | None = None
        meshes = [world.still] + [item.mesh for item in world.moving]
        self.normals = np.concatenate([mesh.normals for mesh in meshes])
        self.uv = np.concatenate([mesh.uv for mesh in meshes])
        self.material = np.concatenate([mesh.material for mesh in meshes])
        self.tiles = np.concatenate([_density(mesh) for mesh in meshes])
        self.set_time(0.0)

    def set_time(self, seconds: float) -> None:
        """Put the moving meshes where they are at that time."""
        if not self._world.moving:
            return
        vertices, triangles, start, first = [], [], 0, len(self._world.still.triangles)
        for item in self._world.moving:
            pose = item.pose(seconds)
            turn = pose[:3, :3].astype(np.float32)
            vertices.append(item.mesh.vertices @ turn.T + pose[:3, 3].astype(np.float32))
            triangles.append(item.mesh.triangles + np.int32(start))
            self.normals[first : first + len(item.mesh.triangles)] = item.mesh.normals @ turn.T
            start += len(item.mesh.vertices)
            first += len(item.mesh.triangles)
        self._moving = Geometry(np.concatenate(vertices), np.concatenate(triangles))

    def cast(self, origin: Floats, direction: Floats) -> Hits:
        """Nearest hits of rays from `origin` (3,) or (N, 3) along `direction` (N, 3)."""
        rays = _rays(origin, direction)
        hits = self._still.cast(rays)
        if self._moving is None:
            return hits
        other = self._moving.cast(rays)
        nearer = other.distance < hits.distance
        return Hits(
            np.where(nearer, other.distance, hits.distance),
            np.where(nearer, other.triangle + len(self._world.still.triangles), hits.triangle),
            np.where(nearer[:, None], other.place, hits.place),
        )

    def blocked(self, origin: Floats, direction: Floats, far: float) -> npt.NDArray[np.bool_]:
        """(N,) whether anything is met before `far` lengths of `direction`."""
        rays = _rays(origin, direction)
        found = self._still.blocked(rays, far)
        return found if self._moving is None else found | self._moving.blocked(rays, far)

    def depth(self, camera: Camera, width: int, height: int) -> Floats:
        """(height, width) z-depth in metres through pixel centres; inf where nothing is."""
        hits = self.cast(camera.origin, camera.directions(*pixels(width, height)))
        return hits.distance.reshape(height, width)


def _rays(origin: Floats, direction: Floats) -> Floats:
    out = np.empty((len(direction), 6), np.float32)
    out[:, :3], out[:, 3:] = origin, direction
    return out


def _density(mesh: Mesh) -> Floats:
    corner = mesh.vertices[mesh.triangles]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.sqrt(np.einsum("ni,ni->n", cross, cross))
    a, b = mesh.uv[:, 1] - mesh.uv[:, 0], mesh.uv[:, 2] - mesh.uv[:, 0]
    tiles: Floats = np.sqrt(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / np.maximum(area, 1e-12))
    return tiles
