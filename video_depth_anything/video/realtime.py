"""Live sources, and sources played in real time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path

from ..errors import InputError
from .frame import Frame
from .reader import Reader

logger = logging.getLogger(__name__)

# Seconds between checks whether the consumer has gone: an endless wait could not be interrupted on Windows.
GLANCE = 0.5
# Seconds before each attempt to reopen a lost source.
WAITS = (1, 2, 4, 8, 15, 30)
# Longest duration of a live frame, in seconds.
LONGEST = 1.0


class Newest:
    """Iterates a source in real time: frames that the consumer is too slow for are dropped.

    Closing the iteration, or an exception in its consumer, ends the reading thread at once. `paced` delays each frame
    until its time, as a camera would. `wait` sleeps, and returns True if the run should end, like `Event.wait`.
    """

    def __init__(self, frames: Iterable[Frame], paced: bool, wait: Callable[[float], bool] | None = None) -> None:
        self.dropped = 0
        self._frames = frames
        self._paced = paced
        self._wait = wait
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._ended = False
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[Frame]:
        thread = threading.Thread(target=self._read, name="live", daemon=True)
        thread.start()
        try:
            while True:
                with self._changed:
                    while self._newest is None and not self._ended:
                        self._changed.wait(GLANCE)
                    frame, self._newest = self._newest, None
                if frame is None:
                    break
                yield frame
        finally:
            self._stop.set()
            # A silent source is not waited for; the thread ends with the next frame, or with the program.
            thread.join(2 * GLANCE)
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        start = time.monotonic()
        try:
            for frame in self._frames:
                if self._paced:
                    frame.arrived = start + frame.time
                    if self._paused(frame.arrived):
                        break
                with self._changed:
                    if self._stop.is_set():
                        break
                    self.dropped += self._newest is not None
                    self._newest = frame
                    self._changed.notify()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _paused(self, until: float) -> bool:
        """Wait until then; return whether the run was told to end meanwhile."""
        while (left := until - time.monotonic()) > 0 and not self._stop.is_set():
            if (self._wait or self._stop.wait)(min(left, GLANCE)):
                return True
        return self._stop.is_set()


def is_live(location: str, has_length: bool, chosen: bool | None = None) -> bool:
    """Whether a source is live: the user's choice, else whether it has no length and is not a regular file."""
    return not has_length and not Path(location).is_file() if chosen is None else chosen


class LiveReader(Reader):
    """Wraps the reader of a live source: stamps its frames, and reopens it with `reopened`, if given."""

    def __init__(self, reader: Reader, name: str, reopened: Callable[[], Reader] | None = None) -> None:
        self.name, self.fps, self.expected_frames = reader.name, reader.fps, None
        self.joints, self.live = reader.joints, True
        self._reader = reader
        self._source = name
        self._reopened = reopened
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        usual = float(1 / self.fps)
        last: Frame | None = None
        while True:
            by_arrival = self._reader.made_up_clock
            offset: float | None = None
            try:
                for frame in self._reader:
                    now = frame.arrived = time.monotonic()
                    stamp = now if by_arrival else frame.time
                    if offset is None:
                        # Frames after a pause are delayed by as much as they arrived late.
                        pause = 0.0 if last is None or last.arrived is None else max(now - last.arrived, usual)
                        offset = (0.0 if last is None else last.time + pause) - stamp
                    frame.time = stamp + offset
                    frame.source_time = None if by_arrival else frame.source_time
                    # Its duration is unknown until the next one arrives; that of the last one is assumed.
                    frame.duration = usual if last is None else min(max(frame.time - last.time, 1e-3), LONGEST)
                    last = frame
                    yield frame
                reason = "it ended"
            except InputError as error:
                if self._reopened is None or last is None:
                    raise
                reason = str(error)
            if self._reopened is None or self._closed.is_set() or not self._opened_again(reason):
                return

    def _opened_again(self, reason: str) -> bool:
        """Wait until the source is available again; return False if the run ended meanwhile."""
        assert self._reopened is not None
        self._reader.close()
        for wait in chain(WAITS, repeat(WAITS[-1])):
            logger.warning("%s: %s; reopening in %g seconds", self._source, reason, wait)
            if self._closed.wait(wait):
                return False
            try:
                self._reader = self._reopened()
            except InputError as error:
                reason = str(error)
                continue
            logger.warning("%s is back", self._source)
            return True
        return False

    def close(self) -> None:
        """Close the source."""
        self._closed.set()
        self._reader.close()
