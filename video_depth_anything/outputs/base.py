"""What every output has in common: what it is made from, and what it must do."""

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
    """How files of frames are called: what stands before and after the number, and its digits at least."""

    before: str = "frame_"
    digits: int = 5
    after: str = ""

    def name(self, number: int) -> str:
        return f"{self.before}{number:0{self.digits}d}{self.after}"


@dataclass(frozen=True)
class RunInfo:
    """What writers are made from. Sizes are (H, W)."""

    folder: Path  # where they write
    name: str  # what their names begin with
    source: str  # the input's file or address, for people
    kind: DepthKind
    size: tuple[int, int]  # of the frames processed
    source_size: tuple[int, int]
    fps: Fraction  # nominal rate of the frames
    start: float = 0.0  # seconds of the input before the first frame
    pixel_aspect: float = 1.0  # of the source's pixels, width over height: frames are stretched, numbers are not
    provenance: Mapping[str, str] = field(default_factory=dict)  # of the numbers, as files state it
    options: OutputOptions = OutputOptions()
    camera: CameraOptions = CameraOptions()
    ends: tuple[float, float] | None = None  # lowest and highest value of the video, where known beforehand
    audio: AudioTrack | None = None
    original: Source | None = None  # the source, if its packets may be copied
    numbering: Numbering = Numbering()  # noqa: RUF009 - immutable

    def path(self, ending: str) -> Path:
        return self.folder / f"{self.name}{ending}"

    @property
    def values(self) -> Values:
        """What numeric outputs write."""
        return Values(self.kind, "raw" if self.ends is None else self.options.depth, self.ends, self.grid)

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) of the numbers."""
        (height, width), aspect = self.size, self.pixel_aspect
        return (height, max(round(width / aspect), 1)) if aspect >= 1 else (max(round(height * aspect), 1), width)

    def facts(self) -> dict[str, str | float]:
        """What the numbers are and where they come from, as files state it."""
        aspect = {} if self.pixel_aspect == 1 else {"pixel_aspect": self.pixel_aspect}
        return {**self.values.facts(), **self.provenance, **aspect}


class OutputWriter(ABC):
    """What the pipeline asks of an output; those of the registry are made from a `RunInfo`."""

    shown_as = ""  # what the closing line calls an output that is no file

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Take the next frame."""

    def close(self) -> None:  # noqa: B027 - some have nothing to finish
        """Finish."""

    def abort(self) -> None:
        """Remove what is not whole; nothing more is asked of it afterwards."""
        self.close()


class Finished(Exception):
    """An output asks for the end: its window was closed."""


class ReaderGone(Finished):
    """Nobody reads an output any more; where there are others, they go on without it."""


class ValueRange:
    """Lowest and highest finite value seen; (0, 0) before there is one."""

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
    """Write a file, or remove it if it could not be written to its end."""
    try:
        path.write_bytes(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def as_json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def abort_all(writers: Sequence[OutputWriter]) -> None:
    """Abort every one of them, whatever the others raise; the first error of the kind is raised at the end."""
    with contextlib.ExitStack() as stack:
        for writer in reversed(writers):
            stack.callback(writer.abort)
