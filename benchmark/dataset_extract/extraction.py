"""From a dataset's own layout to the common one: images and 16-bit depth in folders, and index files.

Files that need no change are copied or linked as they are; what is cropped is written anew. Colour stays in the order
in which OpenCV reads and writes it, so that it is right in the files.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.datasets import EVALUATION_SETS, EVEN_SIZES, IMAGE_CROPS, SINTEL_FACTOR, TAE_SETS, Crop, indices_of
from benchmark.index import Frame, Scene, with_frames, write_index
from benchmark.raw_datasets.scenes import RawFrame, RawScene, check_files
from benchmark.raw_datasets.sintel import read_dpt
from video_depth_anything.errors import InputError, OutputError
from video_depth_anything.files import partial_path, whole_file

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]
CropImage = Callable[[Array, Path], Array]
JPEG_QUALITY = 95


def extract(
    dataset: str, scenes: Iterable[RawScene], out: Path, link: bool = False, proportional_crop: bool = False
) -> list[Path]:
    """Extract scenes to `out/dataset` and write its index files, which it returns; what was there before is replaced.

    Args:
        dataset: key in the index files.
        scenes: as they were downloaded.
        out: folder; one of the dataset's name is made in it.
        link: make symbolic links to files that need no change instead of copies.
        proportional_crop: crop images by the depth image's share where sizes differ, not by as many pixels.

    Raises:
        InputError: naming what is missing or damaged; index files are written only when all is there.
    """
    root = out / dataset
    cropped, uncropped = [], []
    last = max(frames.stop for frames in indices_of(dataset).values())
    for source in scenes:
        frames = source.frames[:last]
        check_files([path for frame in frames for path in (frame.image, frame.depth)])
        crop = _image_crop(dataset, frames[0], proportional_crop)
        for frame in frames:
            _extract_frame(dataset, frame, root, crop, link)
        cropped.append(_scene(source.name, frames, dataset, [frame.image_name for frame in frames]))
        names = [frame.uncropped_name or frame.image_name for frame in frames]
        uncropped.append(_scene(source.name, frames, dataset, names))
        logger.info("%s: %d frames", source.name, len(frames))
    if not cropped:
        raise InputError(f"no scenes of {dataset} were found")
    written = []
    for name, listed in indices_of(dataset).items():
        write_index(root / name, dataset, with_frames(cropped, listed))
        written.append(root / name)
    tae = TAE_SETS.get(dataset)
    if tae is not None and root / tae.index not in written:
        write_index(root / tae.index, dataset, with_frames(uncropped, tae.frames))
        written.append(root / tae.index)
    return written


def _scene(name: str, frames: Sequence[RawFrame], dataset: str, images: Sequence[str]) -> Scene:
    factor = next(entry.factor for entry in EVALUATION_SETS.values() if entry.dataset == dataset)
    return Scene(
        name,
        tuple(
            Frame(image, f.depth_name, factor if f.factor is None else f.factor, f.intrinsics, f.pose)
            for image, f in zip(images, frames)
        ),
    )


def _image_crop(dataset: str, first: RawFrame, proportional: bool) -> CropImage | None:
    """What is done to images: nothing, cut to even sizes, or cropped as the table says."""
    if dataset in EVEN_SIZES:
        return lambda image, _: image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    if dataset not in IMAGE_CROPS:
        return None
    crop = IMAGE_CROPS[dataset]
    if proportional:
        image, depth = read_image(first.image, cv2.IMREAD_COLOR), read_image(first.depth, cv2.IMREAD_UNCHANGED)
        crop = _scaled(crop, image.shape[0] / depth.shape[0], image.shape[1] / depth.shape[1])
    return lambda image, path: _cropped(image, crop, path)


def _scaled(crop: Crop, rows: float, columns: float) -> Crop:
    def scale(end: int | None, factor: float) -> int | None:
        return None if end is None else round(end * factor)

    return Crop(
        round(crop.top * rows), scale(crop.bottom, rows), round(crop.left * columns), scale(crop.right, columns)
    )


def _cropped(image: Array, crop: Crop, path: Path) -> Array:
    part = image[crop.slices]
    if not part.size:
        raise InputError(f"{path} is {image.shape[1]}x{image.shape[0]}, too small for this dataset's crop")
    return part


def _extract_frame(dataset: str, frame: RawFrame, root: Path, crop: CropImage | None, link: bool) -> None:
    place(frame.image, root / frame.image_name, cv2.IMREAD_COLOR, crop, link)
    if frame.uncropped_name is not None:
        place(frame.image, root / frame.uncropped_name, cv2.IMREAD_COLOR, None, link)
    if frame.depth.suffix == ".dpt":
        write_image(root / frame.depth_name, sintel_png(read_dpt(frame.depth)))
    else:
        even = crop if dataset in EVEN_SIZES else None
        place(frame.depth, root / frame.depth_name, cv2.IMREAD_UNCHANGED, even, link)


def sintel_png(depth: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Depth in metres as 16 bits of 650 metres, as the protocol has it; what is farther is 650 metres."""
    return np.clip(np.rint(depth.astype(np.float64) * SINTEL_FACTOR), 0, 65535).astype(np.uint16)


def place(source: Path, target: Path, mode: int, crop: CropImage | None, link: bool) -> None:
    """Put an image at its place: as it is if there is nothing to crop, else cropped."""
    if crop is not None:
        image = read_image(source, mode)
        part = crop(image, source)
        if part.shape != image.shape:
            write_image(target, part)
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial_path(target).unlink(missing_ok=True)
    with whole_file(target) as partial:
        if link:
            partial.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, partial)


def read_image(path: Path, mode: int) -> Array:
    """Colour (H, W, 3) uint8 in the order BGR, or depth (H, W) uint16, by OpenCV's `mode`."""
    image = cv2.imread(str(path), mode)
    if image is None:
        raise InputError(f"{path}: not an image that can be read")
    return image


def write_image(path: Path, image: Array) -> None:
    """Write an image, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
        if not cv2.imwrite(str(partial), image, quality):
            raise OutputError(f"{path} cannot be written")
