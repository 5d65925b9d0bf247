"""Reads image sequences, and single or animated images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from ..errors import InputError
from .colorspaces import Colorspace
from .containers import USUAL_LIMITS, Limits
from .deep_images import ImageError, Page
from .frame import Frame
from .image_files import read_pages, told_size
from .names import printable
from .reader import Reader
from .sequences import frame_numbers, numbered
from .timing import as_rate

logger = logging.getLogger(__name__)


class ImageReader(Reader):
    """Reads image files as frames; iterated once.

    A single file gives all its frames or pages, with its own durations if it has any; each of several files gives its
    first. Numbers in file names become `Frame.number`. InputError if the first cannot be read, or if sizes differ.
    """

    name = "images"

    def __init__(
        self, paths: Sequence[Path], image_fps: float, colorspace: Colorspace = "auto", limits: Limits = USUAL_LIMITS
    ) -> None:
        self._paths = paths
        self.images = paths
        self._read = partial(read_pages, colorspace=colorspace, max_pixels=limits.max_pixels)
        self._numbers = frame_numbers(paths)
        self.fps = as_rate(image_fps)
        self.expected_frames = len(paths)
        self._pages = self._read(paths[0])
        try:
            self._first = next(self._pages)
        except (ImageError, StopIteration) as error:
            reason = f"not an image, or damaged: {str(error) or 'it is empty'}"
            raise InputError(f"cannot read the image {printable(paths[0])}: {reason}") from error
        self.pixel_aspect = self._first.pixel_aspect
        if len(paths) == 1:
            self.fps = as_rate(1 / self._first.seconds) if self._first.seconds else self.fps
            self.expected_frames = self._first.total
        for path in paths[1:]:
            told = told_size(path)
            if told is None:
                break  # the sequence may end here
            if told != self._first.image.shape[:2]:
                raise self._other_size(path, told)
        if self._first.note:
            logger.info("%s: %s", printable(paths[0]), self._first.note)
        self._say_gaps()

    def __iter__(self) -> Iterator[Frame]:
        step = float(1 / self.fps)
        size = self._first.image.shape
        time = 0.0
        for index, (path, page) in enumerate(self._all_pages()):
            if page.image.shape != size:
                raise self._other_size(path, page.image.shape[:2])
            number = self._numbers[index] if self._numbers is not None and index < len(self._numbers) else None
            seconds = step if page.seconds is None else page.seconds
            yield Frame(page.image, time, seconds, number)
            # A sum of many equal steps would drift.
            time = (index + 1) * step if page.seconds is None else time + seconds

    def _other_size(self, path: Path, size: tuple[int, ...]) -> InputError:
        found, first = (f"{side[1]}x{side[0]}" for side in (size, self._first.image.shape))
        return InputError(f"the image {printable(path)} is {found}, but {printable(self._paths[0].name)} is {first}")

    def close(self) -> None:
        self._pages.close()

    def _all_pages(self) -> Iterator[tuple[Path, Page]]:
        path = self._paths[0]
        yield path, self._first
        try:
            if len(self._paths) == 1:
                yield from ((path, page) for page in self._pages)
            for path in self._paths[1:]:
                yield path, next(self._read(path))
        except (ImageError, StopIteration) as error:
            text = "cannot read the image %s: not an image, or damaged: %s; the sequence ends before it"
            logger.warning(text, printable(path), error)

    def _say_gaps(self) -> None:
        missing = [(a + 1, b - 1) for a, b in pairwise(self._numbers or ()) if b > a + 1]
        if missing:
            ranges = [f"{low}" if low == high else f"{low} to {high}" for low, high in missing]
            more = f" and {len(ranges) - 3} more" if len(ranges) > 3 else ""
            folder = printable(self._paths[0].parent)
            logger.warning("the images in %s skip the numbers %s%s", folder, ", ".join(ranges[:3]), more)
        if self._numbers is None and len(self._paths) > 1 and any(numbered(path) for path in self._paths):
            text = "the images in %s are not one numbered sequence; all are read as one video; a pattern selects one"
            logger.warning(text, printable(self._paths[0].parent))
