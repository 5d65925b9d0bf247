"""Things made of simple parts, as `designs.txt` describes them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from starter.scenes import shapes
from starter.scenes.builder import SceneBuilder
from starter.scenes.mesh import Mesh, merge


class Part(NamedTuple):
    shape: str
    look: str
    corners: npt.NDArray[np.float64]
    mirror: str
    styles: str


class Design(NamedTuple):
    size: list[tuple[float, ...]]
    looks: dict[str, list[str]]
    parts: list[Part]


@cache
def designs() -> dict[str, Design]:
    """The file's designs by name."""
    found: dict[str, Design] = {}
    for line in Path(__file__).with_name("designs.txt").read_text().splitlines():
        words = line.partition("#")[0].split()
        if words and not line[0].isspace():
            size = [tuple(map(float, word.split(".."))) for word in words[1:4]]
            looks = {slot: names.split(",") for slot, _, names in (word.partition("=") for word in words[4:])}
            design = found[words[0]] = Design(size, looks, [])
        elif words:
            corners = np.array(words[2:8], np.float64).reshape(2, 3)
            design.parts.append(Part(words[0], words[1], corners, words[8], "".join(words[9:])))
    return found


def designed(scene: SceneBuilder, name: str) -> Mesh:
    """A thing in a size, materials and a style that are drawn; it stands on z = 0, its front to -y."""
    design = designs()[name]
    size = np.array([scene.uniform(*limits) for limits in design.size])
    looks = {slot: scene.material(scene.pick(*names)) for slot, names in design.looks.items()}
    style = scene.pick(*sorted(set("".join(part.styles for part in design.parts)) or "0"))
    out = []
    for part in design.parts:
        if part.styles and style not in part.styles:
            continue
        for x in (1, -1) if "x" in part.mirror else (1,):
            for y in (1, -1) if "y" in part.mirror else (1,):
                mesh, look = fitted(part.shape, part.corners * size * (x, y, 1)), looks[part.look]
                pictured = part.shape in ("front", "printed")
                out.append(mesh.painted(look.number) if pictured else scene.cover(mesh, look))
    return merge(out)


def fitted(shape: str, corners: npt.NDArray[np.float64]) -> Mesh:
    """A shape that fills the box between two corners; a limb goes from one to the other."""
    low, high = corners.min(0), corners.max(0)
    size, middle = high - low, (low + high) / 2
    match shape:
        case "block":
            return shapes.box(size, middle)
        case "printed":
            return shapes.printed_box(size, middle)
        case "limb":
            return shapes.capsule(corners[0], corners[1], 0.16 * float(np.linalg.norm(size)))
        case "ball":
            return shapes.superquadric(size / 2, sides=16).moved(middle)
        case "cushion":
            return shapes.cushion(size).moved(middle)
        case "front":
            return shapes.quad(low, (size[0], 0, 0), (0, 0, size[2]), True)
        case "wheel":
            return shapes.rod((low[0], *middle[1:]), (high[0], *middle[1:]), size[2] / 2, 16)
    top = size[0] / 2 if shape == "post" else size[0] / 3
    stump = shapes.cylinder(size[0] / 2, size[2], top=top).scaled((1, size[1] / size[0], 1))
    return stump.moved((middle[0], middle[1], low[2]))
