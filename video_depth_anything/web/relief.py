"""The 3D view of a frame: its depth as a textured mesh, in a GLB file (glTF 2.0)."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..outputs.base import OutputWriter
from ..outputs.point_clouds import Intrinsics
from ..video.frame import DepthMap, Frame

Points = npt.NDArray[np.float32]
Mesh = tuple[Points, Points, npt.NDArray[np.uint32]]

# Maximum number of frames kept per job, evenly spaced, and maximum bytes of each.
MOST_FRAMES, BYTES_PER_FRAME = 300, 350_000
# Longer side of the mesh in points, and of its texture in pixels.
MESH_SIDE, PICTURE_SIDE = 240, 720
# Default horizontal field of view in degrees.
USUAL_FOV = 60.0
# Depth range assumed for relative models: farthest point over nearest.
FARTHEST = 4.0
# Triangles whose depths differ by more than this factor are removed: they would join two surfaces.
TEAR = 1.1


class ReliefFrames(OutputWriter):
    """Reduced copies of a job's frames and depth, on disk."""

    def __init__(self, folder: Path, expected: int | None, fov: float | None, metric: bool) -> None:
        self._folder = folder
        self._every = math.ceil((expected or 1) / MOST_FRAMES)
        self._fov = fov or USUAL_FOV
        self.metric = metric
        self._count = 0
        folder.mkdir(parents=True)

    def write(self, frame: Frame) -> None:
        number, self._count = self._count, self._count + 1
        if number % self._every or number // self._every >= MOST_FRAMES:
            return
        picture = cv2.resize(frame.image, _fitting(frame.depth.shape, PICTURE_SIDE), interpolation=cv2.INTER_AREA)
        # Not averaged: edges would become slopes.
        points = cv2.resize(frame.depth, _fitting(frame.depth.shape, MESH_SIDE), interpolation=cv2.INTER_NEAREST)
        jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        np.savez(self._path(number), jpeg=jpeg, depth=points)

    def glb(self, share: float) -> tuple[Path, tuple[float, float, float]]:
        """The GLB file of the frame at this position (0 to 1) of the video, and the viewpoint from `view_from`.

        Earlier files are removed.
        """
        number = round(min(max(share, 0.0), 1.0) * (self._count - 1)) // self._every * self._every
        number = min(number, (MOST_FRAMES - 1) * self._every)
        with np.load(self._path(number)) as stored:
            depth, jpeg = stored["depth"], stored["jpeg"].tobytes()
        for old in self._folder.glob("*.glb"):
            old.unlink(missing_ok=True)
        path = self._folder / f"relief_{number:06d}.glb"
        surface = mesh(depth if self.metric else relative_depth(depth), self._fov)
        path.write_bytes(glb(surface, jpeg))
        return path, view_from(surface[0])

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"


def _fitting(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    """(W, H) of the size (H, W), reduced to that longer side."""
    factor = min(longest / max(size), 1.0)
    return max(round(size[1] * factor), 2), max(round(size[0] * factor), 2)


def relative_depth(disparity: DepthMap) -> DepthMap:
    """Depth from 1 (nearest) to `FARTHEST`, from disparity up to scale and shift."""
    low, high = np.percentile(disparity, (0.5, 99.5))
    nearness = np.clip((disparity - low) / max(high - low, 1e-9), 0, 1)
    depth: DepthMap = (1 / (nearness * (1 - 1 / FARTHEST) + 1 / FARTHEST)).astype(np.float32)
    return depth


def mesh(depth: DepthMap, fov: float) -> Mesh:
    """Points, texture coordinates and triangles of a depth map, without depth that is not finite and positive.

    (H * W, 3) points: x right, y up, z backward, the camera in the origin; (H * W, 2), (0, 0) at the picture's upper
    left; (N, 3).
    """
    height, width = depth.shape
    known = np.isfinite(depth) & (depth > 0)
    z = np.where(known, depth, np.median(depth[known]) if known.any() else 1).astype(np.float32)
    focal = Intrinsics.from_fov(fov, depth.shape).focal_x
    points = Intrinsics.centered(focal, focal, (height - 1, width - 1)).unproject(z) * np.array((1, -1, -1), np.float32)
    middles = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    coordinates = np.stack(middles, axis=-1, dtype=np.float32).reshape(-1, 2)
    index = np.arange(height * width, dtype=np.uint32).reshape(height, width)
    upper_left, upper_right, lower_left, lower_right = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    halves = (upper_left, lower_left, upper_right), (upper_right, lower_left, lower_right)
    triangles = np.concatenate([np.stack(corners, axis=-1).reshape(-1, 3) for corners in halves])
    at = z.ravel()[triangles]
    whole = (at.max(axis=1) < TEAR * at.min(axis=1)) & known.ravel()[triangles].all(axis=1)
    return points, coordinates, triangles[whole]


def view_from(points: Points) -> tuple[float, float, float]:
    """The camera's position for a viewer that orbits the centre of these points.

    The angle around the vertical from the x axis on and that from the vertical, in degrees, and the distance.
    """
    x, y, z = (-(points.min(axis=0) + points.max(axis=0)) / 2).tolist()
    distance = math.hypot(x, y, z)
    return math.degrees(math.atan2(z, x)), math.degrees(math.acos(y / distance)), distance


def glb(surface: Mesh, jpeg: bytes) -> bytes:
    """A GLB file: a mesh with a JPEG texture, unlit."""
    points, coordinates, triangles = surface
    views, data = [], b""
    for part in (points.tobytes(), coordinates.tobytes(), triangles.tobytes(), jpeg):
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": len(part)})
        data += part + bytes(-len(part) % 4)
    ends = {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
    float32, uint32 = 5126, 5125
    picture = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0}}
    content = {
        "asset": {"version": "2.0", "generator": "video-depth-anything"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{**picture, "doubleSided": True, "extensions": {"KHR_materials_unlit": {}}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 3, "mimeType": "image/jpeg"}],
        "accessors": [
            {"bufferView": 0, "componentType": float32, "count": len(points), "type": "VEC3", **ends},
            {"bufferView": 1, "componentType": float32, "count": len(coordinates), "type": "VEC2"},
            {"bufferView": 2, "componentType": uint32, "count": triangles.size, "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(data)}],
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(data)
    head = struct.pack("<4sII", b"glTF", 2, total) + struct.pack("<I4s", len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(data), b"BIN\0") + data
