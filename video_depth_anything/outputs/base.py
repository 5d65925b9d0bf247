"""What every output has in common: what it is given, what it must do, and the depth of a whole video on disk."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..video.timing import TimedFrame

DepthMap = npt.NDArray[np.float32]
DepthKind = Literal["disparity", "depth_metres"]


class DepthFrame(NamedTuple):
    """A frame, (H, W, 3) uint8 RGB, its depth, (H, W) float32, and when and how long it is shown, in seconds."""

    image: npt.NDArray[np.uint8]
    depth: DepthMap
    time: float
    duration: float

    @classmethod
    def of(cls, frame: TimedFrame, depth: DepthMap) -> DepthFrame:
        """A frame of the source with its depth."""
        return cls(frame.image, depth, frame.time, frame.duration)


@dataclass(frozen=True)
class RunInfo:
    """What outputs need to know of a run.

    kind: "disparity" is inverse depth up to scale and shift, larger is nearer; "depth_metres" is what it says.
    size, source_size: (H, W) of the frames processed and of the input. fps: nominal rate of the frames.
    """

    folder: Path
    name: str
    source: str
    kind: DepthKind
    size: tuple[int, int]
    source_size: tuple[int, int]
    fps: Fraction

    def path(self, ending: str) -> Path:
        """Path of an output of this run."""
        return self.folder / f"{self.name}{ending}"


class OutputWriter(Protocol):
    """What the pipeline asks of an output."""

    def write(self, frame: DepthFrame) -> None:
        """Take the next frame."""

    def close(self) -> None:
        """Finish: the output has its final name afterwards."""

    def abort(self) -> None:
        """Remove what is not whole."""

    def written(self) -> list[str]:
        """What it wrote, for the user to find."""


class Finished(Exception):
    """An output asks for the end: its window was closed, or nobody reads it any more."""


class Spool:
    """Arrays of one shape on disk, for outputs that need a second look; the file has no name and goes with the object.

    Args:
        folder: on whose disk. shape, dtype: of each array.
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
        self._file.close()


class ValueRange:
    """Lowest and highest finite value seen; (0, 0) before there is one."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf

    def update(self, depth: DepthMap) -> tuple[float, float]:
        """Take a map and return (low, high) of all so far."""
        finite = depth[np.isfinite(depth)]
        if finite.size:
            self._low, self._high = min(self._low, float(finite.min())), max(self._high, float(finite.max()))
        return self.ends

    @property
    def ends(self) -> tuple[float, float]:
        """(low, high)."""
        return (self._low, self._high) if self._low <= self._high else (0.0, 0.0)
