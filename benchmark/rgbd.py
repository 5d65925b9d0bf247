"""RGB-D folders: rgb/ and depth/ images in pairs, intrinsics.txt and poses.txt, optionally meta.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from video_depth_anything.errors import InputError
from video_depth_anything.video.inputs import IMAGE_ENDINGS

MILLIMETRES = 1000.0


@dataclass(frozen=True)
class RgbdFolder:
    """A recording with measured depth, one image pair a frame, read on demand.

    Attributes:
        path: the folder.
        images: files, in order.
        depths: files, one for each image.
        intrinsics: (3, 3), in pixels.
        poses: (N, 4, 4) camera-to-world matrices in metres with OpenCV axes (x right, y down, z forward), None where
            none are known.
        units_per_metre: one metre in the depth images.
    """

    path: Path
    images: tuple[Path, ...]
    depths: tuple[Path, ...]
    intrinsics: npt.NDArray[np.float64]
    poses: npt.NDArray[np.float64] | None
    units_per_metre: float

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Frame `index`: (H, W, 3) uint8, RGB.

        Raises:
            InputError: if its file cannot be read.
        """
        return np.ascontiguousarray(_read(self.images[index], cv2.IMREAD_COLOR)[..., ::-1])

    def depth(self, index: int) -> npt.NDArray[np.float32]:
        """Depth of frame `index` along the optical axis: (H, W) float32 in metres, 0 where it is unknown.

        Raises:
            InputError: if its file cannot be read.
        """
        return _read(self.depths[index], cv2.IMREAD_UNCHANGED).astype(np.float32) / np.float32(self.units_per_metre)


def open_rgbd_folder(path: Path) -> RgbdFolder:
    """Read a recording's lists and numbers; images are read later.

    Images and depths are paired by sorted name. `meta.json` may give `depth_png_units_per_metre`; 1000 without it.

    Raises:
        InputError: if a part is missing or damaged, naming it.
    """
    images, depths = (_listed(path / part) for part in ("rgb", "depth"))
    if len(images) != len(depths):
        raise InputError(f"{path}: {len(images)} images in rgb/ but {len(depths)} in depth/; they must be pairs")
    intrinsics = _numbers(path / "intrinsics.txt", 9).reshape(-1, 3, 3)
    if len(intrinsics) != 1:
        raise InputError(f"{path / 'intrinsics.txt'}: must hold one 3x3 matrix")
    poses = None
    if (path / "poses.txt").exists():
        poses = _numbers(path / "poses.txt", 16).reshape(-1, 4, 4)
        if len(poses) != len(images):
            raise InputError(f"{path / 'poses.txt'}: {len(poses)} poses for {len(images)} images")
    return RgbdFolder(path, images, depths, intrinsics[0], poses, _units_per_metre(path / "meta.json"))


def _listed(folder: Path) -> tuple[Path, ...]:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS) if folder.is_dir() else []
    if not files:
        raise InputError(f"{folder}: no images there; an RGB-D folder holds rgb/, depth/ and intrinsics.txt")
    return tuple(files)


def _numbers(path: Path, group: int) -> npt.NDArray[np.float64]:
    try:
        numbers = np.loadtxt(path, dtype=np.float64, ndmin=1).ravel()
    except ValueError as error:
        raise InputError(f"{path}: not a table of numbers ({error})") from error
    if not numbers.size or numbers.size % group or not np.isfinite(numbers).all():
        raise InputError(f"{path}: must hold finite numbers, {group} a matrix")
    return numbers


def _units_per_metre(path: Path) -> float:
    if not path.exists():
        return MILLIMETRES
    try:
        units = float(json.loads(path.read_text()).get("depth_png_units_per_metre", MILLIMETRES))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not readable ({error})") from error
    if not units > 0:
        raise InputError(f"{path}: depth_png_units_per_metre must be positive, not {units}")
    return units


def _read(path: Path, mode: int) -> npt.NDArray[np.uint8]:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise InputError(f"{path}: not an image that can be read")
    return image  # type: ignore[return-value]
