"""The times of a stream's frames or packets, as they should have been."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from .names import printable

logger = logging.getLogger(__name__)

# A step longer than this is where two recordings were joined, unless the frame before says that it is shown so long.
JUMP = 10.0
# Steps back of up to so many frames, or seconds, are not a joint but a muxer's mistake with the order.
MISORDERED, MISORDERED_SECONDS = 2.5, 0.1


class Joint(NamedTuple):
    """Where two recordings were joined; times are in seconds."""

    before: float  # the stream's own time of the last frame of the one
    after: float  # and of the first frame of the other
    offset: float  # what is added to the own times from there on


class StreamClock:
    """Turns the time stamps of pictures into seconds that rise; `joints` are those found so far.

    Presentation stamps are used unless they are worse ordered than the decoding stamps, or the format, as AVI, has the
    latter alone (`by_dts`). Where time goes back, or jumps forward by more than 10 seconds, the stream goes on at the
    usual duration instead, with one warning; unless `goes_on` knows that something else in the file, its sound, fills
    the time between two of the stream's own times: recordings of screens have still pictures.
    """

    def __init__(
        self,
        time_base: Fraction,
        usual: float,
        location: str,
        by_dts: bool = False,
        goes_on: Callable[[float, float], bool] | None = None,
    ) -> None:
        self.joints: list[Joint] = []
        self._time_base = float(time_base)
        self._usual = usual
        self._location = location
        self._by_dts = by_dts
        self._goes_on = goes_on
        self._offset = 0.0
        self._last: float | None = None
        self._last_duration = usual
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._misordered_pts = self._misordered_dts = 0

    def seconds(self, pts: int | None, dts: int | None, duration: int | None) -> float:
        """When a frame is shown, in seconds of the stream's own count, joined where it jumps; stamps are in ticks."""
        if dts is not None:
            self._misordered_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        if pts is not None:
            self._misordered_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        # The last frames have no decoding stamps; the others' presentation stamps tell whether theirs are right.
        right = self._last_dts is None or self._misordered_pts <= self._misordered_dts
        stamp = pts if pts is not None and right and not self._by_dts else dts
        last = self._last
        if stamp is None:
            time = 0.0 if last is None else last + self._last_duration
        else:
            time = stamp * self._time_base + self._offset
            if last is not None and not 0 < time - last <= self._last_duration + JUMP:
                time = self._joined(time, last)
        self._last = time
        self._last_duration = duration * self._time_base if duration and duration > 0 else self._usual
        return time

    def _joined(self, time: float, last: float) -> float:
        step = time - last
        if 0 >= step > -max(MISORDERED * self._usual, MISORDERED_SECONDS):
            # Half a step, so that stamps that go on rightly are caught up with.
            return last + self._usual / 2
        own = time - self._offset
        if step > 0 and self._goes_on is not None and self._goes_on(last - self._offset, own):
            return time
        following = last + self._last_duration
        if not self.joints:
            text = "%s: its timestamps jump by %.6g seconds; the parts are joined"
            logger.warning(text, printable(self._location), step)
        self.joints.append(Joint(last - self._offset, own, following - own))
        self._offset = following - own
        return following


class JoinedClock:
    """Makes a stream follow the joints that were found in another stream of the file, so that both stay together."""

    def __init__(self, joints: Sequence[Joint]) -> None:
        self._joints = joints
        self._passed = 0
        self._last: float | None = None

    def seconds(self, own: float) -> float:
        """The joined time for the stream's own time, in seconds; of one packet after the other."""
        for joint in self._joints[self._passed :]:
            if joint.after > joint.before:
                passed = own > (joint.before + joint.after) / 2
            else:
                passed = self._last is not None and own - self._last < (joint.after - joint.before) / 2
            if not passed:
                break
            self._passed += 1
            self._last = None
        self._last = own
        return own + (self._joints[self._passed - 1].offset if self._passed else 0.0)
