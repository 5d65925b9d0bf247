"""The base of all readers, and two short ones: frames in memory, and cameras of this machine."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from ..errors import InputError
from .frame import Frame, Image
from .stream_clock import Joint
from .timing import as_rate

# Assumed rate of a camera that states none.
CAMERA_FPS = 30.0


class Reader(ABC):
    """Yields the frames of one input; iterated once."""

    name = ""  # for messages
    fps = Fraction(1)  # mean frame rate
    expected_frames: int | None = None  # the best guess, for progress
    live = False  # whether frames arrive in real time
    made_up_clock = False  # whether frames have no timestamps of their own
    copyable = False  # whether a file's packets, copied to MP4, would show exactly the frames so far
    images: Sequence[Path] = ()  # the files, where it reads images
    pixel_aspect = Fraction(1)  # width over height of their pixels
    joints: Sequence[Joint] = ()  # where recordings were joined, up to the current frame

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:  # noqa: B027 - some have nothing to close
        """Close the input."""


class ArrayReader(Reader):
    """Frames in memory, (H, W, 3) uint8 RGB of one size, at a constant rate; `count` of them, if that is known."""

    name = "memory"

    def __init__(self, frames: Iterable[Image], fps: float, count: int | None = None) -> None:
        images = iter(frames)
        first = next(images, None)
        if first is None:
            raise InputError("the video has no frames")
        self._images = chain((first,), images)
        self.fps = as_rate(fps)
        self.expected_frames = count

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            yield Frame(image, float(index / self.fps), float(1 / self.fps))


class CameraReader(Reader):
    """Reads a camera by its number, with OpenCV; times are those of arrival."""

    name = "camera"
    live = made_up_clock = True

    def __init__(self, location: str) -> None:
        self._capture = cv2.VideoCapture(int(location))
        if not self._capture.isOpened():
            raise InputError(f"camera {location} does not exist, or another program uses it")
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = as_rate(fps if 0 < fps < 1000 else CAMERA_FPS)

    def __iter__(self) -> Iterator[Frame]:
        start = time.monotonic()
        while True:
            ok, image = self._capture.read()
            if not ok:
                return
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            yield Frame(rgb, time.monotonic() - start, float(1 / self.fps))

    def close(self) -> None:
        self._capture.release()
