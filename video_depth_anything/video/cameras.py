"""Cameras of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from ..errors import InputError
from .frame import Frame
from .reader import Reader
from .timing import as_rate

# What a camera that does not tell its rate is taken to have.
USUAL_FPS = 30.0


class CameraReader(Reader):
    """Reads a camera by its number, through OpenCV; times are when frames came."""

    name = "camera"
    live = made_up_clock = True

    def __init__(self, location: str) -> None:
        import cv2

        self._convert, self._color = cv2.cvtColor, cv2.COLOR_BGR2RGB
        self._capture = cv2.VideoCapture(int(location))
        if not self._capture.isOpened():
            raise InputError(f"camera {location} does not exist, or another program uses it")
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = as_rate(fps if 0 < fps < 1000 else USUAL_FPS)

    def __iter__(self) -> Iterator[Frame]:
        start = time.monotonic()
        while True:
            ok, image = self._capture.read()
            if not ok:
                return
            rgb = np.asarray(self._convert(image, self._color), dtype=np.uint8)
            yield Frame(rgb, time.monotonic() - start, float(1 / self.fps))

    def close(self) -> None:
        """Give the camera back."""
        self._capture.release()
