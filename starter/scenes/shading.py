"""Colour of what rays meet: textures, lamps and sun with soft shadows, ambient occlusion, mirrors, fog, sky."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from starter.scenes.raycast import Camera, Floats, Hits, Tracer, pixels
from starter.scenes.world import TEXTURE_SIZE, Light, Sky, TextureAtlas, World

# Sub-pixel places beside the centre: with it, three rows and three columns.
_OFFSETS = ((-0.33, -0.17), (0.17, 0.33))
# Shadow rays repeat in tiles of so many pixels a side; the filter averages over as many.
_TILE = 8
# Additive recurrence of low discrepancy in three dimensions (Roberts 2018).
_STEPS = np.array([0.8191725133961645, 0.6710436067037893, 0.5497004779019703])


def dot(a: Floats, b: Floats) -> Floats:
    """(N,) products of (N, 3) vectors."""
    product: Floats = np.einsum("ni,ni->n", a, b)
    return product


def normalised(a: Floats) -> Floats:
    """(N, 3) vectors of length 1."""
    unit: Floats = np.divide(a, np.sqrt(np.maximum(dot(a, a), np.float32(1e-20)))[:, None], dtype=np.float32)
    return unit


@dataclass(frozen=True)
class Surface:
    """Where N rays hit: `way` is the unit direction, `distance` in metres along it, `normal` faces the viewer."""

    point: Floats
    way: Floats
    distance: Floats
    normal: Floats
    facing: Floats
    triangle: npt.NDArray[np.int64]
    material: npt.NDArray[np.int32]
    place: Floats


class Renderer:
    """Renders a `World` from any camera at any time; the same calls in the same order give the same pictures.

    Args:
        world: the scene.
        rng: draws the sampling noise of shadows.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.tracer = Tracer(world)
        self._world = world
        self._rng = rng
        self._atlas = TextureAtlas(world.materials.textures)
        slots, matrices, offsets, finish = zip(*world.materials.rows)
        self._slots, self._finish = np.array(slots, np.int32), np.array(finish, np.float32)
        self._matrices, self._offsets = np.stack(matrices), np.stack(offsets)

    def render(self, camera: Camera, width: int, height: int) -> tuple[Floats, Floats]:
        """Linear colour (height, width, 3), antialiased where surfaces meet, and z-depth (height, width) of centres."""
        x, y = pixels(width, height)
        origin, direction = camera.origin, camera.directions(x, y)
        hits = self.tracer.cast(origin, direction)
        spread = float(1 / camera.intrinsics[0, 0])
        shares = np.ones((len(x), 1 + len(self._world.lights)), np.float32)
        seen = np.flatnonzero(np.isfinite(hits.distance))
        surface = self._surface(origin, direction, hits, seen)
        shares[seen] = self._shares(surface, seen, (height, width))
        colour = self._shade(surface, direction, seen, spread, shares)
        rows = np.flatnonzero(_edges(hits, self.tracer.material, height, width))
        if len(rows):
            spots = np.tile(rows, len(_OFFSETS))
            shift = np.repeat(np.array(_OFFSETS, np.float32), len(rows), 0)
            extra = camera.directions(x[spots] + shift[:, 0], y[spots] + shift[:, 1])
            # Shadows of the pixel's centre serve all its samples: silhouettes matter, shadows there do not.
            found = self.tracer.cast(origin, extra)
            seen = np.flatnonzero(np.isfinite(found.distance))
            more = self._shade(self._surface(origin, extra, found, seen), extra, seen, spread, shares[spots])
            total = more.reshape(len(_OFFSETS), len(rows), 3).sum(0)
            colour[rows] = (colour[rows] + total) / (1 + len(_OFFSETS))
        return colour.reshape(height, width, 3), hits.distance.reshape(height, width)

    def _surface(self, origin: Floats, direction: Floats, hits: Hits, seen: npt.NDArray[np.int64]) -> Surface:
        """Where the rays `seen`, from `origin` (3,) or (N, 3), hit."""
        way = direction[seen]
        point = (origin if origin.ndim == 1 else origin[seen]) + hits.distance[seen, None] * way
        length: Floats = np.sqrt(dot(way, way))
        way = normalised(way)
        triangle, place = hits.triangle[seen], hits.place[seen]
        normal = normalised(_blend(self.tracer.normals[triangle], place))
        facing = -dot(normal, way)
        normal *= np.where(facing < 0, np.float32(-1), np.float32(1))[:, None]
        material = self.tracer.material[triangle]
        return Surface(
            point, way, hits.distance[seen] * length, normal, np.abs(facing), triangle, material, place
        )  # fmt: skip

    def _shade(
        self,
        surface: Surface,
        direction: Floats,
        seen: npt.NDArray[np.int64],
        spread: float,
        shares: Floats | None = None,
    ) -> Floats:
        """(N, 3) linear radiance along `direction` (N, 3); the rays `seen` met `surface`, the others the sky.

        `shares` (N, 1 + lights) is what shadows leave of the ambient light and of each lamp; None is for rays that
        mirrors sent: no shadows, and no further mirrors.
        """
        sky = self._world.sky
        out = np.empty_like(direction)
        missed = np.ones(len(direction), bool)
        missed[seen] = False
        out[missed] = _sky_colour(sky, direction[missed])
        if not len(seen):
            return out
        uv = _blend(self.tracer.uv[surface.triangle], surface.place)
        texels = self.tracer.tiles[surface.triangle] * (surface.distance * (spread * TEXTURE_SIZE))
        level = np.log2(np.maximum(texels / np.sqrt(np.maximum(surface.facing, 0.02)), 1e-6))
        texel = self._atlas.sample(self._slots[surface.material], uv, level)
        albedo = np.einsum("nij,nj->ni", self._matrices[surface.material], texel) + self._offsets[surface.material]
        np.clip(albedo, 0, 1, out=albedo)
        lit, gloss = self._light(surface, None if shares is None else shares[seen])
        radiance = albedo * (lit + self._finish[surface.material, 2, None]) + gloss
        if shares is not None:
            self._reflect(radiance, surface, spread)
        if sky.fog:
            veil = np.exp(-sky.fog * surface.distance)[:, None]
            radiance = radiance * veil + np.array(sky.horizon, np.float32) * (1 - veil)
        out[seen] = radiance
        return out

    def _reflect(self, radiance: Floats, surface: Surface, spread: float) -> None:
        """Mix in what shiny surfaces mirror, one bounce deep."""
        share = self._finish[surface.material, 3]
        shiny = np.flatnonzero(share > 0)
        if not len(shiny):
            return
        normal, way, cosine = surface.normal[shiny], surface.way[shiny], surface.facing[shiny, None]
        mirrored = way + 2 * cosine * normal
        begin = surface.point[shiny] + 1e-3 * normal
        hits = self.tracer.cast(begin, mirrored)
        seen = np.flatnonzero(np.isfinite(hits.distance))
        image = self._shade(self._surface(begin, mirrored, hits, seen), mirrored, seen, spread * 2)
        # Schlick's approximation (1994) of the Fresnel term.
        weight = share[shiny, None] * (0.2 + 0.8 * (1 - cosine) ** 5)
        radiance[shiny] = radiance[shiny] * (1 - weight) + image * weight

    def _light(self, surface: Surface, shares: Floats | None) -> tuple[Floats, Floats]:
        """(N, 3) diffuse light and (N, 3) highlights."""
        above, below = self._world.ambient
        up = surface.normal[:, 2:] * 0.5 + 0.5
        lit = above * up + below * (1 - up)
        if shares is not None:
            lit *= shares[:, :1]
        gloss = np.zeros_like(lit)
        shine = self._finish[surface.material]
        glossy = np.flatnonzero(shine[:, 0] > 0)
        for k, light in enumerate(self._world.lights):
            way, strength = _arrival(light, surface.point)
            cosine = np.maximum(dot(surface.normal, way), 0)
            if shares is not None:
                strength = strength * shares[:, k + 1, None]
            lit += strength * cosine[:, None]
            if len(glossy):
                half = normalised(way[glossy] - surface.way[glossy])
                peak = np.clip(dot(half, surface.normal[glossy]), 0, 1) ** shine[glossy, 1] * shine[glossy, 0]
                peak *= cosine[glossy] > 0
                gloss[glossy] += (strength if strength.ndim == 1 else strength[glossy]) * peak[:, None]
        return lit, gloss

    def _shares(self, surface: Surface, seen: npt.NDArray[np.int64], picture: tuple[int, int]) -> Floats:
        """(N, 1 + lights) light that is not shadowed, from one ray each at every other pixel."""
        lights = self._world.lights
        known = np.flatnonzero((seen % picture[1] + seen // picture[1]) % 2 == 0)
        if not len(known):
            return np.ones((len(seen), 1 + len(lights)), np.float32)
        normal = surface.normal[known]
        point = surface.point[known] + normal * (1e-3 + 2e-4 * surface.distance[known, None])
        found = np.ones((len(known), 1 + len(lights)), np.float32)
        asked = np.ones_like(found)
        far = self._world.occlusion
        if far > 0:
            ball, reach = _spread(self._rng, seen[known], picture[1])
            found[:, 0] = 1 - 0.85 * self.tracer.blocked(point, (normal * 1.02 + ball) * (far * reach), 1.0)
        for k, light in enumerate(lights):
            way, _ = _arrival(light, point)
            lit = np.flatnonzero(dot(normal, way) > 0)
            ball = _spread(self._rng, seen[known[lit]], picture[1])[0] * np.float32(light.radius)
            if light.distant:
                dark = self.tracer.blocked(point[lit], way[lit] + ball, 1e4)
            else:
                dark = self.tracer.blocked(point[lit], np.array(light.position, np.float32) + ball - point[lit], 0.97)
            found[lit, k + 1] = 1 - dark
            asked[:, k + 1] = 0
            asked[lit, k + 1] = 1
        return _denoise(found, asked, known, surface, seen, picture)


def _spread(rng: np.random.Generator, spots: npt.NDArray[np.int64], width: int) -> tuple[Floats, Floats]:
    """Directions (N, 3) of length 1 and numbers (N, 1) in 0..1 for every other pixel of a picture.

    Any 8 x 8 neighbours have them evenly spread together (interleaved sampling, Keller and Heidrich 2001), so that the
    average over them hardly differs from place to place on a plain surface.
    """
    points = (rng.permutation(_TILE**2 // 2)[:, None] * _STEPS + rng.random(3)) % 1
    height, angle = 1 - 2 * points[:, 0], 2 * np.pi * points[:, 1]
    round_ = np.sqrt(1 - height**2)
    ball = np.stack([round_ * np.cos(angle), round_ * np.sin(angle), height], -1).astype(np.float32)
    place = (spots // width % _TILE * _TILE + spots % width % _TILE) // 2
    return ball[place], points[place, 2:].astype(np.float32)


def _blend(corners: Floats, place: Floats) -> Floats:
    """(N, C) values between three corners (N, 3, C) at barycentric places (N, 2)."""
    u, v = place[:, :1], place[:, 1:]
    first = corners[:, 0]
    blended: Floats = first + u * (corners[:, 1] - first) + v * (corners[:, 2] - first)
    return blended


def _arrival(light: Light, point: Floats) -> tuple[Floats, Floats]:
    """Unit direction (N, 3) to a light, and its strength (N, 3) or (3,)."""
    target = np.array(light.position, np.float32)
    colour = np.array(light.colour, np.float32)
    if light.distant:
        return np.broadcast_to(normalised(target[None]), point.shape), colour
    way = target - point
    square = dot(way, way)
    near = np.float32(light.reach**2)
    falloff = near / (square + np.float32(0.1) * near)
    return normalised(way), colour * falloff[:, None]


def _sky_colour(sky: Sky, direction: Floats) -> Floats:
    """(N, 3) linear colour of the sky."""
    up = normalised(direction)[:, 2]
    blend = np.sqrt(np.clip(up, 0, 1))[:, None]
    colour = np.array(sky.horizon, np.float32) * (1 - blend) + np.array(sky.zenith, np.float32) * blend
    if sky.clouds is None or not (up > 0.02).any():
        return colour
    plane = np.mod(direction[:, :2] / np.maximum(direction[:, 2:], 0.02) * 40, 255).astype(np.float32)
    rows = -(-len(up) // 256)
    maps = [np.pad(plane[:, k], (0, rows * 256 - len(up))).reshape(rows, 256) for k in range(2)]
    cover = cv2.remap(sky.clouds[..., 0], maps[0], maps[1], cv2.INTER_LINEAR).ravel()[: len(up)] / np.float32(255)
    amount = (np.clip((cover - 1 + sky.cover) * 3, 0, 1) * np.clip(up * 6, 0, 1))[:, None]
    clouded: Floats = colour * (1 - amount) + np.float32(np.max(sky.horizon)) * amount
    return clouded


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
    found: Floats,
    asked: Floats,
    known: npt.NDArray[np.int64],
    surface: Surface,
    seen: npt.NDArray[np.int64],
    picture: tuple[int, int],
) -> Floats:
    """Guided filter (He et al. 2010) over the pixels that have samples: shadows blur along surfaces, not across.

    What faces away from a lamp was not asked about it and has no part in that lamp's shadows.
    """
    size, channels = picture[0] * picture[1], found.shape[1]
    guide = np.zeros(size, np.float32)
    guide[seen] = surface.normal @ np.array([0.9, -0.55, 0.37], np.float32) + 1.5 * np.log(surface.distance)
    spots = seen[known]
    g = guide[spots, None]
    packed = np.zeros((size, 5 * channels), np.float32)
    packed[spots] = np.concatenate([asked, asked * g, asked * g * g, asked * found, asked * found * g], 1)
    # An even window has no middle; the second pass looks the other way.
    sums = _box_sums(packed, picture, _TILE // 2 - 1).reshape(size, 5, channels)
    some = (sums[:, 0] > 0.5).astype(np.float32)
    _, average, square, base, product = (sums / np.maximum(sums[:, :1], 1)).swapaxes(0, 1)
    slope = (product - base * average) / (square - average**2 + 2e-3)
    fits = np.concatenate([slope * some, (base - slope * average) * some, some], 1)
    fits = _box_sums(fits, picture, _TILE // 2)[seen].reshape(-1, 3, channels)
    smooth = (fits[:, 0] * guide[seen, None] + fits[:, 1]) / np.maximum(fits[:, 2], 1)
    return np.clip(smooth, 0, 1)


def _box_sums(maps: Floats, picture: tuple[int, int], anchor: int) -> Floats:
    """Sums of maps (H * W, C) over windows of 8 x 8 pixels."""
    sums = cv2.boxFilter(maps.reshape(*picture, -1), -1, (_TILE, _TILE), anchor=(anchor, anchor), normalize=False)
    return np.asarray(sums, np.float32).reshape(len(maps), -1)
