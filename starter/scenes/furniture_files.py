"""From Sweet Home 3D's furniture archives to a folder of small .npz meshes in metres, with credits."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from starter.scenes.mesh import floats
from starter.scenes.obj import MtlMaterial, read_mtl, read_obj
from starter.scenes.world import TEXTURE_SIZE
from video_depth_anything.errors import InputError
from video_depth_anything.files import whole_file

CATALOGUE = "PluginFurnitureCatalog.properties"
INDEX = "index.json"
# The licence of each pack, from the Debian package's copyright file.
LICENCES = {"BlendSwap-CC-0": "CC0 1.0"}
# See-through faces are left out: what a depth camera measures behind glass is what is behind it.
SEE_THROUGH = 0.4


@dataclass(frozen=True)
class CatalogueEntry:
    """One entry of a catalogue; sizes and elevation in metres, `size` as width, depth, height."""

    name: str
    category: str
    pack: str
    creator: str
    licence: str
    size: tuple[float, float, float]
    elevation: float
    model: str
    rotation: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    file: str = ""


def unpack_catalogue(archive: Path, folder: Path, packs: list[str] | None = None) -> list[CatalogueEntry]:
    """Unpack an .sh3f archive into a folder and read its catalogue; none if it is not among `packs`."""
    if packs and archive.stem not in packs:
        return []
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return parse_catalogue((folder / CATALOGUE).read_text(encoding="latin-1"), archive.stem, folder)


def parse_catalogue(text: str, pack: str, folder: Path) -> list[CatalogueEntry]:
    """Pieces of a catalogue in Java's properties format: `key#number=value`, sizes in centimetres."""
    entries: dict[int, dict[str, str]] = {}
    for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*?)\r?$", text, re.MULTILINE):
        entries.setdefault(int(number), {})[key] = value.strip()
    found = []
    for entry in entries.values():
        size = tuple(float(entry[key]) / 100 for key in ("width", "depth", "height"))
        turn = tuple(float(word) for word in entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split())
        found.append(
            CatalogueEntry(
                name=entry["name"],
                category=entry["category"],
                pack=pack,
                creator=entry.get("creator", "unknown"),
                licence=LICENCES.get(pack, "CC-BY 3.0"),
                size=(size[0], size[1], size[2]),
                elevation=float(entry.get("elevation", "0")) / 100,
                model=str(folder / entry["model"].lstrip("/")),
                rotation=turn,
            )
        )
    return found


def convert(entry: CatalogueEntry, out: Path, triangles: int) -> CatalogueEntry:
    """Write one model as .npz: vertices in metres standing on z = 0, front to -y; uv with v downwards; materials.

    Raises:
        InputError: an unreadable model, or one of no extent.
    """
    source = Path(entry.model)
    mesh = read_obj(source)
    library = {}
    for name in mesh.libraries:
        if (source.parent / name).is_file():
            library.update(read_mtl(source.parent / name))
    materials = [library.get(name, MtlMaterial()) for name in mesh.names]
    opaque = np.array([material.alpha >= SEE_THROUGH for material in materials])[mesh.material]
    keep = opaque if opaque.mean() > 0.1 else np.ones_like(opaque)
    vertices = _placed(mesh.vertices, mesh.triangles[keep], entry)
    vertices, faces, rows = simplified(vertices, mesh.triangles[keep], triangles)
    pictures, numbers = _pictures(materials)
    file = f"{entry.pack}-{source.stem}.npz"
    with whole_file(out / file) as part, part.open("wb") as stream:
        np.savez_compressed(
            stream,
            vertices=vertices,
            triangles=faces,
            uv=(mesh.uv[keep][rows] * floats([1, -1])).astype(np.float32),
            material=mesh.material[keep][rows],
            # Kd is as displayed; light is reckoned linear.
            colours=np.array([np.clip(m.colour, 0, 1) for m in materials], np.float32) ** np.float32(2.2),
            specular=np.array([m.specular for m in materials], np.float32),
            texture=np.array(numbers, np.int32),
            pictures=np.array(pictures, np.uint8).reshape(-1, TEXTURE_SIZE, TEXTURE_SIZE, 3),
        )
    return CatalogueEntry(**{**asdict(entry), "file": file, "model": source.name})


def _placed(
    vertices: npt.NDArray[np.float32], triangles: npt.NDArray[np.int32], entry: CatalogueEntry
) -> npt.NDArray[np.float32]:
    """Vertices turned as the catalogue says, z up, stretched to the catalogue's size, standing on the origin."""
    turned = vertices.astype(np.float64) @ np.array(entry.rotation).reshape(3, 3).T
    # Sweet Home 3D: y up, front to +z. Here: z up, front to -y.
    upright = turned @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    used = upright[np.unique(triangles)]
    low, extent = used.min(0), np.ptp(used, axis=0)
    if extent.max() <= 0 or not np.isfinite(extent).all():
        raise InputError(f"{entry.model}: the model has no extent")
    scale = np.array(entry.size) / np.maximum(extent, extent.max() * 1e-6)
    middle = low + extent * [0.5, 0.5, 0]
    return ((upright - middle) * scale).astype(np.float32)


def simplified(
    vertices: npt.NDArray[np.float32], triangles: npt.NDArray[np.int32], limit: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Vertices merged on a grid as coarse as needed for at most `limit` triangles (Rossignac and Borrel 1993).

    Returns:
        Vertices, triangles (T', 3), and which of the old triangles they were (T',).
    """
    extent = float(np.ptp(vertices[np.unique(triangles)], axis=0).max())
    cell = extent / 4000
    while True:
        keys = np.round(vertices / cell).astype(np.int64)
        _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        inverse = inverse.ravel()
        faces = inverse[triangles]
        alive = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        rows = np.flatnonzero(alive)
        # Thin parts fold up: of the faces on the same three vertices one is enough.
        _, first = np.unique(np.sort(faces[rows], axis=1), axis=0, return_index=True)
        rows = rows[np.sort(first)]
        if len(rows) <= limit or cell > extent / 4:
            break
        cell *= 1.4
    merged = np.stack([np.bincount(inverse, vertices[:, k]) / counts for k in range(3)], 1).astype(np.float32)
    used, renamed = np.unique(faces[rows], return_inverse=True)
    return merged[used], renamed.reshape(-1, 3).astype(np.int32), rows


def _pictures(materials: list[MtlMaterial]) -> tuple[list[npt.NDArray[np.uint8]], list[int]]:
    """Textures at the renderer's size, and for each material the number of its texture or -1."""
    pictures: list[npt.NDArray[np.uint8]] = []
    numbers, known = [], dict[Path, int]()
    for material in materials:
        path = material.texture
        if path is not None and path not in known:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            known[path] = -1 if picture is None else len(pictures)
            if picture is not None:
                small = cv2.resize(picture, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_AREA)
                pictures.append(np.asarray(small[..., ::-1], np.uint8))
        numbers.append(-1 if path is None else known[path])
    return pictures, numbers


def write_index(done: list[CatalogueEntry], out: Path) -> None:
    """Write the index and CREDITS, one line for each model."""
    with whole_file(out / INDEX) as part:
        part.write_text(json.dumps([asdict(entry) for entry in done], indent=1))
    lines = sorted(f"{p.pack}/{Path(p.model).stem}: {p.name} by {p.creator}, {p.licence}" for p in done)
    head = "3D models from Debian's package sweethome3d-furniture, converted to triangles and scaled to metres.\n\n"
    with whole_file(out / "CREDITS") as part:
        part.write_text(head + "\n".join(lines) + "\n")
