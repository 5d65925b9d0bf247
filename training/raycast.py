"""Rendering on the CPU: Open3D's RaycastingScene (Embree) finds hits and shadows, numpy shades them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import open3d as o3d

from training.mesh import Mesh
from training.world import TEXTURE_SIZE, Light, Sky, TextureAtlas, World

Floats = npt.NDArray[np.float32]
_OFFSETS = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: `pose` (4, 4) camera to world in OpenCV axes, `intrinsics` (3, 3), pixel centres whole."""

    pose: npt.NDArray[np.float64]
    intrinsics: npt.NDArray[np.float64]

    def directions(self, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]) -> Floats:
        """(N, 3) world directions through pixels (N,), of length 1 along the optical axis, so that hits give z-depth."""
        k = self.intrinsics
        local = np.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones(len(x))], -1)
        return (local @ self.pose[:3, :3].T).astype(np.float32)


@dataclass(frozen=True)
class Hits:
    """What N rays met: distance in units of the direction (inf: nothing), triangle and place on it."""

    distance: Floats
    triangle: npt.NDArray[np.int64]
    place: Floats


class _Geometry:
    """One mesh in an Embree scene."""

    def __init__(self, mesh: Mesh) -> None:
        self.scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self.scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices, np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.triangles, np.uint32)),
        )

    def cast(self, rays: Floats) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
        found = self.scene.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=1)
        return found["t_hit"].numpy(), found["primitive_ids"].numpy().astype(np.int64), found["primitive_uvs"].numpy()

    def blocked(self, rays: Floats, far: float) -> npt.NDArray[np.bool_]:
        return self.scene.test_occlusions(o3d.core.Tensor.from_numpy(rays), 0.0, far, nthreads=1).numpy()


def _density(mesh: Mesh) -> Floats:
    """(T,) texture tiles per metre."""
    corner = mesh.vertices[mesh.triangles]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=-1)
    a, b = mesh.uv[:, 1] - mesh.uv[:, 0], mesh.uv[:, 2] - mesh.uv[:, 0]
    return np.sqrt(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / np.maximum(area, 1e-12)).astype(np.float32)


