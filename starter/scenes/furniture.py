"""Real furniture by role, from a folder that `starter/fetch_furniture.py` filled."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import open3d as o3d

from starter.scenes.mesh import Mesh, floats, from_triangles, merge
from starter.scenes.world import TEXTURE_SIZE, Texture
from video_depth_anything.errors import InputError

if TYPE_CHECKING:
    from starter.scenes.builder import SceneBuilder

CATALOGUE = "PluginFurnitureCatalog.properties"
# Of a model; the parts of a larger one that have no texture are simplified.
TRIANGLES = 5000
# See-through parts are left out: what a depth camera measures behind glass is what is behind it.
SEE_THROUGH = 0.4
# Sweet Home 3D: y up, front to +z. Here: z up, front to -y.
UPRIGHT = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
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
        InputError: the folder holds no catalogue; the message says how to get one.
    """

    def __init__(self, folder: Path) -> None:
        self.roles = _roles(folder)

    def draw(self, role: str, scene: SceneBuilder) -> Mesh | None:
        """A random model of a role, its colours varied, its materials added to the builder's; None if there is none."""
        found = self.roles.get(role)
        if not found:
            return None
        pack, entry = found[int(scene.rng.integers(len(found)))]
        turn = tuple(float(word) for word in entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split())
        return _dressed(_load(pack / entry["model"].lstrip("/"), size_of(entry), turn), scene)


def read_catalogue(pack: Path) -> list[dict[str, str]]:
    """The models of a pack, from a catalogue in Java's properties format: `key#number=value`."""
    entries: dict[str, dict[str, str]] = {}
    text = (pack / CATALOGUE).read_text(encoding="latin-1")
    for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*?)\r?$", text, re.MULTILINE):
        entries.setdefault(number, {})[key] = value.strip()
    return list(entries.values())


def size_of(entry: dict[str, str]) -> tuple[float, ...]:
    """Width, depth and height in metres."""
    return tuple(float(entry[key]) / 100 for key in ("width", "depth", "height"))


@lru_cache(maxsize=4)
def _roles(folder: Path) -> dict[str, list[tuple[Path, dict[str, str]]]]:
    roles: dict[str, list[tuple[Path, dict[str, str]]]] = {}
    for catalogue in sorted(folder.glob(f"*/{CATALOGUE}")):
        for entry in read_catalogue(catalogue.parent):
            roles.setdefault(role_of(entry), []).append((catalogue.parent, entry))
    if not roles:
        raise InputError(f"{folder}: no furniture there; run `python -m starter.fetch_furniture --out {folder}`")
    return roles


def role_of(entry: dict[str, str]) -> str:
    """What a model is good for: one of `ROLES`, person, animal, vehicle, opening, outdoor, hanging, small or other."""
    lower, category, size = entry["name"].lower(), entry["category"], size_of(entry)
    if category == "Characters":
        return "person" if re.search(r"male|boy|girl", lower) and not re.search(r"lying|sitting", lower) else "sitter"
    if category == "Vehicles":
        return "vehicle" if max(size) > 1.5 else "outdoor"
    if category in ("Doors and windows", "Staircases"):
        return "opening"
    if float(entry.get("elevation", "0")) > 30:
        return "hanging"
    for role, words in ROLES:
        if re.search(words, lower):
            if role in ("plant", "lamp") and max(size) < 0.6:
                return "small"
            return role if max(size) > 0.25 else "small"
    if max(size) < 0.65:
        return "small"
    return "outdoor" if category == "Exterior" else "other"


class _Part(NamedTuple):
    """A mesh of one material: its linear colour, and its texture if it has one."""

    mesh: Mesh
    colour: npt.NDArray[np.float32]
    texture: Texture | None


@lru_cache(maxsize=400)
def _load(path: Path, size: tuple[float, ...], turn: tuple[float, ...]) -> list[_Part]:
    """A model of `size` metres standing on the origin, z up, front to -y; `turn` (3, 3) is the catalogue's rotation."""
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        model = o3d.io.read_triangle_model(str(path))  # type: ignore[arg-type]  # by its stubs
    parts = [(found.mesh, model.materials[found.material_idx]) for found in model.meshes if len(found.mesh.triangles)]
    if not parts:
        raise InputError(f"{path}: not a readable model")
    opaque = [(mesh, look) for mesh, look in parts if look.base_color[3] >= SEE_THROUGH] or parts
    count = sum(len(mesh.triangles) for mesh, _ in opaque)
    found = []
    for mesh, look in opaque:
        mesh.remove_duplicated_vertices()
        colour, uv, picture = floats(look.base_color[:3]), None, None
        if look.albedo_img is not None and (image := np.asarray(look.albedo_img)).size:
            small = cv2.resize(image[..., :3], (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_AREA)
            colour = floats(small.mean((0, 1)) / 255)
            # Open3D leaves out lines and points of a model, but not their coordinates.
            if count < 4 * TRIANGLES and len(mesh.triangle_uvs) == 3 * len(mesh.triangles):
                picture = np.ascontiguousarray(small, np.uint8)
                uv = np.asarray(mesh.triangle_uvs, np.float32).reshape(-1, 3, 2) * floats([1, -1])
        if picture is None and count > TRIANGLES:
            mesh.triangle_uvs = o3d.utility.Vector2dVector()
            mesh = mesh.simplify_quadric_decimation(TRIANGLES * len(mesh.triangles) // count + 4)
        points = np.asarray(mesh.vertices) @ np.array(turn).reshape(3, 3).T @ UPRIGHT
        found.append((points, np.asarray(mesh.triangles), uv, colour ** np.float32(2.2), picture))
    used = np.concatenate([points[np.unique(triangles)] for points, triangles, *_ in found])
    low, extent = used.min(0), np.ptp(used, axis=0)
    scale = np.array(size) / np.maximum(extent, max(float(extent.max()), 1e-9) * 1e-6)
    middle = low + extent * [0.5, 0.5, 0]
    return [
        _Part(from_triangles((points - middle) * scale, triangles, uv, crease=0.75), colour, picture)
        for points, triangles, uv, colour, picture in found
    ]


def _dressed(parts: list[_Part], scene: SceneBuilder) -> Mesh:
    """The parts in the builder's materials: their own colours, sometimes tinted or painted anew."""
    tint = np.ones(3, np.float32)
    if scene.chance(0.4):
        tint = np.clip(np.exp(scene.rng.normal(0, 0.35, 3)), 0.3, 2).astype(np.float32)
    out = []
    for mesh, colour, texture in parts:
        gloss = {"specular": max(scene.uniform(-0.2, 0.4), 0.0), "shininess": scene.uniform(15, 90)}
        if texture is not None:
            number = scene.materials.tinted(texture, tint * 0.85, **gloss)
        elif scene.chance(0.2):
            number = scene.materials.plain(scene.colour() if scene.chance(0.5) else scene.grey(), **gloss)
        else:
            number = scene.materials.plain(np.clip(colour * tint + 0.005, 0, 0.95), **gloss)
        out.append(replace(mesh, material=np.full(len(mesh.triangles), number, np.int32)))
    return merge(out)
