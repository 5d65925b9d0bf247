"""The times of a stream's frames or packets, as they should have been."""

from __future__ import annotations

import logging
from fractions import Fraction

from .names import printable

logger = logging.getLogger(__name__)

# A step longer than this, in a format that may begin its count anew, is where two recordings were joined.
JUMP = 10.0
# In other formats a long step is a still picture, as screen recordings have them, unless it is absurd.
ABSURD_STEP = 600.0
# Steps back of up to so many frames are not a joint but a muxer's mistake with the order.
MISORDERED = 2.5


class StreamClock:
    """Turns time stamps into seconds that rise.

    Presentation stamps are used unless they are worse ordered than the decoding stamps. Where time goes back, or jumps
    forward, the stream goes on at the usual duration instead; that is said once.

    Args:
        time_base: seconds a tick.
        usual: seconds that a frame is usually shown, for frames that do not say.
        may_restart: whether the format allows time to begin anew (MPEG-TS, MPEG-PS, live streams).
        location: for the message; None to say nothing.
        by_dts: whether the format has decoding stamps alone, as AVI, and its presentation stamps are guessed.
    """

    def __init__(
        self,
        time_base: Fraction,
        usual: float,
        may_restart: bool,
        location: str | None = None,
        by_dts: bool = False,
    ) -> None:
        self._time_base = float(time_base)
        self._usual = usual
        self._longest = JUMP if may_restart else ABSURD_STEP
        self._location = location
        self._by_dts = by_dts
        self._offset = 0.0
        self._last: float | None = None
        self._last_duration = usual
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._misordered_pts = self._misordered_dts = 0

    def seconds(self, pts: int | None, dts: int | None, duration: int | None) -> float:
        """When a frame is shown, in seconds of the stream's own count, joined where it jumps.

        Args:
            pts, dts: its presentation and decoding stamps in ticks, as far as there are any.
            duration: how long it says it is shown, in ticks; None or 0 if it does not say.
        """
        stamp = self._better(pts, dts)
        last = self._last
        if stamp is None:
            time = 0.0 if last is None else last + self._last_duration
        else:
            time = stamp * self._time_base + self._offset
            if last is not None:
                time = self._joined(time, last)
        self._last = time
        self._last_duration = duration * self._time_base if duration and duration > 0 else self._usual
        return time

    def _joined(self, time: float, last: float) -> float:
        step = time - last
        following = last + self._last_duration
        if 0 < step <= self._last_duration + self._longest:
            return time
        if 0 >= step > -MISORDERED * self._usual:
            return following
        if self._location is not None:
            where = f"{printable(self._location)}: its clock jumps by {step:.6g} seconds"
            logger.warning("%s; the parts are joined", where)
            self._location = None
        self._offset += following - time
        return following

    def _better(self, pts: int | None, dts: int | None) -> int | None:
        if self._by_dts:
            return dts
        if dts is not None:
            self._misordered_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        if pts is not None:
            self._misordered_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        if pts is None or (dts is not None and self._misordered_pts > self._misordered_dts):
            return dts
        return pts
