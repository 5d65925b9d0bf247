"""Outputs that need the range of the whole video before they can write a frame."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..video.frame import Frame
from ..video.timing import PlayTime
from .base import OutputWriter, RunInfo, ValueRange, abort_all
from .registry import Format


class LateOutputs:
    """Outputs that are written at the end, from frames that are kept on disk until then.

    The file has no name, so nothing is left of it however the process ends.

    Args:
        run: what the writers are made from, but the range.
        formats: of the outputs.
        keep_images: whether one of them shows the source's frames too.
    """

    def __init__(self, run: RunInfo, formats: Sequence[Format], keep_images: bool) -> None:
        self._run = run
        self._formats = formats
        self._writers: list[OutputWriter] = []
        self._play = PlayTime()
        self._range = ValueRange()
        parts = [("facts", "f8", (4,)), ("depth", "f4", run.size)]
        self._kept = np.dtype([*parts, ("image", "u1", (*run.size, 3))] if keep_images else parts)
        self._spool = tempfile.TemporaryFile(dir=run.folder)

    def write(self, frame: Frame) -> None:
        unsure = (math.nan if value is None else value for value in (frame.number, frame.source_time))
        self._spool.write(np.array((frame.time, frame.duration, *unsure), "f8").data)
        self._spool.write(np.ascontiguousarray(frame.depth, "f4").data)
        if "image" in self._kept.names:  # type: ignore[operator]
            self._spool.write(np.ascontiguousarray(frame.image).data)
        self._range.update(frame.depth)
        self._play.add(frame.time, frame.duration)

    def close(self) -> None:
        run = replace(self._run, fps=self._play.rate(self._run.fps), ends=self._range.ends)
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
        blank = np.broadcast_to(np.uint8(0), (*self._run.size, 3))
        self._spool.seek(0)
        for _ in range(self._play.count):
            kept = np.frombuffer(self._spool.read(self._kept.itemsize), self._kept)[0]
            time, duration, number, source_time = map(float, kept["facts"])
            yield Frame(
                kept["image"] if "image" in self._kept.names else blank,  # type: ignore[operator]
                time,
                duration,
                None if math.isnan(number) else int(number),
                None if math.isnan(source_time) else source_time,
                kept["depth"],
            )

    def abort(self) -> None:
        with suppress(OSError):  # what a full disk did not take is not missed
            self._spool.close()
        abort_all(self._writers)

    def written(self) -> list[str]:
        return [path for writer in self._writers for path in writer.written()]