class Renderer:
    """Renders a `World` from any camera at any time; the same calls give the same pictures.

    Args:
        world: the scene.
        rng: draws the sampling noise of shadows.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world = world
        self._rng = rng
        self._still = _Geometry(world.still)
        self._moving: _Geometry | None = None
        self._atlas = TextureAtlas(world.materials.textures)
        table = world.materials
        self._slots = np.array(table.slots, np.int32)
        self._matrices = np.stack(table.matrices)
        self._offsets = np.stack(table.offsets)
        self._finish = np.array(table.finish, np.float32)
        meshes = [world.still] + [item.mesh for item in world.moving]
        self._normals = np.concatenate([mesh.normals for mesh in meshes])
        self._uv = np.concatenate([mesh.uv for mesh in meshes])
        self._material = np.concatenate([mesh.material for mesh in meshes])
        self._tiles = np.concatenate([_density(mesh) for mesh in meshes])
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
            self._normals[first : first + len(item.mesh.triangles)] = item.mesh.normals @ turn.T
            start += len(item.mesh.vertices)
            first += len(item.mesh.triangles)
        empty = np.zeros((0, 3, 3), np.float32)
        joined = np.concatenate(vertices)
        faces = np.concatenate(triangles)
        self._moving = _Geometry(Mesh(joined, faces, empty, empty[..., :2], np.zeros(0, np.int32)))

    def _cast(self, origin: Floats, direction: Floats) -> Hits:
        rays = np.concatenate([np.broadcast_to(origin, direction.shape), direction], -1)
        distance, triangle, place = self._still.cast(rays)
        if self._moving is not None:
            near, other, spot = self._moving.cast(rays)
            nearer = near < distance
            distance = np.where(nearer, near, distance)
            triangle = np.where(nearer, other + len(self._world.still.triangles), triangle)
            place = np.where(nearer[:, None], spot, place)
        return Hits(distance, triangle, place)

    def _blocked(self, rays: Floats, far: float) -> npt.NDArray[np.bool_]:
        found = self._still.blocked(rays, far)
        return found | self._moving.blocked(rays, far) if self._moving is not None else found

    def depth(self, camera: Camera, width: int, height: int) -> Floats:
        """(height, width) z-depth in metres through pixel centres; inf where nothing is."""
        x, y = _pixels(width, height)
        hits = self._cast(camera.pose[:3, 3].astype(np.float32), camera.directions(x, y))
        return hits.distance.reshape(height, width)

    def render(self, camera: Camera, width: int, height: int) -> tuple[Floats, Floats]:
        """Linear colour (height, width, 3), antialiased where surfaces meet, and depth (height, width) as `depth`."""
        x, y = _pixels(width, height)
        origin = camera.pose[:3, 3].astype(np.float32)
        direction = camera.directions(x, y)
        hits = self._cast(origin, direction)
        spread = float(1 / camera.intrinsics[0, 0])
        colour = self._shade(origin, direction, hits, spread, (height, width))
        rows = np.flatnonzero(_edges(hits, self._material, height, width))
        total = colour[rows]
        for dx, dy in _OFFSETS:
            extra = camera.directions(x[rows] + dx, y[rows] + dy)
            total += self._shade(origin, extra, self._cast(origin, extra), spread)
        colour[rows] = total / (1 + len(_OFFSETS))
        return colour.reshape(height, width, 3), hits.distance.reshape(height, width)

    def _shade(
        self,
        origin: Floats,
        direction: Floats,
        hits: Hits,
        spread: float,
        picture: tuple[int, int] | None = None,
        bounce: bool = True,
    ) -> Floats:
        """(N, 3) linear radiance of rays from `origin` (3,) or (N, 3); `picture` is the raster that they fill, if any."""
        sky = self._world.sky
        out = _sky_colour(sky, direction)
        seen = np.flatnonzero(np.isfinite(hits.distance))
        if not len(seen):
            return out
        way = direction[seen]
        distance = hits.distance[seen]
        start = origin if origin.ndim == 1 else origin[seen]
        point = start + distance[:, None] * way
        length = np.linalg.norm(way, axis=-1)
        view = way / length[:, None]
        triangle = hits.triangle[seen]
        u, v = hits.place[seen, 0, None], hits.place[seen, 1, None]
        weights = (1 - u - v, u, v)
        corner = self._normals[triangle]
        normal = sum(w * corner[:, k] for k, w in enumerate(weights))
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
        facing = -(normal * view).sum(-1)
        normal = np.where(facing[:, None] < 0, -normal, normal)
        material = self._material[triangle]
        corner = self._uv[triangle]
        uv = sum(w * corner[:, k] for k, w in enumerate(weights))
        texels = self._tiles[triangle] * (distance * length * spread * TEXTURE_SIZE)
        level = np.log2(np.maximum(texels / np.sqrt(np.maximum(np.abs(facing), 0.02)), 1e-6))
        texel = self._atlas.sample(self._slots[material], uv, level)
        albedo = np.einsum("nij,nj->ni", self._matrices[material], texel) + self._offsets[material]
        np.clip(albedo, 0, 1, out=albedo)
        lit, gloss = self._light(point, normal, view, material, distance, seen, picture, bounce)
        radiance = albedo * (lit + self._finish[material, 2, None]) + gloss
        if bounce:
            self._reflect(radiance, point, normal, view, material, spread)
        if sky.fog:
            veil = np.exp(-sky.fog * distance * length)[:, None]
            radiance = radiance * veil + np.float32(sky.horizon) * (1 - veil)
        out[seen] = radiance
        return out

    def _reflect(
        self,
        radiance: Floats,
        point: Floats,
        normal: Floats,
        view: Floats,
        material: npt.NDArray[np.int32],
        spread: float,
    ) -> None:
        """Mix in what shiny surfaces mirror, one bounce deep."""
        share = self._finish[material, 3]
        shiny = np.flatnonzero(share > 0)
        if not len(shiny):
            return
        n, v = normal[shiny], view[shiny]
        cosine = np.clip(-(n * v).sum(-1, keepdims=True), 0, 1)
        mirrored = (v + 2 * cosine * n).astype(np.float32)
        begin = point[shiny] + 1e-3 * n
        seen = self._shade(begin, mirrored, self._cast(begin, mirrored), spread * 2, bounce=False)
        # Schlick's approximation of the Fresnel term.
        weight = share[shiny, None] * (0.2 + 0.8 * (1 - cosine) ** 5)
        radiance[shiny] = radiance[shiny] * (1 - weight) + seen * weight

    def _light(
        self,
        point: Floats,
        normal: Floats,
        view: Floats,
        material: npt.NDArray[np.int32],
        distance: Floats,
        seen: npt.NDArray[np.int64],
        picture: tuple[int, int] | None,
        shadows: bool,
    ) -> tuple[Floats, Floats]:
        """(N, 3) diffuse light and (N, 3) highlights, with soft shadows and ambient occlusion."""
        world = self._world
        raised = (point + normal * (1e-3 + 2e-4 * distance[:, None])).astype(np.float32)
        arrivals = [self._arrival(light, raised, normal) for light in world.lights]
        shares = np.ones((len(point), 1 + len(arrivals)), np.float32)
        if shadows:
            shares[:, 0] = self._openness(raised, normal)
            for k, (light, (way, cosine, _)) in enumerate(zip(world.lights, arrivals)):
                towards = np.flatnonzero(cosine > 0)
                shares[towards, k + 1] = self._unshadowed(light, raised[towards], way[towards])
        if picture is not None:
            shares = _denoise(shares, normal, distance, seen, picture)
        above, below = world.ambient
        up = normal[:, 2:] * 0.5 + 0.5
        lit = (above * up + below * (1 - up)) * shares[:, :1]
        gloss = np.zeros_like(lit)
        shine = self._finish[material]
        for k, (way, cosine, strength) in enumerate(arrivals):
            arriving = strength * shares[:, k + 1, None]
            lit += arriving * cosine[:, None]
            half = way - view
            half /= np.maximum(np.linalg.norm(half, axis=-1, keepdims=True), 1e-6)
            peak = np.clip((half * normal).sum(-1), 0, 1) ** shine[:, 1] * shine[:, 0] * (cosine > 0)
            gloss += arriving * peak[:, None]
        return lit, gloss

    def _arrival(self, light: Light, point: Floats, normal: Floats) -> tuple[Floats, Floats, Floats]:
        """Direction (N, 3) to the light, its cosine (N,) to the normal at least 0, and the light (N, 3) or (3,)."""
        target = np.asarray(light.position, np.float32)
        colour = np.asarray(light.colour, np.float32)
        if light.distant:
            way = np.broadcast_to(target / np.linalg.norm(target), point.shape)
            return way, np.clip((normal * way).sum(-1), 0, None), colour
        way = target - point
        far = np.linalg.norm(way, axis=-1, keepdims=True)
        way = way / np.maximum(far, 1e-6)
        falloff = light.reach**2 / (far**2 + 0.1 * light.reach**2)
        return way, np.clip((normal * way).sum(-1), 0, None), colour * falloff

    def _unshadowed(self, light: Light, point: Floats, way: Floats) -> Floats:
        """(N,) 1 where one random point of the light is in sight, else 0."""
        jitter = self._rng.normal(size=point.shape).astype(np.float32) * np.float32(light.radius * 0.6)
        if light.distant:
            return 1 - self._blocked(np.concatenate([point, way + jitter], -1), 1e4).astype(np.float32)
        direction = np.asarray(light.position, np.float32) + jitter - point
        return 1 - self._blocked(np.concatenate([point, direction], -1), 0.97).astype(np.float32)

    def _openness(self, point: Floats, normal: Floats) -> Floats:
        """(N,) ambient light left: one short random ray about the normal sees no near surface."""
        world = self._world
        if world.occlusion <= 0:
            return np.ones(len(point), np.float32)
        ball = self._rng.normal(size=point.shape).astype(np.float32)
        ball /= np.maximum(np.linalg.norm(ball, axis=-1, keepdims=True), 1e-6)
        far = world.occlusion * self._rng.random((len(point), 1), np.float32)
        blocked = self._blocked(np.concatenate([point, (normal * 1.02 + ball) * far], -1), 1.0)
        return 1 - 0.85 * blocked.astype(np.float32)


def _pixels(width: int, height: int) -> tuple[Floats, Floats]:
    y, x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    return x.ravel(), y.ravel()


def _sky_colour(sky: Sky, direction: Floats) -> Floats:
    up = direction[:, 2] / np.linalg.norm(direction, axis=-1)
    blend = np.clip(up, 0, 1)[:, None] ** 0.5
    colour = np.float32(sky.horizon) * (1 - blend) + np.float32(sky.zenith) * blend
    if sky.clouds is not None and (up > 0.02).any():
        plane = direction[:, :2] / np.maximum(direction[:, 2:], 0.02) * 40
        look = [np.mod(plane[:, k], 255).astype(np.float32).reshape(1, -1) for k in range(2)]
        rows = -(-look[0].size // 256)
        maps = [np.pad(v[0], (0, rows * 256 - v.size)).reshape(rows, 256) for v in look]
        cover = cv2.remap(sky.clouds[..., 0], maps[0], maps[1], cv2.INTER_LINEAR).ravel()[: len(up)] / np.float32(255)
        amount = (np.clip((cover - 1 + sky.cover) * 3, 0, 1) * np.clip(up * 6, 0, 1))[:, None]
        colour = colour * (1 - amount) + np.float32(max(sky.horizon)) * amount
    return colour.astype(np.float32)


def _edges(hits: Hits, materials: npt.NDArray[np.int32], height: int, width: int) -> npt.NDArray[np.bool_]:
    """(H * W,) pixels at the border of another material or at a jump of depth."""
    finite = np.isfinite(hits.distance)
    near = np.where(finite, 1 / np.maximum(hits.distance, 1e-6), 0).reshape(height, width)
    kind = np.where(finite, materials[np.where(finite, hits.triangle, 0)], -1).reshape(height, width)
    out = np.zeros((height, width), bool)
    for one, two in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differs = (kind[one] != kind[two]) | (np.abs(near[one] - near[two]) > 0.03 * np.maximum(near[one], near[two]))
        out[one] |= differs
        out[two] |= differs
    return out.ravel()


def _denoise(
    shares: Floats, normal: Floats, distance: Floats, seen: npt.NDArray[np.int64], picture: tuple[int, int]
) -> Floats:
    """Guided filter (He et al. 2010) of the noisy shadows, so that they blur along surfaces and not across."""
    height, width = picture
    guide = np.zeros(height * width, np.float32)
    guide[seen] = normal @ np.float32([0.9, -0.55, 0.37]) + 1.5 * np.log(distance)
    guide = guide.reshape(height, width)
    noisy = np.ones((height * width, shares.shape[1]), np.float32)
    noisy[seen] = shares
    noisy = noisy.reshape(height, width, -1)

    def mean(values: Floats) -> Floats:
        blurred = cv2.boxFilter(values, -1, (7, 7))
        return blurred[..., None] if blurred.ndim == 2 else blurred

    average, variance = mean(guide), mean(guide * guide)
    variance = variance - average**2
    base = mean(noisy)
    slope = (mean(noisy * guide[..., None]) - base * average) / (variance + 2e-3)
    result = mean(slope) * guide[..., None] + mean(base - slope * average)
    return np.clip(result.reshape(height * width, -1)[seen], 0, 1)
