"""The base of all outputs, and what they are made from."""

from __future__ import annotations

import contextlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..video.frame import DepthMap, Frame
from .options import CameraOptions, DepthKind, OutputOptions
from .values import Values

if TYPE_CHECKING:
    from ..video.sound import AudioTrack
    from ..video.source import Source


class Numbering(NamedTuple):
    """Names of frame files: the text before and after the number, and its minimum number of digits."""

    before: str = "frame_"
    digits: int = 5
    after: str = ""

    def name(self, number: int) -> str:
        return f"{self.before}{number:0{self.digits}d}{self.after}"


@dataclass(frozen=True)
class RunInfo:
    """What writers are made from. Sizes are (H, W)."""

    folder: Path  # the output folder
    name: str  # prefix of their names
    source: str  # the input's file or address, for display
    kind: DepthKind
    size: tuple[int, int]  # of the frames processed
    source_size: tuple[int, int]
    fps: Fraction  # nominal rate of the frames
    start: float = 0.0  # time of the first frame in the input, in seconds
    pixel_aspect: float = 1.0  # width over height of the source's pixels: frames are stretched, depth values are not
    provenance: Mapping[str, str] = field(default_factory=dict)  # of the values, as written to files
    options: OutputOptions = OutputOptions()
    camera: CameraOptions = CameraOptions()
    ends: tuple[float, float] | None = None  # lowest and highest value of the video, if known in advance
    audio: AudioTrack | None = None
    original: Source | None = None  # the source, if its packets may be copied
    numbering: Numbering = Numbering()  # noqa: RUF009 - immutable

    def path(self, ending: str) -> Path:
        return self.folder / f"{self.name}{ending}"

    @property
    def values(self) -> Values:
        """How numeric outputs transform depth."""
        return Values(self.kind, "raw" if self.ends is None else self.options.depth, self.ends, self.grid)

    @property
    def grid(self) -> tuple[int, int]:
        """Size (H, W) of the stored values."""
        (height, width), aspect = self.size, self.pixel_aspect
        return (height, max(round(width / aspect), 1)) if aspect >= 1 else (max(round(height * aspect), 1), width)

    def facts(self) -> dict[str, str | float]:
        """Meaning and origin of the values, as written to files."""
        aspect = {} if self.pixel_aspect == 1 else {"pixel_aspect": self.pixel_aspect}
        return {**self.values.facts(), **self.provenance, **aspect}


class OutputWriter(ABC):
    """Interface of outputs; those of the registry are made from a `RunInfo`."""

    shown_as = ""  # name in the closing line of an output that is not a file

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Take the next frame."""

    def close(self) -> None:  # noqa: B027 - some have nothing to finish
        """Complete the output."""

    def abort(self) -> None:
        """Remove what is incomplete; no other method is called afterwards."""
        self.close()


class Finished(Exception):
    """An output ends the run: its window was closed."""


class ReaderGone(Finished):
    """The reader of an output has gone; other outputs continue."""


class ValueRange:
    """Lowest and highest finite value so far; (0, 0) before the first."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf
        self.ends = 0.0, 0.0

    def update(self, depth: DepthMap) -> tuple[float, float]:
        """Take a map and return (low, high) of all so far."""
        low, high = float(depth.min()), float(depth.max())
        if not math.isfinite(low + high):  # rare: NaN or infinite pixels
            finite = depth[np.isfinite(depth)]
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)
        self._low, self._high = min(self._low, low), max(self._high, high)
        if self._low <= self._high:
            self.ends = self._low, self._high
        return self.ends


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file; remove it if writing fails."""
    try:
        path.write_bytes(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def as_json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def abort_all(writers: Sequence[OutputWriter]) -> None:
    """Abort all writers, even if some fail; then raise the first `OutputError`."""
    with contextlib.ExitStack() as stack:
        for writer in reversed(writers):
            stack.callback(writer.abort)
