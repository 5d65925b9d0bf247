"""What --input_video may be: video files, folders and patterns of images, network addresses, lists of these."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ..errors import InputError
from .realtime import CameraReader
from .source import Selection, VideoSource, open_video
from .timing import TimedFrame

IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


@dataclass(frozen=True)
class Input:
    """One run's input: a video at `location`, `images` in order, or a camera whose number is the location.

    `name` is what its outputs are called.
    """

    name: str
    location: str
    images: tuple[Path, ...] = ()
    camera: bool = False

    def open(self, selection: Selection, image_fps: float | None = None) -> VideoSource:
        """Open it.

        Args:
            image_fps: frames a second that images stand for, instead of the selection's.

        Raises:
            InputError: if it is missing or cannot be read.
        """
        if self.camera:
            return VideoSource(self.location, selection, [CameraReader], self.name)
        if not self.images:
            return open_video(self.location, selection, self.name)
        fps = image_fps or selection.image_fps
        return VideoSource(self.location, selection, [lambda _: ImageReader(self.images, fps)], self.name)


class ImageReader:
    """Reads image files as frames: gray is repeated to three channels, transparency is dropped, 16 bits become 8."""

    name = "images"

    def __init__(self, paths: Sequence[Path], fps: float) -> None:
        self.fps = fps
        self.num_frames: int | None = len(paths)
        self.expected_frames: int | None = self.num_frames
        self._paths = paths

    def __iter__(self) -> Iterator[TimedFrame]:
        import cv2

        size: tuple[int, ...] | None = None
        for index, path in enumerate(self._paths):
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise InputError(f"cannot read the image {path}: not an image, or damaged")
            size = size or image.shape
            if image.shape != size:
                found, first = f"{image.shape[1]}x{image.shape[0]}", f"{size[1]}x{size[0]}"
                raise InputError(f"the image {path} is {found}, but {self._paths[0].name} is {first}")
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            yield TimedFrame(rgb, index / self.fps, 1 / self.fps)

    def close(self) -> None:
        """Nothing is held open."""


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sorting key by which frame2 comes before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", path.name)]


def expand_inputs(arguments: Iterable[str], cameras: bool = False) -> list[Input]:
    """Inputs that command line arguments name, each with a name of its own.

    An argument is a video file, a folder of images, a pattern (images that match are one input, videos one each), an
    http, https or rtsp address, or `-` for a list of these on standard input, one a line; with `cameras` also a
    camera's number.

    Raises:
        InputError: if a folder or a pattern holds no images or videos. A missing file is found out when it is opened.
    """
    inputs: list[Input] = []
    for argument in listed(arguments):
        is_camera = cameras and argument.isdecimal()
        for found in [Input(f"camera{argument}", argument, camera=True)] if is_camera else _expand(argument):
            taken = {other.name for other in inputs}
            name, number = found.name, 2
            while name in taken:
                name, number = f"{found.name}_{number}", number + 1
            inputs.append(replace(found, name=name))
    if not inputs:
        raise InputError("no inputs: the list on standard input is empty")
    return inputs


def listed(arguments: Iterable[str]) -> Iterator[str]:
    """The arguments with `-` replaced by the lines of standard input."""
    for argument in arguments:
        if argument == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield argument


def _expand(argument: str) -> list[Input]:
    if "://" in argument:
        parts = urlsplit(argument)
        return [Input(Path(parts.path).stem or parts.hostname or "stream", argument)]
    path = Path(argument)
    if path.is_dir():
        images = _images(path.iterdir())
        if not images:
            raise InputError(f"the folder {argument} holds no images; name a video file, or a pattern such as '*.mp4'")
        return [Input(path.resolve().name, argument, images)]
    if not path.exists() and glob.has_magic(argument):
        return _expand_pattern(argument)
    if path.suffix.lower() in IMAGE_ENDINGS and path.exists():
        return [Input(path.stem, argument, (path,))]
    return [Input(path.stem, argument)]


def _expand_pattern(pattern: str) -> list[Input]:
    found = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - absolute patterns too
    images = _images(found)
    videos = sorted((p for p in found if p.is_file() and p not in images), key=natural_key)
    if not images and not videos:
        raise InputError(f"no file matches {pattern}")
    inputs = [Input(video.stem, str(video)) for video in videos]
    if images:
        inputs.insert(0, Input(images[0].resolve().parent.name or "images", pattern, images))
    return inputs


def _images(paths: Iterable[Path]) -> tuple[Path, ...]:
    wanted = (p for p in paths if p.suffix.lower() in IMAGE_ENDINGS and not p.name.startswith(".") and p.is_file())
    return tuple(sorted(wanted, key=natural_key))
