"""Pinhole intrinsics and point clouds."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..video.frame import Frame
from .base import OutputWriter, RunInfo, write_whole
from .options import CameraOptions

logger = logging.getLogger(__name__)

# The focal length that the original assumes for every camera.
ORIGINAL_FOCAL = 470.4

VERTEX = np.dtype([("point", "<f4", 3), ("color", "u1", 3)])
PLY_HEADER = """ply
format binary_little_endian 1.0
element vertex {count}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
end_header
"""


@dataclass(frozen=True)
class Intrinsics:
    """Focal lengths and principal point in pixels, for pixel columns 0..W-1 and rows 0..H-1. Sizes are (H, W)."""

    focal_x: float
    focal_y: float
    center_x: float
    center_y: float

    @classmethod
    def centered(cls, focal_x: float, focal_y: float, size: tuple[int, int]) -> Intrinsics:
        """Principal point (W / 2, H / 2), as in the original."""
        return cls(focal_x, focal_y, size[1] / 2, size[0] / 2)

    @classmethod
    def from_fov(cls, degrees: float, size: tuple[int, int]) -> Intrinsics:
        """From a horizontal field of view in degrees, with square pixels."""
        focal = size[1] / 2 / math.tan(math.radians(degrees) / 2)
        return cls.centered(focal, focal, size)

    def scaled(self, source_size: tuple[int, int], size: tuple[int, int]) -> Intrinsics:
        """The intrinsics after frames of `source_size` were scaled to `size`."""
        rows, columns = size[0] / source_size[0], size[1] / source_size[1]
        return Intrinsics(self.focal_x * columns, self.focal_y * rows, self.center_x * columns, self.center_y * rows)

    def unproject(self, depth: npt.NDArray[np.floating], stride: int = 1) -> npt.NDArray[np.float32]:
        """Convert depth (H, W) in metres to points (N, 3) float32 in metres, one per stride-th row and column.

        x right, y down, z forward, row by row.
        """
        height, width = depth.shape
        columns, rows = np.meshgrid(np.arange(0, width, stride), np.arange(0, height, stride))
        z = depth[::stride, ::stride]
        x, y = (columns - self.center_x) / self.focal_x, (rows - self.center_y) / self.focal_y
        return np.stack((x * z, y * z, z), axis=-1).reshape(-1, 3).astype(np.float32)


class PointClouds(OutputWriter):
    """`_point0000.ply`: a binary point cloud per frame, with the frame's number and colours; depth is in metres."""

    def __init__(self, run: RunInfo) -> None:
        self._run = run
        self._camera = run.camera
        self._intrinsics, line = processed_intrinsics(run.camera, run.source_size, run.size)
        logger.info("%s", line)
        self._count = 0

    def write(self, frame: Frame) -> None:
        count, self._count = self._count, self._count + 1
        if count % self._camera.every:
            return
        stride = self._camera.stride
        points = self._intrinsics.unproject(frame.depth, stride)
        kept = np.isfinite(points[:, 2]) & (points[:, 2] <= self._camera.max_depth)
        vertices = np.empty(len(points), VERTEX)
        vertices["point"], vertices["color"] = points, frame.image[::stride, ::stride].reshape(-1, 3)
        vertices = vertices if kept.all() else vertices[kept]
        path = self._run.path(f"_point{frame.numbered(count):04d}.ply")
        write_whole(path, PLY_HEADER.format(count=len(vertices)).encode() + vertices.tobytes())


def processed_intrinsics(
    camera: CameraOptions, source_size: tuple[int, int], size: tuple[int, int]
) -> tuple[Intrinsics, str]:
    """Intrinsics of the processed frames, and a line for the user about their origin.

    The user's focal length or field of view refers to the source's frames; the default of 470.4 pixels refers to the
    processed frames, as in the original. Sizes are (H, W).
    """
    factor = size[1] / source_size[1]
    better = ""
    if camera.fov is not None:
        own = Intrinsics.from_fov(camera.fov, source_size)
        origin = f"a horizontal field of view of {camera.fov:g} degrees"
    elif camera.focal is not None:
        own = Intrinsics.centered(*camera.focal, source_size)
        origin = f"a focal length of {camera.focal[0]:g} x {camera.focal[1]:g} pixels of the source"
    else:
        own = Intrinsics.centered(ORIGINAL_FOCAL / factor, ORIGINAL_FOCAL * source_size[0] / size[0], source_size)
        origin = f"{ORIGINAL_FOCAL:g} pixels as the focal length of the processed frames, as the original does"
        better = "; --fov or --focal-length-x sets a better one"
    if camera.principal_point is not None:
        own = Intrinsics(own.focal_x, own.focal_y, *camera.principal_point)
    scaled = own.scaled(source_size, size)
    return scaled, (
        f"point clouds assume {origin}: {own.focal_x:.6g} pixels of the source times a factor of {factor:.4g} are "
        f"{scaled.focal_x:.6g} of the processed frames{better}"
    )
