"""Pinhole intrinsics and point clouds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .files import OutputError, whole_file

OPEN3D_REMEDY = "pip install open3d; on Debian also apt-get install libusb-1.0-0 libgl1 libx11-6 libgomp1"


@dataclass(frozen=True)
class Intrinsics:
    """Focal lengths and principal point in pixels, for pixel columns 0..W-1 and rows 0..H-1."""

    focal_x: float
    focal_y: float
    center_x: float
    center_y: float

    @classmethod
    def centered(
        cls, focal_x: float, focal_y: float, source_size: tuple[int, int], size: tuple[int, int]
    ) -> Intrinsics:
        """Intrinsics of frames of `size` (H, W) that were scaled from `source_size`, to which the focal lengths belong.

        The principal point is (W / 2, H / 2), as in the original.
        """
        (source_height, source_width), (height, width) = source_size, size
        return cls(focal_x * width / source_width, focal_y * height / source_height, width / 2, height / 2)

    def unproject(self, depth: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Depth (H, W) in metres to points (H * W, 3) float32 in metres: x right, y down, z forward."""
        height, width = depth.shape
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        x, y = (columns - self.center_x) / self.focal_x, (rows - self.center_y) / self.focal_y
        return np.stack((x * depth, y * depth, depth), axis=-1).reshape(-1, 3).astype(np.float32)


def require_open3d() -> None:
    """Raise OutputError, naming the remedy, if open3d cannot be imported: before inference, not after it."""
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError) as error:
        raise OutputError(f"point clouds need open3d, which does not import ({error}): {OPEN3D_REMEDY}") from error


def write_ply(path: Path, points: npt.NDArray[np.float32], colors: npt.NDArray[np.uint8]) -> None:
    """Write a binary .ply file.

    Args:
        points: (N, 3) float32, metres. colors: (N, 3) uint8 RGB.

    Raises:
        OutputError: if the file cannot be written.
    """
    import open3d

    cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor.from_numpy(np.ascontiguousarray(points)))
    cloud.point.colors = open3d.core.Tensor.from_numpy(np.ascontiguousarray(colors))
    with whole_file(path) as partial:
        if not open3d.t.io.write_point_cloud(partial, cloud, write_ascii=False, compressed=False):
            raise OutputError(f"cannot write {path}: check that the folder is writable and the disk not full")
