"""Options for inputs, as data. Imports nothing heavy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from ..errors import UsageError
from ..options import BadValue, limit, option, positive_float, positive_int, resolution, seconds
from .timing import parse_target_fps

Colorspace = Literal["auto", "linear", "srgb", "rec709", "log"]
COLORSPACES: tuple[Colorspace, ...] = get_args(Colorspace)
MAX_PIXELS = 7680 * 4320  # 8K
MAX_FPS = 100_000
TIMEOUT = 30.0


def frame_rate(text: str) -> Fraction | None:
    """A positive number or fraction of frames per second; None for -1, all frames."""
    try:
        return parse_target_fps(text)
    except ValueError as error:
        raise BadValue(f"{text!r} is not a positive number, a fraction or -1") from error


def sequence_rate(text: str) -> float:
    """A positive number or fraction of frames per second."""
    with suppress(ValueError, OverflowError):
        if 0 < (rate := float(parse_target_fps(text) or 0)) <= MAX_FPS:
            return rate
    raise BadValue(f"{text!r} is not a number or fraction above zero, up to {MAX_FPS}")


@dataclass(frozen=True)
class FrameRange:
    """From the first number to the last, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @classmethod
    def parse(cls, text: str) -> FrameRange:
        """From "1050-1080", or from one number."""
        first, dash, last = text.partition("-")
        found = [int(number) for number in (first, last if dash else first) if number.isdecimal()]
        if len(found) < 2 or found[0] > found[1]:
            raise BadValue(f"{text!r} is not a frame number or a range such as 1050-1080")
        return cls(*found)


@dataclass(frozen=True)
class Selection:
    """Which frames of an input are used, how large, and how images are interpreted.

    frames: those that are written; depth of the others is computed too, because theirs depends on it. target_fps: None
    keeps all. start, end: seconds from the first frame; end None: to the end.
    """

    max_res: int = option(-1, "limit of the longer side; -1: none", resolution, metavar="PIXELS")
    target_fps: Fraction | None = option(None, "frames per second to keep; -1: all", frame_rate, metavar="FPS")
    max_len: int = option(-1, "maximum number of frames; -1: all", limit, metavar="FRAMES")
    start: float = option(0.0, "skip everything before this time", seconds, metavar="SECONDS")
    end: float | None = option(None, "skip everything after this time", seconds, metavar="SECONDS")
    frames: FrameRange | None = option(
        None, "write only these: file numbers, or counted from 0", FrameRange.parse, metavar="FIRST-LAST"
    )
    image_fps: float = option(24.0, "frame rate of image sequences", sequence_rate, metavar="FPS")
    live: bool | None = option(
        None, "whether the input is live (default: yes unless it has a length or is a file)", bool
    )
    reconnect: bool = option(False, "reopen a live source that was lost", compared=False)
    colorspace: Colorspace = option("auto", "of images; auto: by format", choices=COLORSPACES)

    def __post_init__(self) -> None:
        if self.end is not None and self.end <= self.start:
            raise UsageError(f"--end {self.end:g} is not after --start {self.start:g}")


@dataclass(frozen=True)
class Limits:
    """Limits on inputs.

    An input that is not `trusted` must be a file in a container that holds all its data: no address and no playlist,
    which would make the program read other files. Sizes in the header are checked before anything is decoded.
    """

    trusted: bool = True
    max_pixels: int = option(MAX_PIXELS, "refuse larger frames", positive_int, metavar="N", compared=False)
    timeout: float = option(
        TIMEOUT, "how long an input may stay silent", positive_float, metavar="SECONDS", compared=False
    )


USUAL_LIMITS = Limits()
