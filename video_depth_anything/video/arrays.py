"""Frames that a program has in memory, as a reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from ..errors import InputError
from .frame import Frame, Image
from .reader import Reader
from .timing import as_rate


class ArrayReader(Reader):
    """Frames in memory, (H, W, 3) uint8 RGB of one size, at a constant rate; `count` of them, if that is known."""

    name = "memory"

    def __init__(self, frames: Iterable[Image], fps: float, count: int | None = None) -> None:
        images = iter(frames)
        first = next(images, None)
        if first is None:
            raise InputError("the video has no frames")
        self._images = chain((first,), images)
        self.fps = as_rate(fps)
        self.expected_frames = count

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            yield Frame(image, float(index / self.fps), float(1 / self.fps))

    def close(self) -> None:
        """Nothing is held open."""
