"""Repairs the timestamps of a stream's frames or packets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from .names import printable

logger = logging.getLogger(__name__)

# A longer step is the joint of two recordings, unless the frame before it has that duration.
JUMP = 10.0
# Steps back of up to this many frames, or seconds, are a muxer's ordering mistake, not a joint.
MISORDERED, MISORDERED_SECONDS = 2.5, 0.1


class Joint(NamedTuple):
    """The joint of two recordings; times are in seconds."""

    before: float  # the stream's own time of the last frame before the joint
    after: float  # and of the first frame after it
    offset: float  # added to the stream's own times from there on


class StreamClock:
    """Turns timestamps of pictures into increasing seconds; `joints` are those found so far.

    Presentation timestamps are used unless they are worse ordered than the decoding timestamps, or the format has only
    the latter, like AVI (`by_dts`). Where time goes back, or jumps forward by more than 10 seconds, the stream
    continues after the usual duration, with one warning; unless `goes_on` finds sound between two of the stream's own
    times: screen recordings contain still pictures.
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
        """Time of a frame in seconds, with jumps removed; the timestamps are in ticks."""
        if dts is not None:
            self._misordered_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        if pts is not None:
            self._misordered_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        # The last frames have no decoding timestamps; earlier ones showed whether presentation timestamps are right.
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
            # Half a step, so that correct timestamps catch up.
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
    """Applies the joints found in one stream of a file to another one, so that both stay in sync."""

    def __init__(self, joints: Sequence[Joint]) -> None:
        self._joints = joints
        self._passed = 0
        self._last: float | None = None

    def seconds(self, own: float) -> float:
        """Joined time for the stream's own time, in seconds; called for each packet in order."""
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
