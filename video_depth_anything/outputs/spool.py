"""The depth of a whole video on disk, for outputs that need its range before they can write a frame."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..video.frame import Frame
from ..video.timing import PlayTime
from .base import OutputWriter, RunInfo, ValueRange

# From the run, its rate corrected, and the lowest and highest value of the video to an output.
MakeLate = Callable[[RunInfo, tuple[float, float]], OutputWriter]


class Spool:
    """Arrays of one shape on disk, for outputs that need a second look; the file has no name and goes with the object.

    Args:
        folder: on whose disk.
        shape: of each array.
        dtype: of each array.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.count = 0
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)

    def append(self, array: npt.NDArray[Any]) -> None:
        """Add an array."""
        self._file.write(np.ascontiguousarray(array, dtype=self._dtype).data)
        self.count += 1

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """The arrays in the order they came, one in memory at a time."""
        self._file.seek(0)
        size = self._dtype.itemsize * math.prod(self._shape)
        for _ in range(self.count):
            yield np.frombuffer(self._file.read(size), self._dtype).reshape(self._shape)

    def close(self) -> None:
        """Give the disk space back."""
        with contextlib.suppress(OSError):  # what a full disk did not take is not missed
            self._file.close()


class LateOutputs:
    """Outputs that are written at the end, from frames spooled to disk, when the range of the video is known.

    Args:
        makers: one for each output.
        keep_images: whether one of them shows the source's frames too.
    """

    def __init__(self, info: RunInfo, makers: Sequence[MakeLate], keep_images: bool) -> None:
        self._info = info
        self._makers = makers
        self._writers: list[OutputWriter] = []
        self._play = PlayTime()
        self._range = ValueRange()
        self._depths = Spool(info.folder, info.size, np.float32)
        self._facts = Spool(info.folder, (4,), np.float64)
        self._images = Spool(info.folder, (*info.size, 3), np.uint8) if keep_images else None

    def write(self, frame: Frame) -> None:
        self._depths.append(frame.depth)
        unsure = (math.nan if value is None else value for value in (frame.number, frame.source_time))
        self._facts.append(np.array([frame.time, frame.duration, *unsure]))
        if self._images is not None:
            self._images.append(frame.image)
        self._range.update(frame.depth)
        self._play.add(frame.time, frame.duration)

    def close(self) -> None:
        info = replace(self._info, fps=self._play.rate(self._info.fps))
        try:
            for make in self._makers:
                self._writers.append(make(info, self._range.ends))
            for frame in self._frames():
                for writer in self._writers:
                    writer.write(frame)
            for writer in self._writers:
                writer.close()
        finally:
            self._close_spools()

    def _frames(self) -> Iterator[Frame]:
        blank: npt.NDArray[np.uint8] = np.broadcast_to(np.uint8(0), (*self._info.size, 3))
        images = iter(self._images) if self._images is not None else repeat(blank)
        for depth, (time, duration, number, source_time), image in zip(self._depths, self._facts, images):
            numbered = None if math.isnan(number) else int(number)
            stamp = None if math.isnan(source_time) else float(source_time)
            yield Frame(image, float(time), float(duration), numbered, stamp, depth)

    def _close_spools(self) -> None:
        for spool in (self._depths, self._facts, self._images):
            if spool is not None:
                spool.close()

    def abort(self) -> None:
        self._close_spools()
        abort_all(self._writers)

    def written(self) -> list[str]:
        return [path for writer in self._writers for path in writer.written()]


def abort_all(writers: Sequence[OutputWriter]) -> None:
    """Abort every one of them, whatever the others raise; the first error of the kind is raised at the end."""
    with contextlib.ExitStack() as stack:
        for writer in reversed(writers):
            stack.callback(writer.abort)
