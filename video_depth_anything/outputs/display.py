"""Outputs other than files: standard output, and a window."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import BinaryIO, Literal, TextIO

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..files import let_go
from ..video.frame import Frame
from .base import Finished, OutputWriter, ReaderGone, RunInfo
from .colormap import Visualiser
from .values import Values, spanned, to_16_bit

logger = logging.getLogger(__name__)

RawFormat = Literal["gray16le", "rgb24"]


class RawOutput(OutputWriter):
    """Raw video on standard output.

    `rgb24` is the colour video. `gray16le` is depth: metres in millimetres, or disparity scaled to the colours' value
    range, larger is nearer. `times` is a new file, a pipe or a device to which each frame's time in seconds is
    written, one per line, right after the frame. `stream` replaces standard output.
    """

    shown_as = "standard output"

    def __init__(
        self, run: RunInfo, pixels: RawFormat, stream: BinaryIO | None = None, times: Path | None = None
    ) -> None:
        self._pixels = pixels
        self._visualiser = Visualiser(run.kind, run.options)
        self._values = Values(run.kind)
        # None if the process was started with standard output closed.
        self._stream = stream or (sys.stdout.buffer if sys.stdout is not None else None)
        self._times = None if times is None else _open_times(times)
        height, width = self._visualiser.size(run.size) if pixels == "rgb24" else run.size
        reading = f"-f rawvideo -pix_fmt {pixels} -s {width}x{height} -r {run.fps} -i -"
        logger.info("standard output carries raw video; FFmpeg reads it with: %s", reading)

    def write(self, frame: Frame) -> None:
        if self._stream is None:
            raise ReaderGone("standard output is closed")
        try:
            self._stream.write(np.ascontiguousarray(self._data(frame)).data)
            self._stream.flush()
            if self._times is not None:
                self._times.write(f"{frame.timestamp:.6f}\n")
                self._times.flush()
        except (BrokenPipeError, ValueError) as error:
            if self._stream is sys.stdout.buffer:
                let_go(sys.stdout)
            raise ReaderGone("the reader of standard output has gone") from error

    def _data(self, frame: Frame) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        if self._pixels == "rgb24":
            return self._visualiser.picture(frame)
        if self._values.kind == "depth_metres":
            return to_16_bit(frame.depth, *self._values.mapping())
        return to_16_bit(frame.depth, *spanned(*self._visualiser.ends(frame)))

    def close(self) -> None:
        if self._times is not None:
            with contextlib.suppress(BrokenPipeError):
                self._times.close()


def _open_times(path: Path) -> TextIO:
    try:
        return path.open("w" if path.exists() and not path.is_file() else "x")
    except OSError as error:
        raise OutputError(f"cannot write frame times to {path}: {error.strerror}; name a new file") from error


class Window(OutputWriter):
    """Shows source and depth in a window; `q` ends the run. OutputError if there is no display."""

    def __init__(self, run: RunInfo) -> None:
        # Checked first, because the window library exits the process if there is no display.
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise OutputError("--show needs a display, but DISPLAY is not set")
        self._title = f"{run.name}: press q to quit"
        self._visualiser = Visualiser(run.kind, run.options)
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise OutputError("--show: this build of OpenCV has no windows; pip install opencv-python") from error

    def write(self, frame: Frame) -> None:
        picture = self._visualiser.picture(frame)
        if picture.shape == frame.image.shape:
            picture = np.concatenate((frame.image, picture), axis=1)
        cv2.imshow(self._title, np.ascontiguousarray(picture[..., ::-1]))
        if cv2.waitKey(1) & 0xFF == ord("q"):
            raise Finished

    def close(self) -> None:
        with contextlib.suppress(cv2.error):  # the user may have closed it
            cv2.destroyWindow(self._title)
