"""Cameras, and sources that do not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import numpy as np

from .readers import ReaderError
from .timing import TimedFrame

# What a camera that does not tell its rate is taken to have.
USUAL_FPS = 30.0


class CameraReader:
    """Reads a camera by its number, through OpenCV; times are when frames came."""

    name = "camera"

    def __init__(self, location: str) -> None:
        import cv2

        self._convert, self._color = cv2.cvtColor, cv2.COLOR_BGR2RGB
        self._capture = cv2.VideoCapture(int(location))
        if not self._capture.isOpened():
            raise ReaderError(f"there is no camera number {location}, or another program uses it")
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps < 1000 else USUAL_FPS
        self.num_frames: int | None = None
        self.expected_frames: int | None = None

    def __iter__(self) -> Iterator[TimedFrame]:
        start = time.monotonic()
        while True:
            ok, image = self._capture.read()
            if not ok:
                return
            rgb = np.asarray(self._convert(image, self._color), dtype=np.uint8)
            yield TimedFrame(rgb, time.monotonic() - start, 1 / self.fps)

    def close(self) -> None:
        self._capture.release()


class Newest:
    """Iterates a source as it runs: a frame that was not asked for before the next one came is dropped.

    Args:
        frames: read in a thread.
        paced: hold each frame back until its time has come, as a camera would; for files, which could be read at once.
    """

    def __init__(self, frames: Iterable[TimedFrame], paced: bool) -> None:
        self.dropped = 0
        self._frames = frames
        self._paced = paced
        self._changed = threading.Condition()
        self._newest: TimedFrame | None = None
        self._ended = False
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[TimedFrame]:
        thread = threading.Thread(target=self._read, name="live", daemon=True)
        thread.start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._newest is not None or self._ended)
                    frame, self._newest = self._newest, None
                if frame is None:
                    break
                yield frame
        finally:
            with self._changed:
                self._ended = True
            thread.join()
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        start = time.monotonic()
        try:
            for frame in self._frames:
                if self._paced:
                    time.sleep(max(start + frame.time - time.monotonic(), 0.0))
                with self._changed:
                    if self._ended:
                        return
                    self.dropped += self._newest is not None
                    self._newest = frame
                    self._changed.notify()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()


def is_live(location: str) -> bool:
    """Whether frames come when they come: a camera's number, or an address that streams."""
    return location.isdecimal() or location.startswith(("rtsp://", "rtmp://", "udp://"))
