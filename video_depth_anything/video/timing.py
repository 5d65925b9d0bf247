"""Frame rates as fractions, and the choice of frames by their time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frame import Frame

# Ties between two frames must not depend on how a reader rounded the times, so "nearest" stops short of half.
NEAREST = 0.45
# Rates are often written with two decimals: 23.98 has an error of 1.6e-4, while 24 differs from 23.976 by 1e-3.
SAME_RATE = 2e-4
# Frames by which a rate may change a video's length.
SAME_LENGTH = 0.5
# For non-standard rates; the error is less than half a frame per day of video.
LARGEST_DENOMINATOR = 100_000
# A last frame that would end more than half a frame after the source is dropped.
LAST_FRAME = 0.49
# Rounding of times in files, in seconds.
ROUNDED = 1e-3
# Assumed rate of a file that neither states nor shows one.
USUAL_RATE = Fraction(25)


def as_rate(fps: float, frames: int | None = None) -> Fraction:
    """The exact frame rate for a rounded one: 30000/1001 for 29.97, 24 for 24.0.

    A standard rate is used unless it changes the total length of `frames` by more than half a frame. ValueError if
    `fps` is not a positive, finite number.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"frame rate {fps} is not a positive number")
    nearest = round(fps)
    for candidate in (Fraction(nearest), Fraction(nearest * 1000, 1001)):
        off = abs(fps / candidate - 1) if nearest else 1.0
        if off < SAME_RATE and (frames is None or off * frames <= SAME_LENGTH):
            return candidate
    rate = Fraction(fps).limit_denominator(LARGEST_DENOMINATOR)
    # Damaged headers may state days per frame; containers store 32-bit numbers.
    return rate or Fraction(1, min(round(1 / fps), 2**31 - 1))


def rate_of(times: list[float]) -> Fraction:
    """The rate of these times, by their median step, on which a pause has no effect."""
    steps = sorted(after - before for before, after in pairwise(times) if after > before)
    return as_rate(1 / steps[len(steps) // 2]) if steps else USUAL_RATE


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


def choose_frames(
    frames: Iterable[Frame],
    source_fps: float,
    target_fps: Fraction | None = None,
    start: float = 0.0,
    end: float | None = None,
    hold: int = 2,
) -> Iterator[Frame]:
    """Yield the frames of a time span, thinned out by their times so that the duration stays the same.

    Times count from the first frame kept. With a target rate below the source's, kept frame k is the one nearest to
    k / rate and gets that time; it lasts until the next kept one. `hold` frames are delayed: 2 to know whether the last
    one fits; 0 for live sources.
    """
    rate = target_fps or Fraction(source_fps)
    thinned = rate < source_fps * (1 - SAME_RATE)
    period, near = float(1 / rate), 1 / source_fps
    held: list[Frame] = []
    begin = first = None
    slots, seen = 0, 0.0
    for frame in frames:
        begin = frame.time if begin is None else begin
        since = frame.time - begin
        # Rounding in the file must not put a time before the intended second.
        if end is not None and since > end - ROUNDED:
            break
        if since <= start - ROUNDED:
            continue
        first = frame.time if first is None else first
        frame.time -= first
        if not thinned:
            yield frame
            continue
        seen = frame.end
        if frame.time < slots * period - NEAREST * near:
            continue
        # A pause longer than a period leaves slots empty; the frame before it is not repeated.
        slots = max(slots, int((frame.time + NEAREST * near) / period))
        if abs(frame.time - slots * period) < (1 - NEAREST) * near + ROUNDED:
            frame.time = float(slots / rate)
        slots += 1
        if not hold:
            frame.duration = period
            yield frame
            continue
        held.append(frame)
        if len(held) > hold:
            yield _until(held.pop(0), held[0].time)
    if len(held) > 1 and seen - (slots - 1) * period < LAST_FRAME * period:
        held.pop()
    for frame, following in zip(held, [*(f.time for f in held[1:]), seen]):
        yield _until(frame, following)


def _until(frame: Frame, time: float) -> Frame:
    frame.duration = time - frame.time
    return frame


def played_rate(nominal: Fraction, count: int, seconds: float) -> Fraction:
    """A rate that gives these frames this duration, to half a frame: `nominal` if it does."""
    if count == 0 or abs(count - seconds * nominal) <= SAME_LENGTH:
        return nominal
    return as_rate(count / seconds, count)
