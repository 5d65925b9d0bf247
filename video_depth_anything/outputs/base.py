"""What every output has in common: what it is given, and what it must do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from ..video.frame import DepthMap, Frame
from ..video.stream_clock import Joint
from .options import Provenance

DepthKind = Literal["disparity", "depth_metres"]


@dataclass(frozen=True)
class RunInfo:
    """What outputs need to know of a run.

    Attributes:
        folder: where they write.
        name: what their names begin with.
        source: the input's file or address.
        kind: "disparity" is inverse depth up to scale and shift, larger is nearer; "depth_metres" is what it says.
        size: (H, W) of the frames processed.
        source_size: (H, W) of the input's frames.
        fps: nominal rate of the frames.
        start: seconds of the input before the first frame.
        pixel_aspect: width of a pixel over its height.
        provenance: of the numbers; None: not known.
    """

    folder: Path
    name: str
    source: str
    kind: DepthKind
    size: tuple[int, int]
    source_size: tuple[int, int]
    fps: Fraction
    start: float = 0.0
    pixel_aspect: float = 1.0
    provenance: Provenance | None = None

    def path(self, ending: str) -> Path:
        """Path of an output of this run."""
        return self.folder / f"{self.name}{ending}"

    def origin(self) -> dict[str, str]:
        """The provenance as outputs name it; empty if it is not known."""
        return {} if self.provenance is None else self.provenance.facts()


class Source(Protocol):
    """What outputs ask of the video that they are made from; `video.source.VideoSource` is one."""

    location: str
    name: str
    size: tuple[int, int]
    source_size: tuple[int, int]
    fps: Fraction
    expected: int | None
    pixel_aspect: Fraction
    first_time: float | None

    @property
    def joints(self) -> Sequence[Joint]: ...

    @property
    def copyable(self) -> bool: ...


class OutputWriter(Protocol):
    """What the pipeline asks of an output."""

    def write(self, frame: Frame) -> None:
        """Take the next frame."""

    def close(self) -> None:
        """Finish: the output has its final name afterwards."""

    def abort(self) -> None:
        """Remove what is not whole; nothing more is asked of it afterwards."""

    def written(self) -> list[str]:
        """What it wrote, for the user to find."""


class Finished(Exception):
    """An output asks for the end: its window was closed."""


class ReaderGone(Finished):
    """Nobody reads an output any more; where there are others, they go on without it."""


class ValueRange:
    """Lowest and highest finite value seen; (0, 0) before there is one."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf

    def update(self, depth: DepthMap) -> tuple[float, float]:
        """Take a map and return (low, high) of all so far."""
        low, high = float(depth.min()), float(depth.max())
        if not math.isfinite(low + high):  # rare: something in it is no number, or infinite
            finite = depth[np.isfinite(depth)]
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)
        self._low, self._high = min(self._low, low), max(self._high, high)
        return self.ends

    @property
    def ends(self) -> tuple[float, float]:
        """(low, high)."""
        return (self._low, self._high) if self._low <= self._high else (0.0, 0.0)
