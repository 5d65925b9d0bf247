"""Frame rates as fractions, the choice of frames by their time, and how long what was chosen plays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frame import Frame


# A tie between two frames must fall the same way whichever reader rounded the times, so "nearest" stops short of half.
NEAREST = 0.45
# Rates are often written with two decimals: 23.98 is off by 1.6e-4, while 24 differs from 23.976 by 1e-3.
SAME_RATE = 2e-4
# Frames by which a rate may change a video's length.
SAME_LENGTH = 0.5
# Of rates that are no standard ones; the error is less than half a frame in a day of video.
LARGEST_DENOMINATOR = 100_000
# A last frame that would play beyond the source's end by more than half a frame is left out.
LAST_FRAME = 0.49


def as_rate(fps: float, frames: int | None = None) -> Fraction:
    """The exact frame rate that a rounded one stands for: 29.97 is 30000/1001, 24.0 is 24.

    Args:
        fps: frames a second.
        frames: how many frames play at that rate, if known. A standard rate that would make them half a frame longer or
            shorter altogether is another rate.

    Raises:
        ValueError: if fps is not a positive, finite number.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"frame rate {fps} is not a positive number")
    nearest = round(fps)
    for candidate in (Fraction(nearest), Fraction(nearest * 1000, 1001)):
        off = abs(fps / candidate - 1) if nearest else 1.0
        if off < SAME_RATE and (frames is None or off * frames <= SAME_LENGTH):
            return candidate
    rate = Fraction(fps).limit_denominator(LARGEST_DENOMINATOR)
    # Headers that are damaged say days for a frame; containers hold numbers of 32 bits.
    return rate or Fraction(1, min(round(1 / fps), 2**31 - 1))


def parse_target_fps(target_fps: float | str | Fraction) -> Fraction | None:
    """A wanted frame rate as a fraction; None for all frames (-1).

    Raises:
        ValueError: if it is neither -1 nor a positive number or fraction.
    """
    try:
        rate = Fraction(str(target_fps))
    except ZeroDivisionError as error:
        raise ValueError(f"{target_fps} is not a frame rate") from error
    if rate == -1:
        return None
    if rate <= 0:
        raise ValueError(f"{target_fps} is not a positive frame rate; -1 keeps all frames")
    return as_rate(float(rate)) if rate.denominator > 1001 else rate


def choose_frames(frames: Iterable[Frame], source_fps: float, target_fps: Fraction | None) -> Iterator[Frame]:
    """Thin frames out to `target_fps` by their times, so that what is kept plays as long as what was read.

    Frame k is the first one nearest to k / target_fps after the first frame's time. None, or a rate not below the
    source's, keeps every frame. A kept frame's duration lasts until the next kept one. Holds two frames back, to know
    whether the last one fits.

    Args:
        frames: in rising order of time.
        source_fps: mean rate of the source.
    """
    if target_fps is None or target_fps >= source_fps * (1 - SAME_RATE):
        yield from frames
        return
    period, tolerance = 1 / float(target_fps), NEAREST / source_fps
    held: list[Frame] = []
    first = end = 0.0
    slots = 0
    for frame in frames:
        first = frame.time if slots == 0 else first
        end = frame.end
        elapsed = frame.time - first
        if elapsed < slots * period - tolerance:
            continue
        held.append(frame)
        if len(held) > 2:
            yield _until(held.pop(0), held[0].time)
        # A pause longer than a period leaves its slots empty instead of repeating what was shown before it.
        slots = max(slots, int((elapsed + tolerance) / period)) + 1
    if len(held) > 1 and end - (first + (slots - 1) * period) < LAST_FRAME * period:
        held.pop()
    for frame, following in zip(held, [*(f.time for f in held[1:]), end]):
        yield _until(frame, following)


def _until(frame: Frame, time: float) -> Frame:
    frame.duration = time - frame.time
    return frame


def trim(frames: Iterable[Frame], start: float, end: float | None) -> Iterator[Frame]:
    """Frames shown at `start` seconds or later and before `end`; their times count from the first one kept."""
    offset: float | None = None
    for frame in frames:
        # A time that was rounded in the file must not fall before the second it was meant to be.
        if end is not None and frame.time > end - 1e-3:
            return
        if frame.time > start - 1e-3:
            offset = frame.time if offset is None else offset
            frame.time -= offset
            yield frame


class PlayTime:
    """How many frames have come and how long they play; a few numbers, whatever the video's length."""

    def __init__(self) -> None:
        self.count = 0
        self._first = 0.0
        self._end = 0.0

    def add(self, time: float, duration: float) -> None:
        """Count a frame."""
        if self.count == 0:
            self._first = time
        self.count += 1
        self._end = time + duration

    @property
    def seconds(self) -> float:
        """From the first frame's start to the last one's end."""
        return self._end - self._first

    def rate(self, nominal: Fraction) -> Fraction:
        """The rate at which the frames play as long as they did, to half a frame: `nominal` where that does."""
        if self.count == 0 or abs(self.count - self.seconds * nominal) <= SAME_LENGTH:
            return nominal
        return as_rate(self.count / self.seconds, self.count)
