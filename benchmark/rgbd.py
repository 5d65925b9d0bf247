"""RGB-D folders: rgb/ and depth/ images in pairs, intrinsics.txt and poses.txt, optionally meta.json."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from video_depth_anything.errors import InputError
from video_depth_anything.video.sequences import images_among

logger = logging.getLogger(__name__)
MILLIMETRES = 1000.0
MOST_NAMED = 8  # files in one line


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

    def part(self, frames: slice) -> RgbdFolder:
        """Some of the frames."""
        poses = None if self.poses is None else self.poses[frames]
        return replace(self, images=self.images[frames], depths=self.depths[frames], poses=poses)


def open_rgbd_folder(path: Path) -> RgbdFolder:
    """Read a recording's lists and numbers; images are read later.

    Frames are in natural order. An image and its depth have one name, or the same numbers where no names match; files
    without a partner are left out, which one warning tells. `poses.txt` has a pose for each image in rgb/, or for each
    pair. `meta.json` may give `depth_png_units_per_metre`; 1000 without it.

    Raises:
        InputError: if a part is missing or damaged, naming it.
    """
    everything = _listed(path / "rgb")
    images, depths = _pairs(path, everything, _listed(path / "depth"))
    intrinsics = _numbers(path / "intrinsics.txt", 9).reshape(-1, 3, 3)
    if len(intrinsics) != 1:
        raise InputError(f"{path / 'intrinsics.txt'}: must hold one 3x3 matrix")
    poses = None
    if (path / "poses.txt").exists():
        poses = _numbers(path / "poses.txt", 16).reshape(-1, 4, 4)
        if len(poses) == len(everything):
            poses = poses[[everything.index(image) for image in images]]
        elif len(poses) != len(images):
            raise InputError(f"{path / 'poses.txt'}: {len(poses)} poses for {len(everything)} images")
    return RgbdFolder(path, images, depths, intrinsics[0], poses, _units_per_metre(path / "meta.json"))


def _listed(folder: Path) -> tuple[Path, ...]:
    files = images_among(folder.iterdir()) if folder.is_dir() else ()
    if not files:
        raise InputError(f"{folder}: no images there; an RGB-D folder holds rgb/, depth/ and intrinsics.txt")
    return files


def _pairs(path: Path, images: tuple[Path, ...], depths: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The images and depths that belong together."""
    keys: tuple[Callable[[Path], Hashable], ...] = (lambda file: file.stem, _numbers_in)
    for key in keys:
        depth_of, image_of = ({key(file): file for file in files} for files in (depths, images))
        alone = [file for file in images if key(file) not in depth_of]
        alone += [file for file in depths if key(file) not in image_of]
        if len(alone) == len(images) + len(depths):
            continue
        for files, by_key in ((images, image_of), (depths, depth_of)):
            twice = next((file for file in files if by_key[key(file)] != file), None)
            if twice is not None:
                raise InputError(f"{twice}: has the same name or number as {by_key[key(twice)].name}")
        if alone:
            named = ", ".join(str(file.relative_to(path)) for file in alone[:MOST_NAMED])
            more = f" and {len(alone) - MOST_NAMED} more" if len(alone) > MOST_NAMED else ""
            logger.warning("%s: skipped, because they have no partner: %s%s", path, named, more)
        paired = tuple(file for file in images if key(file) in depth_of)
        return paired, tuple(depth_of[key(file)] for file in paired)
    raise InputError(f"{path}: no image in rgb/ has the same name or number as one in depth/")


def _numbers_in(path: Path) -> Hashable:
    """By which frame-000012.color.png and frame-000012.depth.png are a pair."""
    return tuple(map(int, re.findall(r"\d+", path.stem))) or path


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
