"""Outputs that need the value range of the whole video before they can write a frame."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..video.frame import Frame
from ..video.timing import played_rate
from .base import OutputWriter, RunInfo, ValueRange, abort_all
from .options import OutputOptions
from .registry import Format


class LateOutputs(OutputWriter):
    """Outputs written at the end, from frames that are spooled to disk until then.

    The spool file has no name, so nothing remains of it however the process ends. `run` lacks only the value range.
    """

    def __init__(self, run: RunInfo, formats: Sequence[Format]) -> None:
        self._run = run
        self._formats = formats
        self._writers: list[OutputWriter] = []
        self._range = ValueRange()
        # Each frame's times and number: small compared with the depth on disk.
        self._facts: list[tuple[float, float, int | None, float | None]] = []
        self._keep_images = any(one.shows_source(run.options) for one in formats)
        self._spool = tempfile.TemporaryFile(dir=run.folder)

    def write(self, frame: Frame) -> None:
        self._facts.append((frame.time, frame.duration, frame.number, frame.source_time))
        self._spool.write(np.ascontiguousarray(frame.depth, "f4").data)
        if self._keep_images:
            self._spool.write(np.ascontiguousarray(frame.image).data)
        self._range.update(frame.depth)

    def close(self) -> None:
        seconds = self._facts[-1][0] + self._facts[-1][1] - self._facts[0][0] if self._facts else 0.0
        fps = played_rate(self._run.fps, len(self._facts), seconds)
        run = replace(self._run, fps=fps, ends=self._range.ends)
        try:
            for entry in self._formats:
                self._writers.append(entry.open(run))
            for frame in self._frames():
                for writer in self._writers:
                    writer.write(frame)
            for writer in self._writers:
                writer.close()
        finally:
            self._spool.close()

    def _frames(self) -> Iterator[Frame]:
        size = self._run.size
        image = np.broadcast_to(np.uint8(0), (*size, 3))
        self._spool.seek(0)
        for time, duration, number, source_time in self._facts:
            depth = np.frombuffer(self._spool.read(4 * math.prod(size)), "f4").reshape(size)
            if self._keep_images:
                image = np.frombuffer(self._spool.read(3 * math.prod(size)), "u1").reshape(*size, 3)
            yield Frame(image, time, duration, number, source_time, depth)

    def abort(self) -> None:
        with suppress(OSError):  # a full disk may reject the buffered rest, which is not needed
            self._spool.close()
        abort_all(self._writers)


def late_bytes(formats: Sequence[Format], options: OutputOptions) -> float:
    """Bytes that `LateOutputs` stores per pixel."""
    return 7.0 if any(one.shows_source(options) for one in formats) else 4.0
