"""A small reader of Wavefront OBJ meshes with their MTL materials."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from video_depth_anything.errors import InputError


@dataclass(frozen=True)
class MtlMaterial:
    """One entry of an MTL file.

    Attributes:
        colour: diffuse red, green, blue as displayed, 0..1.
        specular: mean of the specular colour, 0..1.
        alpha: 1 is opaque.
        texture: picture file of the diffuse colour, beside the MTL file, or None.
    """

    colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    specular: float = 0.0
    alpha: float = 1.0
    texture: Path | None = None


@dataclass
class ObjMesh:
    """An OBJ file as triangles.

    Attributes:
        vertices: (V, 3) float32, in the file's units.
        triangles: (T, 3) int32.
        uv: (T, 3, 2) float32 texture coordinates, v upwards as in the file; 0 where the file gives none.
        material: (T,) int32, number in `names`.
        names: materials in the order of their first use; "" is for faces before any `usemtl`.
        libraries: the MTL files that the file names.
    """

    vertices: npt.NDArray[np.float32]
    triangles: npt.NDArray[np.int32]
    uv: npt.NDArray[np.float32]
    material: npt.NDArray[np.int32]
    names: list[str]
    libraries: list[str]


@dataclass
class _Lines:
    vertices: list[list[float]] = field(default_factory=list)
    uv: list[list[float]] = field(default_factory=list)
    corners: list[tuple[int, int]] = field(default_factory=list)
    material: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    current: int = -1

    def use(self, name: str) -> None:
        if name not in self.names:
            self.names.append(name)
        self.current = self.names.index(name)

    def face(self, words: list[str]) -> None:
        """Add a polygon as a fan of triangles about its first corner."""
        if self.current < 0:
            self.use("")
        polygon = [self.corner(word) for word in words]
        for k in range(1, len(polygon) - 1):
            self.corners += [polygon[0], polygon[k], polygon[k + 1]]
            self.material.append(self.current)

    def corner(self, word: str) -> tuple[int, int]:
        """Indices from 0 of `v`, `v/vt`, `v//vn` or `v/vt/vn`; negative ones count from the latest; -1 is no vt."""
        parts = word.split("/")
        vertex = int(parts[0])
        texture = int(parts[1]) if len(parts) > 1 and parts[1] else 0
        place = vertex - 1 if vertex > 0 else len(self.vertices) + vertex
        if texture == 0:
            return place, -1
        return place, texture - 1 if texture > 0 else len(self.uv) + texture


def read_obj(path: Path) -> ObjMesh:
    """Read the faces of an OBJ file; polygons become triangle fans, normals, lines and curves are left out.

    Raises:
        InputError: no such file, no face, a number that is none, or a face of a vertex that is not
            there; the message names the file.
    """
    lines = _Lines()
    try:
        for words in _statements(path):
            match words[0]:
                case "v":
                    lines.vertices.append([float(word) for word in words[1:4]])
                case "vt":
                    lines.uv.append([float(word) for word in (*words[1:3], "0")[:2]])
                case "f":
                    lines.face(words[1:])
                case "usemtl":
                    lines.use(" ".join(words[1:]))
                case "mtllib":
                    lines.libraries.append(" ".join(words[1:]))
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not a readable OBJ file: {error}") from error
    if not lines.material:
        raise InputError(f"{path}: holds no faces")
    vertices = np.array(lines.vertices, np.float32).reshape(-1, 3)
    corners = np.array(lines.corners, np.int64).reshape(-1, 3, 2)
    table = np.array([*lines.uv, [0, 0]], np.float32)
    if corners[..., 0].min() < 0 or corners[..., 0].max() >= len(vertices) or corners[..., 1].max() >= len(lines.uv):
        raise InputError(f"{path}: a face names a vertex that is not there")
    return ObjMesh(
        vertices,
        corners[..., 0].astype(np.int32),
        table[corners[..., 1]],
        np.array(lines.material, np.int32),
        lines.names,
        lines.libraries,
    )


def read_mtl(path: Path) -> dict[str, MtlMaterial]:
    """Materials by name; unknown statements are left out, textures that are not there are None."""
    found: dict[str, dict[str, object]] = {}
    entry: dict[str, object] = {}
    for words in _statements(path):
        match words[0]:
            case "newmtl":
                entry = found.setdefault(" ".join(words[1:]), {})
            case "Kd":
                entry["colour"] = tuple(float(word) for word in words[1:4])
            case "Ks":
                entry["specular"] = float(np.mean([float(word) for word in words[1:4]]))
            case "d":
                entry["alpha"] = float(words[-1])
            case "Tr":
                entry["alpha"] = 1 - float(words[-1])
            case "map_Kd":
                picture = path.parent / words[-1].replace("\\", "/")
                entry["texture"] = picture if picture.is_file() else None
    return {name: MtlMaterial(**values) for name, values in found.items()}  # type: ignore[arg-type]


def _statements(path: Path) -> list[list[str]]:
    """Words of each line, without comments and empty lines; a backslash at its end continues a line."""
    text = path.read_text(encoding="latin-1").replace("\\\n", " ").replace("\\\r\n", " ")
    return [words for line in text.splitlines() if (words := line.split("#", 1)[0].split())]
