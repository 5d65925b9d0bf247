"""Simulation of one long video over several ranks, event by event, from measured times: the schedule in small.

Pure Python. What is simulated: runs of windows taken from a shared counter, keyframes encoded again at the start of a
run, frames read and thrown away, windows written to a shared disk, and rank 0, which joins and writes them in order and
computes while it waits.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Generator
from dataclasses import dataclass, field

from video_depth_anything.pipelines.ranks import POLL_SECONDS
from video_depth_anything.pipelines.shared_windows import run_length
from video_depth_anything.pipelines.window_spool import NEW_SLOTS, WINDOW_SLOTS

# Frames that a rank encodes once more where its windows do not follow each other, if they are encoded one by one.
KEYFRAMES_AGAIN = 10


@dataclass(frozen=True)
class Times:
    """Seconds on one rank, and rates in bytes a second.

    window: encode 22 frames and decode 32. encode: one frame. read: decode a frame of the video. join: align and fade
    a window on rank 0. write: hand a window's frames to the outputs, beside inference. finish: per window, what the
    outputs do at the end (the two-pass colour video). depth_bytes: of one depth map. disk: shared by all ranks, reading
    and writing together. link: from each rank to the disk.
    """

    window: float
    encode: float
    read: float
    join: float
    write: float
    finish: float
    depth_bytes: float
    disk: float
    link: float

    @property
    def window_bytes(self) -> float:
        """What a raw window takes in the spool."""
        return WINDOW_SLOTS * self.depth_bytes


@dataclass(frozen=True)
class Outcome:
    """seconds: from the first frame to the last file. bounds: seconds that each resource needs by itself."""

    seconds: float
    bounds: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """The resource that needs longest by itself."""
        return max(self.bounds, key=lambda name: self.bounds[name])


def simulate(frames: int, ranks: int, times: Times) -> Outcome:
    """A video of so many frames over so many ranks; one rank is one process, without a spool.

    Raises:
        ValueError: if frames or ranks are not positive.
    """
    if frames < 1 or ranks < 1:
        raise ValueError(f"{frames} frames over {ranks} ranks: both must be positive")
    windows = math.ceil(frames / NEW_SLOTS)
    bounds = _bounds(frames, windows, ranks, times)
    if ranks == 1:
        step = max(times.window + times.join, NEW_SLOTS * times.read, times.write)
        return Outcome(windows * step + times.write + windows * times.finish, bounds)
    return Outcome(_Simulation(windows, ranks, run_length(frames, ranks), times).run(), bounds)


def _bounds(frames: int, windows: int, ranks: int, times: Times) -> dict[str, float]:
    most = math.ceil(windows / ranks)
    bounds = {
        "inference": windows * times.window / ranks,
        "too few windows": most * times.window if most * ranks > 1.1 * windows else 0.0,
        "reading the video": frames * times.read,
        "outputs of rank 0": windows * (times.write + times.finish),
        "alignment on rank 0": windows * times.join,
    }
    if ranks > 1:
        bounds["disk of the spool"] = 2 * windows * times.window_bytes / times.disk
        bounds["link of rank 0"] = windows * times.window_bytes / times.link
    return bounds


class _Simulation:
    """Each rank is a generator that yields the time at which it goes on; the earliest goes first."""

    def __init__(self, windows: int, ranks: int, length: int, times: Times) -> None:
        self._windows = windows
        self._ranks = ranks
        self._length = length
        self._times = times
        self._runs = 0  # taken so far
        self._there: dict[int, float] = {}  # when each window is in the spool
        self._disk_free = 0.0
        self._end = 0.0

    def run(self) -> float:
        """Seconds until all outputs are written."""
        ranks = [self._lead(), *(self._help() for _ in range(self._ranks - 1))]
        waiting = [(next(rank), number) for number, rank in enumerate(ranks)]
        while waiting:
            clock, number = heapq.heappop(waiting)
            try:
                heapq.heappush(waiting, (ranks[number].send(clock), number))
            except StopIteration:
                continue
        return self._end

    def _transfer(self, ready: float) -> float:
        """When a window has gone to or from the disk; one after the other, each no faster than its link."""
        size, times = self._times.window_bytes, self._times
        start = max(ready, self._disk_free)
        self._disk_free = start + size / times.disk
        return start + size / min(times.disk, times.link)

    def _help(self) -> Generator[float, float, None]:
        """Another rank: computes until no run is left."""
        clock = yield 0.0
        own = _Labour()
        while (until := self._begin(own, clock)) is not None:
            clock = yield until
            self._finish(own, clock)

    def _lead(self) -> Generator[float, float, None]:
        """Rank 0: joins the windows in order, and computes others while the next one is not there."""
        clock = yield 0.0
        own, written = _Labour(), 0.0
        for index in range(self._windows):
            while self._there.get(index, math.inf) > clock:
                until = self._begin(own, clock)
                if until is None:
                    clock = yield min(self._there.get(index, math.inf), clock + POLL_SECONDS)
                else:
                    clock = yield until
                    self._finish(own, clock)
            clock = yield self._transfer(clock) + self._times.join
            # The outputs are a window behind at most.
            written = max(clock, written) + self._times.write
            clock = yield max(clock, written - self._times.write)
        self._end = max(clock, written) + self._windows * self._times.finish

    def _begin(self, own: _Labour, clock: float) -> float | None:
        """When a rank that begins its next window now has computed it; None if no run is left."""
        times = self._times
        if not own.run:
            start = self._runs * self._length
            own.run = list(range(start, min(start + self._length, self._windows)))
            self._runs += 1
        if not own.run:
            return None
        index = own.run[0]
        skipped = max(NEW_SLOTS * index - own.read, 0)
        again = 0.0 if index in (0, own.following) else KEYFRAMES_AGAIN * times.encode
        # Frames are read while others are encoded, but there is nothing to encode while they are skipped. A window
        # waits for the one before to be written.
        clock = max(clock, own.written) + skipped * times.read
        return clock + max(times.window + again, NEW_SLOTS * times.read)

    def _finish(self, own: _Labour, clock: float) -> None:
        index = own.run.pop(0)
        own.read, own.following = NEW_SLOTS * (index + 1), index + 1
        own.written = self._there[index] = self._transfer(clock)


@dataclass
class _Labour:
    """What a rank has: its run, the frames read, the window that would follow, when its last one was written."""

    run: list[int] = field(default_factory=list)
    read: int = 0
    following: int = -1
    written: float = 0.0
