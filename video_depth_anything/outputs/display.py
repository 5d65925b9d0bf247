"""Where streamed depth goes besides files: standard output, and a window."""

from __future__ import annotations

import logging
import os
import sys
from typing import BinaryIO, Literal

import numpy as np

from ..errors import OutputError
from .arrays import LEVELS, mapping_of, to_16_bit
from .base import DepthFrame, DepthKind, Finished, RunInfo
from .colormap import RunningRange
from .videos import VisStyle

logger = logging.getLogger(__name__)

RawFormat = Literal["gray16le", "rgb24"]


class Shown:
    """Depth as the colour video shows it, frame by frame."""

    def __init__(self, kind: DepthKind, style: VisStyle) -> None:
        self._kind = kind
        self._style = style
        self._running = None if style.range.kind == "fixed" else RunningRange()

    def ends(self, frame: DepthFrame) -> tuple[float, float]:
        """Range (low, high) for this frame; to be asked once for each."""
        if self._running is None:
            return self._style.range.low, self._style.range.high
        return self._running.update(frame.depth)

    def picture(self, frame: DepthFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        picture = self._style.picture(self._kind, frame.depth, *self.ends(frame), frame.image)
        return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


class RawOutput:
    """Raw video on standard output.

    `rgb24` is the colour video. `gray16le` is depth: millimetres for metres, else disparity over the range that the
    colours span, larger is nearer.
    """

    def __init__(self, info: RunInfo, style: VisStyle, pixels: RawFormat, stream: BinaryIO | None = None) -> None:
        self._info = info
        self._pixels = pixels
        self._shown = Shown(info.kind, style)
        self._stream = stream or sys.stdout.buffer
        height, width = style.size(info.size) if pixels == "rgb24" else info.size
        reading = f"-f rawvideo -pix_fmt {pixels} -s {width}x{height} -r {info.fps} -i -"
        logger.info("standard output carries raw video; ffmpeg reads it with %s", reading)

    def write(self, frame: DepthFrame) -> None:
        if self._pixels == "rgb24":
            data = self._shown.picture(frame)
        elif self._info.kind == "depth_metres":
            data = to_16_bit(frame.depth, *mapping_of(self._info.kind, 0, 0))
        else:
            low, high = self._shown.ends(frame)
            data = to_16_bit(frame.depth, (high - low) / LEVELS if high > low else 1.0, low)
        try:
            self._stream.write(np.ascontiguousarray(data).data)
            self._stream.flush()
        except BrokenPipeError as error:
            raise Finished from error

    def close(self) -> None:
        """Nothing is held back."""

    def abort(self) -> None:
        """What is out is out."""

    def written(self) -> list[str]:
        return ["standard output"]


class Window:
    """Source and depth in a window; `q` in it ends the run.

    Raises:
        OutputError: if there is no display.
    """

    def __init__(self, info: RunInfo, style: VisStyle) -> None:
        # Asked beforehand: the window library ends the whole process where it finds no display.
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise OutputError("--show needs a display, and there is none here (DISPLAY is not set)")
        import cv2

        self._cv2 = cv2
        self._title = f"{info.name}: q ends"
        self._shown = Shown(info.kind, style)
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise OutputError("--show: this OpenCV has no windows; pip install opencv-python") from error

    def write(self, frame: DepthFrame) -> None:
        picture = self._shown.picture(frame)
        if picture.shape == frame.image.shape:
            picture = np.concatenate((frame.image, picture), axis=1)
        self._cv2.imshow(self._title, np.ascontiguousarray(picture[..., ::-1]))
        if self._cv2.waitKey(1) & 0xFF == ord("q"):
            raise Finished

    def close(self) -> None:
        self._cv2.destroyWindow(self._title)

    def abort(self) -> None:
        self.close()

    def written(self) -> list[str]:
        return []
