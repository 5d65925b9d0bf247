"""What a scene is made of: materials, lights, sky, still and moving meshes."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from starter.scenes.mesh import Mesh

Colour = npt.NDArray[np.float32]
Texture = npt.NDArray[np.uint8]
TEXTURE_SIZE = 256
LEVELS = 7
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass
class MaterialTable:
    """A table of materials and their textures, filled while a scene is built.

    A material's colour is `matrix @ texel + offset` with the texel in 0..1, so one texture serves in many colours.
    """

    textures: list[Texture] = field(default_factory=lambda: [np.full((TEXTURE_SIZE, TEXTURE_SIZE, 3), 255, np.uint8)])
    rows: list[tuple[int, Colour, Colour, tuple[float, ...]]] = field(default_factory=list)  # of `add`, by slot

    def add(
        self,
        texture: Texture | None,
        matrix: npt.ArrayLike,
        offset: npt.ArrayLike = (0, 0, 0),
        specular: float = 0.0,
        shininess: float = 30.0,
        emission: float = 0.0,
        mirror: float = 0.0,
    ) -> int:
        """The number of a new material.

        Args:
            texture: (256, 256, 3) uint8 RGB, wrapping round at its borders, or None for a plain colour.
            matrix: (3, 3), applied to the texel in 0..1.
            offset: (3,), added to it; linear colour.
            specular: strength of highlights (Blinn-Phong), of exponent `shininess`.
            emission: how much the colour glows by itself.
            mirror: share of light mirrored, 0..1.
        """
        slot = next((k for k, own in enumerate(self.textures) if own is texture), len(self.textures))
        if texture is None:
            slot = 0
        elif slot == len(self.textures):
            self.textures.append(texture)
        finish = (specular, shininess, emission, mirror)
        self.rows.append((slot, np.asarray(matrix, np.float32), np.asarray(offset, np.float32), finish))
        return len(self.rows) - 1

    def plain(self, colour: npt.ArrayLike, **finish: float) -> int:
        """A material of one linear colour (3,)."""
        return self.add(None, np.zeros((3, 3)), colour, **finish)

    def two_tone(self, texture: Texture, dark: npt.ArrayLike, light: npt.ArrayLike, **finish: float) -> int:
        """A texture's brightness as a blend between two linear colours (3,)."""
        low, high = np.asarray(dark, np.float32), np.asarray(light, np.float32)
        return self.add(texture, np.outer(high - low, LUMA), low, **finish)

    def tinted(self, texture: Texture, tint: npt.ArrayLike = (1, 1, 1), **finish: float) -> int:
        """A coloured texture, multiplied by a linear colour (3,)."""
        return self.add(texture, np.diag(np.asarray(tint, np.float32)), **finish)


class TextureAtlas:
    """Mipmaps of all textures of a scene: an array (N, size, size, 3) for each level."""

    def __init__(self, textures: list[Texture]) -> None:
        self.levels = [np.stack(textures)]
        for level in range(1, LEVELS):
            size = (TEXTURE_SIZE >> level, TEXTURE_SIZE >> level)
            self.levels.append(np.stack([cv2.resize(t, size, interpolation=cv2.INTER_AREA) for t in self.levels[-1]]))

    def sample(
        self, slots: npt.NDArray[np.int32], uv: npt.NDArray[np.float32], level: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """(N, 3) texels in 0..1 at (N, 2) coordinates of the textures `slots`, from mip level `level` (0: finest)."""
        out = np.ones((len(uv), 3), np.float32)
        nearest = np.clip(level + 0.5, 0, LEVELS - 1).astype(np.int32)
        nearest[slots == 0] = -1
        for index, tiles in enumerate(self.levels):
            chosen = np.flatnonzero(nearest == index)
            size, slot = tiles.shape[1], slots[chosen]
            place = (uv[chosen] - np.floor(uv[chosen])) * size - np.float32(0.5)
            corner = np.floor(place)
            share = (place - corner)[..., None]
            (x0, y0), (x1, y1) = (((corner + k).astype(np.int32) % size).T for k in (0, 1))
            upper = tiles[slot, y0, x0] * (1 - share[:, 0]) + tiles[slot, y0, x1] * share[:, 0]
            lower = tiles[slot, y1, x0] * (1 - share[:, 0]) + tiles[slot, y1, x1] * share[:, 0]
            out[chosen] = (upper * (1 - share[:, 1]) + lower * share[:, 1]) * np.float32(1 / 255)
        return out


@dataclass(frozen=True)
class Light:
    """A lamp at `position`, or the sun towards `position` if `distant`; `radius` softens its shadow.

    A lamp's `colour` is what arrives at `reach` metres; the sun's what arrives anywhere.
    """

    position: npt.ArrayLike
    colour: npt.ArrayLike
    radius: float = 0.1
    distant: bool = False
    reach: float = 2.0


@dataclass(frozen=True)
class Sky:
    """A gradient from horizon to zenith, with clouds, and fog in the horizon's colour."""

    zenith: npt.ArrayLike = (0.25, 0.45, 0.85)
    horizon: npt.ArrayLike = (0.75, 0.82, 0.9)
    clouds: Texture | None = None
    cover: float = 0.0
    fog: float = 0.0


@dataclass(frozen=True)
class Motion:
    """Steady motion, exact at any frame rate.

    Attributes:
        start: (3,) place at time 0, metres.
        heading: direction of motion, radians from x; the object's front (-y) looks along it.
        speed: metres per second.
        spin: turn about its own axis, radians per second.
        bounce: height of hops in metres, `rate` of them per second.
    """

    start: npt.ArrayLike
    heading: float
    speed: float
    spin: float = 0.0
    bounce: float = 0.0
    rate: float = 1.8

    def place(self, seconds: float) -> tuple[npt.NDArray[np.float64], float]:
        """(3,) offset in metres and turn about z in radians after that many seconds."""
        hop = self.bounce * abs(np.sin(np.pi * self.rate * seconds))
        away = np.array([np.cos(self.heading), np.sin(self.heading), 0.0]) * self.speed * seconds
        return np.asarray(self.start) + away + [0, 0, hop], self.heading + np.pi / 2 + self.spin * seconds


@dataclass(frozen=True)
class View:
    """Where cameras may stand and look.

    Attributes:
        eye: (2, 3) corners of the box of eye points, metres.
        target: (2, 3) corners of the box of points looked at.
        step: scales motion.
        roll: standard deviation of the camera's roll, radians.
        fov: least and greatest horizontal field of view, degrees.
        weight: how likely it is beside a scene's other views.
        pitch: mean and standard deviation in degrees, below 0 downwards, of a look in any direction, which takes the
            place of `target`; None for none.
        flat: whether a front close before the camera is wanted, not depth in the picture.
    """

    eye: npt.NDArray[np.float64]
    target: npt.NDArray[np.float64]
    step: float = 1.0
    roll: float = 0.06
    fov: tuple[float, float] = (45.0, 80.0)
    weight: float = 1.0
    pitch: tuple[float, float] | None = None
    flat: bool = False


@dataclass(frozen=True)
class World:
    """A scene: meshes, their materials, light, and where the camera may be."""

    still: Mesh
    moving: list[tuple[Mesh, Motion]]
    materials: MaterialTable
    lights: list[Light]
    ambient: tuple[Colour, Colour]
    sky: Sky
    views: list[View]
    occlusion: float = 0.6
