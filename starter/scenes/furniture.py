"""Real furniture by role, from a folder that `starter/fetch_furniture.py` filled."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from starter.scenes.mesh import Mesh, from_triangles
from video_depth_anything.errors import InputError

if TYPE_CHECKING:
    from starter.scenes.builder import SceneBuilder

# Role: words in the name of a model. The first role that fits counts.
ROLES = (
    ("elsewhere", r"wheelchair|stretcher|hospital|medical|toilet|bidet|urinal|shower|bath|coffin|grave"),
    (
        "stand-alone",
        r"swimming|crossing|rails|arrow|parking slot|jacuzzi|sandpit|living room|sidewalk|elevator|"
        r"staircase|curtain|pool|blind|fountain|fence",
    ),
    ("hanging", r"ceiling|hanging|chandelier|pendant|track|spotlight|wall (light|lamp|hanger|socket|double)|wall flat"),
    ("plant", r"plant|ficus|bamboo|yucca|cactus|orchid|lily|tulips|spath|bonsai|tree"),
    ("lamp", r"^(lamp|little lamp|pedestal vase lamp|japanese lantern)$"),
    ("sofa", r"sofa|couch|futon|armchair"),
    ("chair", r"chair|seat|teck"),
    ("stool", r"stool|ottoman|puff|bench|bank"),
    ("bed", r"\bbed\b|crib|futon"),
    ("table", r"table$|desk$|^table|^desk table|wooden desk|round table|table with|workbench|island"),
    ("shelf", r"bookcase|shelves|shelf"),
    ("kitchen", r"fridge|oven|stove|refrigerator|washing|dryer|furnace|sink|water cooler|boiler|freezer|cooker$"),
    ("cabinet", r"cabinet|wardrobe|dresser|drawers|cupboard|vanity|locker|chest|piano|tv stand|fireplace|radiator"),
)


class FurnitureLibrary:
    """Models by role, read when they are first drawn.

    Args:
        folder: filled by `starter/fetch_furniture.py`.

    Raises:
        InputError: the folder has no index; the message says how to make it.
    """

    def __init__(self, folder: Path) -> None:
        self.roles = _roles(folder)

    def draw(self, role: str, scene: SceneBuilder) -> Mesh | None:
        """A random model of a role, its colours varied, its materials added to the builder's; None if there is none."""
        paths = self.roles.get(role)
        if not paths:
            return None
        path = paths[int(scene.rng.integers(len(paths)))]
        return _dressed(_load(path), scene)


@lru_cache(maxsize=4)
def _roles(folder: Path) -> dict[str, list[Path]]:
    index = folder / "index.json"
    if not index.is_file():
        raise InputError(f"{folder}: no furniture there; run `python -m starter.fetch_furniture --out {folder}`")
    roles: dict[str, list[Path]] = {}
    for entry in json.loads(index.read_text()):
        role = role_of(entry["name"], entry["category"], tuple(entry["size"]), entry["elevation"])
        roles.setdefault(role, []).append(folder / entry["file"])
    return roles


def role_of(name: str, category: str, size: tuple[float, ...], elevation: float) -> str:
    """What a model is good for: one of `ROLES`, person, animal, vehicle, opening, outdoor, hanging, small or other."""
    lower = name.lower()
    if category == "Characters":
        return "person" if re.search(r"male|boy|girl", lower) and not re.search(r"lying|sitting", lower) else "sitter"
    if category == "Vehicles":
        return "vehicle" if max(size) > 1.5 else "outdoor"
    if category in ("Doors and windows", "Staircases"):
        return "opening"
    if elevation > 0.3:
        return "hanging"
    for role, words in ROLES:
        if re.search(words, lower):
            if role in ("plant", "lamp") and max(size) < 0.6:
                return "small"
            return role if max(size) > 0.25 else "small"
    if max(size) < 0.65:
        return "small"
    return "outdoor" if category == "Exterior" else "other"


@dataclass(frozen=True)
class _Model:
    """A mesh whose material numbers are rows of the arrays; `texture` is a number in `pictures` or -1."""

    mesh: Mesh
    colours: npt.NDArray[np.float32]
    specular: npt.NDArray[np.float32]
    texture: npt.NDArray[np.int32]
    pictures: list[npt.NDArray[np.uint8]]


@lru_cache(maxsize=400)
def _load(path: Path) -> _Model:
    """A file's model; files do not change, so that keeping some saves time and nothing else."""
    with np.load(path) as stored:
        mesh = from_triangles(stored["vertices"], stored["triangles"], stored["uv"], crease=0.75)
        return _Model(
            replace(mesh, material=stored["material"].astype(np.int32)),
            stored["colours"],
            stored["specular"],
            stored["texture"],
            list(stored["pictures"]),
        )


def _dressed(model: _Model, scene: SceneBuilder) -> Mesh:
    """The mesh with the builder's material numbers: its own colours, sometimes tinted or painted anew."""
    tint = np.ones(3, np.float32)
    if scene.chance(0.4):
        tint = np.clip(np.exp(scene.rng.normal(0, 0.35, 3)), 0.3, 2).astype(np.float32)
    mesh = model.mesh
    used = np.unique(mesh.material)
    numbers = np.zeros(int(used.max()) + 1, np.int32)
    for k in used:
        gloss = {"specular": 0.5 * float(model.specular[k]), "shininess": scene.uniform(15, 90)}
        picture = int(model.texture[k])
        if picture >= 0:
            numbers[k] = scene.materials.tinted(model.pictures[picture], tint * 0.85, **gloss)
        elif scene.chance(0.2):
            numbers[k] = scene.materials.plain(scene.colour() if scene.chance(0.5) else scene.grey(), **gloss)
        else:
            numbers[k] = scene.materials.plain(np.clip(model.colours[k] * tint + 0.005, 0, 0.95), **gloss)
    return replace(mesh, material=numbers[mesh.material])
