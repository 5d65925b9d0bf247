"""Frame rates as fractions, and the choice of frames by their time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# A tie between two frames must fall the same way whichever reader rounded the times, so "nearest" stops short of half.
NEAREST = 0.45
# Rates are often written with two decimals: 23.98 is off by 1.6e-4, while 24 differs from 23.976 by 1e-3.
SAME_RATE = 2e-4
# A last frame that would play beyond the source's end by more than half a frame is left out.
LAST_FRAME = 0.49


class TimedFrame(NamedTuple):
    """A decoded frame, (H, W, 3) uint8 RGB, and the time in seconds at which it is shown."""

    image: npt.NDArray[np.uint8]
    time: float


def as_rate(fps: float) -> Fraction:
    """The exact frame rate that a rounded one stands for: 29.97 is 30000/1001, 24.0 is 24.

    Raises:
        ValueError: if fps is not a positive, finite number.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"frame rate {fps} is not a positive number")
    nearest = round(fps)
    for candidate in (Fraction(nearest), Fraction(nearest * 1000, 1001)):
        if nearest and abs(fps / candidate - 1) < SAME_RATE:
            return candidate
    return Fraction(fps).limit_denominator(1000) or Fraction(fps)


def choose_frames(frames: Iterable[TimedFrame], source_fps: float, target_fps: Fraction | None) -> Iterator[TimedFrame]:
    """Thin frames out to `target_fps` by their times, so that what is kept plays as long as what was read.

    Frame k is the first one nearest to k / target_fps after the first frame's time. None, or a rate not below the
    source's, keeps every frame. Holds one frame back, to know whether the last one fits.

    Args:
        frames: in rising order of time.
        source_fps: mean rate of the source.
    """
    if target_fps is None or target_fps >= source_fps * (1 - SAME_RATE):
        yield from frames
        return
    period, source_period = 1 / float(target_fps), 1 / source_fps
    held: TimedFrame | None = None
    first, last, taken = 0.0, 0.0, 0
    for frame in frames:
        if taken == 0:
            first = frame.time
        last = frame.time
        if last - first < taken * period - NEAREST * source_period:
            continue
        if held is not None:
            yield held
        held = frame
        # A pause longer than a period leaves its slots empty instead of repeating what was shown before it.
        taken = max(taken, int((last - first + NEAREST * source_period) / period)) + 1
    if held is not None:
        remaining = last + source_period - (first + (taken - 1) * period)
        if taken == 1 or remaining >= LAST_FRAME * period:
            yield held
