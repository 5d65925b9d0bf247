"""Sources that do not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from .frame import Frame

# Seconds between looks at whether the consumer has gone: a wait without end could not be interrupted on Windows.
GLANCE = 0.5


class Newest:
    """Iterates a source as it runs: a frame that was not asked for before the next one came is dropped.

    Closing the iteration, or an exception in its consumer, ends the reading thread at once, whenever the next frame is
    due.

    Args:
        frames: read in a thread.
        paced: hold each frame back until its time has come, as a camera would; for files, which could be read at once.
        wait: sleeps for so many seconds, and returns True, early, if the run is to end, as `threading.Event.wait`
            does; None: nobody else ends it.
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
            # A source that says nothing is left to itself; the thread ends with the next frame, or with the program.
            thread.join(2 * GLANCE)
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        start = time.monotonic()
        try:
            for frame in self._frames:
                if self._paced and self._paused(start + frame.time):
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
        """Wait until then, and return whether the run ended meanwhile."""
        while (left := until - time.monotonic()) > 0:
            if self._wait is None:
                return self._stop.wait(left)
            if self._wait(min(left, GLANCE)) or self._stop.is_set():
                return True
        return self._stop.is_set()


def is_live(location: str) -> bool:
    """Whether frames come when they come: a camera's number, or an address that streams."""
    return location.isdecimal() or location.startswith(("rtsp://", "rtmp://", "udp://"))
