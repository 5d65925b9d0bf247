"""The builder of a scene: draws colours and finishes, and collects meshes."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from starter.scenes import textures
from starter.scenes.mesh import Mesh, floats, merge
from starter.scenes.shapes import quad
from starter.scenes.world import Colour, Light, MaterialTable, Motion, Sky, Texture, View, World

if TYPE_CHECKING:
    from starter.scenes.furniture import FurnitureLibrary


T = TypeVar("T")
Range = tuple[float, float]


class Material(NamedTuple):
    """A row of the scene's material table, and how wide the material's texture tile is, in metres."""

    number: int
    tile: float = 1.0


class SceneBuilder:
    """Draws all that a layout needs from one random generator.

    `neutral` says whether the scene keeps to the colours of most homes and offices; meshes are in `still` and `moving`.
    """

    def __init__(self, rng: np.random.Generator, library: FurnitureLibrary | None = None) -> None:
        self.rng = rng
        self.library = library
        self.neutral = False
        self.materials = MaterialTable()
        self.still: list[Mesh] = []
        self.moving: list[tuple[Mesh, Motion]] = []
        self._first = int(rng.integers(textures.POOL))
        self._common_wood = self.brown()

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def turn(self) -> float:
        return self.uniform(0, 6.3)

    def pick(self, *options: str) -> str:
        return self.one(options)

    def one(self, options: Sequence[T]) -> T:
        """One of several things."""
        return options[int(self.rng.integers(len(options)))]

    def colour(self, value: Range = (0.1, 0.9), saturation: Range = (0, 1), hue: Range = (0, 1)) -> Colour:
        """A random linear colour; brightness, saturation and hue in those ranges (as displayed)."""
        rgb = colorsys.hsv_to_rgb(self.uniform(*hue), self.uniform(*saturation) ** 1.5, self.uniform(*value))
        return np.array(rgb, np.float32) ** np.float32(2.2)

    def grey(self, low: float = 0.05, high: float = 0.95) -> Colour:
        """A nearly colourless linear colour, a little warm or cool."""
        shown = np.clip(self.uniform(low, high) + self.rng.normal(0, 0.02, 3), 0.01, 1)
        return shown.astype(np.float32) ** np.float32(2.2)

    def brown(self) -> Colour:
        """A colour of wood, linear."""
        return self.colour((0.2, 0.9), (0.35, 0.82), (0.05, 0.12))

    def green(self) -> Colour:
        """A colour of leaves, linear."""
        return self.colour((0.15, 0.7), (0.45, 0.93), (0.17, 0.4))

    def toned(
        self,
        *families: str,
        base: Colour | None = None,
        depth: float = 0.6,
        even: bool = False,
        finish: dict[str, float] | None = None,
    ) -> int:
        """A texture in two tones, if `even` always of one colour; `finish` as for `MaterialTable.add`."""
        light = self.colour() if base is None else base
        dark = light * np.float32(1 - depth * self.uniform(0.3, 1))
        if not even and self.chance(0.15):
            dark = self.colour()
        return self.materials.two_tone(self.texture(*families), dark, light, **(finish or {}))

    def material(self, name: str) -> Material:
        """A new material of a kind, such as wall, floor, wood, front, metal, fabric, plastic, stone, leaf, any."""
        return getattr(self, f"_{name}")()

    def plain(self, colour: npt.ArrayLike, **finish: float) -> Material:
        """A material of one linear colour (3,); `finish` as for `MaterialTable.add`."""
        return Material(self.materials.plain(colour, **finish))

    def textured(self, tile: Range, *families: str, **how: Any) -> Material:
        """As `toned`, its tile between two widths in metres."""
        return Material(self.toned(*families, **how), self.uniform(*tile))

    def cover(self, mesh: Mesh, material: Material | str) -> Mesh:
        """The mesh in a material, its texture at a random place."""
        chosen = self.material(material) if isinstance(material, str) else material
        shift = (self.uniform(0, 1), self.uniform(0, 1))
        return mesh.painted(chosen.number, chosen.tile, shift, self.chance(0.3))

    def texture(self, *families: str) -> Texture:
        """A random texture of one of the families."""
        return textures.draw(self.rng, families, self._first)

    def poster(self, *families: str, emission: float = 0.0, gain: float = 0.8) -> int:
        """A picture to show once on a fitted quad."""
        picture = self.texture(*(families or ("picture", "picture", "page", "clouds")))
        return self.materials.tinted(picture, np.full(3, gain), emission=emission, specular=0.05)

    def _wall(self) -> Material:
        if self.neutral:
            base = self.grey(0.6, 0.95) * floats([1, self.uniform(0.94, 1), self.uniform(0.85, 1)])
            if self.chance(0.7):
                return self.plain(base)
            return self.textured((0.5, 3), "plaster", base=base, even=True, depth=0.15)
        base = self.grey(0.55, 0.95) if self.chance(0.6) else self.colour((0.4, 0.95), (0, 0.6))
        style = self.rng.random()
        if style < 0.45:
            return self.plain(base)
        if style < 0.75:
            return self.textured((0.5, 3), "plaster", "clouds", base=base, depth=0.25)
        if style < 0.85:
            return self.textured((0.3, 1.2), "tiles", "tiles", base=base, finish={"specular": 0.3, "shininess": 80})
        return self.textured((0.5, 2), "bricks", "stripes", "wood", "checker", "planks", base=base)

    def _floor(self) -> Material:
        mirror = self.uniform(0.1, 0.6) if self.chance(0.3) else 0.0
        shiny = {"specular": self.uniform(0, 0.3), "shininess": self.uniform(20, 120), "mirror": mirror}
        if self.neutral and self.chance(0.5):
            base = self.grey(0.2, 0.95)
            if self.chance(0.4):
                return self.textured((0.3, 1.5), "carpet", "fabric", "speckle", base=base, even=True, depth=0.4)
            return self.textured((0.6, 2), "tiles", "marble", base=base, even=True, depth=0.3, finish=shiny)
        style = 0.0 if self.neutral else self.rng.random()
        if style < 0.35:
            return self.textured((0.5, 1.6), "planks", "wood", base=self.brown(), finish=shiny)
        if style < 0.6:
            return self.textured((0.3, 1.5), "carpet", "fabric", "speckle")
        if style < 0.8:
            return self.textured((0.6, 2), "tiles", "marble", "checker", finish=shiny)
        if style < 0.9:
            return self.plain(self.grey(0.2, 0.8), **shiny)
        return self.textured((1, 3), "stains", "clouds", "plaster", base=self.grey(0.2, 0.7), finish=shiny)

    def _wood(self) -> Material:
        base = self.brown() if self.chance(0.75) else self.grey(0.15, 0.95)
        if self.neutral and self.chance(0.7):
            base = self._common_wood * np.float32(self.uniform(0.85, 1.15))
        shine = self.uniform(0, 0.3)
        if self.chance(0.25):
            return self.plain(base, specular=shine)
        return self.textured((0.4, 1.5), "wood", "wood", "planks", base=base, depth=0.5, finish={"specular": shine})

    def _front(self) -> Material:
        """Of cupboards and appliances: wood, white or grey, often dark and glossy."""
        style = self.rng.random()
        if style < 0.35:
            return self.material("wood")
        base = self.grey(0.03, 0.25) if style < 0.65 else self.grey(0.45, 0.95) if style < 0.95 else self.colour()
        mirror = self.uniform(0.1, 0.5) if self.chance(0.5) else 0.0
        return self.plain(base, specular=self.uniform(0.1, 0.6), shininess=self.uniform(30, 150), mirror=mirror)

    def _metal(self) -> Material:
        base = self.grey(0.15, 0.85) if self.chance(0.8) else self.colour()
        mirror = self.uniform(0.2, 0.8) if self.chance(0.4) else 0.0
        return self.plain(base, specular=self.uniform(0.3, 1), shininess=self.uniform(20, 200), mirror=mirror)

    def _fabric(self) -> Material:
        vivid = self.chance(0.15 if self.neutral else 0.6)
        base = self.colour((0.15, 0.9), (0, 0.8)) if vivid else self.grey(0.1, 0.9)
        if self.chance(0.35):
            return self.plain(base)
        return self.textured((0.15, 0.8), "fabric", "fabric", "carpet", "stripes", "checker", "plaster", base=base)

    def _plastic(self) -> Material:
        base = self.colour() if self.chance(0.25 if self.neutral else 0.55) else self.grey()
        return self.plain(base, specular=self.uniform(0, 0.6), shininess=self.uniform(10, 150))

    def _stone(self) -> Material:
        base = self.grey(0.2, 0.85) if self.chance(0.7) else self.brown()
        return self.textured((0.4, 3), "marble", "speckle", "stains", "cells", "clouds", "bricks", base=base)

    def _leaf(self) -> Material:
        base = self.green() if self.chance(0.85) else self.colour((0.3, 0.8), (0.3, 0.9))
        return self.textured((0.2, 1.0), "cells", "clouds", "speckle", "stains", base=base, depth=0.8)

    def _ground(self) -> Material:
        base = self.green() if self.chance(0.5) else self.brown() if self.chance(0.6) else self.grey(0.3, 0.9)
        return self.textured((1, 8), "speckle", "carpet", "cells", "stains", "clouds", base=base, depth=0.8)

    def _asphalt(self) -> Material:
        wet = {"mirror": self.uniform(0.2, 0.9), "specular": 0.3} if self.chance(0.25) else {}
        return self.textured((1, 6), "speckle", "stains", "clouds", base=self.grey(0.2, 0.6), depth=0.5, finish=wet)

    def _cardboard(self) -> Material:
        base = floats([0.42, 0.28, 0.16]) * np.float32(self.uniform(0.5, 1.5))
        return self.textured((0.1, 0.5), "plaster", "speckle", "stripes", base=base, depth=0.15)

    def _paper(self) -> Material:
        return Material(self.toned("stripes", base=self.grey(0.8, 0.98), depth=0.2), 0.05)

    def _print(self) -> Material:
        return Material(self.poster("picture", "picture", "page"))

    def _screen(self) -> Material:
        if self.chance(0.5):
            return Material(self.poster("picture", "page", emission=self.uniform(0.4, 1.2)))
        return self.plain(np.full(3, 0.01), specular=0.5, mirror=0.5)

    def _glow(self) -> Material:
        return self.plain(self.grey(0.6, 0.95), emission=self.uniform(0, 2))

    def _skin(self) -> Material:
        return self.plain(self.brown() * floats([1.1, 0.8, 0.65]))

    def _hair(self) -> Material:
        return self.plain(self.brown() * np.float32(self.uniform(0.05, 1)))

    def _coat(self) -> Material:
        return self.plain(self.colour() if self.chance(0.5) else self.grey(), specular=0.8, shininess=60, mirror=0.3)

    def _glass(self) -> Material:
        return self.plain(np.full(3, 0.02), specular=0.9, shininess=100, mirror=0.5)

    def _black(self) -> Material:
        return self.plain(self.grey(0.03, 0.25), specular=0.2)

    def _any(self) -> Material:
        if self.chance(0.3):
            return self.material(self.pick("wood", "metal", "fabric", "plastic", "stone"))
        if self.chance(0.3):
            return self.plain(self.colour() if self.chance(0.6) else self.grey())
        if self.chance(0.3):
            return Material(self.poster("picture", "page"), self.uniform(0.1, 1))
        return self.textured((0.1, 2), *textures.FAMILIES)

    def real_prop(self, role: str) -> Mesh | None:
        """A real model for a role, standing at the origin, front to -y; None without a library."""
        return None if self.library is None else self.library.draw(role, self)

    def add(self, mesh: Mesh, at: npt.ArrayLike = (0, 0, 0), yaw: float = 0.0) -> None:
        """Put a mesh into the scene."""
        self.still.append(mesh.moved(at, yaw))

    def ground(self, material: str, half: float, z: float = 0.0) -> None:
        """Put a level square into the scene, `half` metres from its middle to each side, at the height `z`."""
        square = quad((-half, -half, z), (2 * half, 0, 0), (0, 2 * half, 0))
        self.add(self.cover(square, material))

    def move(self, mesh: Mesh, motion: Motion) -> None:
        """Put a mesh that moves into the scene."""
        self.moving.append((mesh, motion))

    def world(
        self, lights: list[Light], ambient: tuple[Colour, Colour], sky: Sky, views: list[View], occlusion: float
    ) -> World:
        """The scene as built, with its light and views, as `World` says."""
        return World(merge(self.still), self.moving, self.materials, lights, ambient, sky, views, occlusion)
