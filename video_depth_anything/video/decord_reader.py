"""decord, which the original reads with, for `read_video_frames` alone.

It demuxes far ahead and keeps what its consumer is slow to take, repeats frames of trimmed clips, and knows no mirrored
or tone mapped video; so nothing else uses it, and it is believed only where it agrees with `FileReader`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np

from .files import FileReader
from .frame import Frame
from .reader import Reader
from .timing import as_rate

# Mean difference of the first pictures, of 255, up to which two decoders show the same.
SAME_PICTURE = 1.0


class DecordError(Exception):
    """decord cannot read this file, or not rightly."""


class DecordReader(Reader):
    """Reads a file through decord.

    Raises:
        DecordError: if decord is not installed or cannot open the file, if its times do not rise from zero, or if its
            first picture is not that of `FileReader`; while iterating, if it stops on the way.
        InputError: as `FileReader`.
    """

    name = "decord"

    def __init__(self, location: str) -> None:
        try:
            import decord
        except (ImportError, OSError) as error:
            raise DecordError("decord is not installed") from error
        self._failure: type[Exception] = decord.base.DECORDError
        with closing(FileReader(location)) as right:
            first = next(iter(right), None)
        decord.logging.set_level(decord.logging.QUIET)
        try:
            self._video: Any = decord.VideoReader(location, ctx=decord.cpu(0))
            spans = self._video.get_frame_timestamp(range(len(self._video)))
            self._times, self._ends = spans[:, 0], spans[:, 1]
            self.fps = as_rate(float(self._video.get_avg_fps()), len(self._times))
            picture = self._video[0].asnumpy()
            self._video.seek(0)
        except (self._failure, RuntimeError, IndexError, ValueError) as error:
            raise DecordError("decord cannot open it") from error
        self.expected_frames = len(self._times)
        if self._times[0] < 0 or (np.diff(self._times) <= 0).any():
            raise DecordError("decord gives it times that do not rise from zero")
        if first is None or picture.shape != first.image.shape:
            raise DecordError("decord gives pictures of another size")
        if np.abs(picture.astype(np.int16) - first.image).mean() > SAME_PICTURE:
            raise DecordError("decord gives other pictures")

    def __iter__(self) -> Iterator[Frame]:
        for time, end in zip(self._times, self._ends):
            try:
                image = self._video.next().asnumpy()
            except (self._failure, RuntimeError, StopIteration, ValueError) as error:
                raise DecordError("decord stopped on the way") from error
            yield Frame(image, float(time), float(end - time))

    def close(self) -> None:
        # decord frees its decoder, threads and buffers with the object.
        self._video = None
