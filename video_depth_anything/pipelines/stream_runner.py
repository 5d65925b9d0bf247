"""Frames through a model that sees one at a time: all outputs of a frame are written before the next one is read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..outputs.base import DepthFrame, DepthMap, Finished, OutputWriter
from ..video.scene_cuts import CutDetector
from ..video.timing import TimedFrame
from .offline import RunSummary, close_all
from .stop import held_interrupts


class Stream(Protocol):
    """What is needed of a model: depth of the next frame, and forgetting the video."""

    def step(self, frame: npt.NDArray[np.uint8]) -> DepthMap: ...

    def reset(self) -> None: ...


def run_stream(
    frames: Iterable[TimedFrame],
    stream: Stream,
    writers: Sequence[OutputWriter],
    on_frame: Callable[[], None],
    cuts: CutDetector | None = None,
) -> RunSummary:
    """Run a stream to its end. Memory: one frame, its depth, and the stream's state.

    Args:
        frames: in the order of time; read one by one, not ahead.
        stream: reset first.
        writers: closed at the end, also when the user interrupts or one of them raises `Finished`; aborted if anything
            fails.
        on_frame: called after each frame.
        cuts: the stream is reset where it sees a scene cut; None: never.
    """
    start = time.monotonic()
    done, interrupted = 0, False
    stream.reset()
    try:
        try:
            for frame in frames:
                if cuts is not None and cuts.is_cut(frame):
                    stream.reset()
                depth_frame = DepthFrame(frame.image, stream.step(frame.image), frame.time, frame.duration)
                # Written to all outputs and counted, or neither.
                with held_interrupts():
                    finished = _write(writers, depth_frame)
                    done += 1
                if finished:
                    break
                on_frame()
        except KeyboardInterrupt:
            interrupted = True
        interrupted = close_all(writers, interrupted)
    except BaseException:
        for writer in writers:
            writer.abort()
        raise
    return RunSummary(done, time.monotonic() - start, interrupted)


def _write(writers: Sequence[OutputWriter], frame: DepthFrame) -> bool:
    """Write a frame to every output; whether one of them asks for the end."""
    finished = False
    for writer in writers:
        try:
            writer.write(frame)
        except Finished:
            finished = True
    return finished


def is_live(location: str) -> bool:
    """Whether frames come when they come: a camera's number, or an address that streams."""
    return location.isdecimal() or location.startswith(("rtsp://", "rtmp://", "udp://"))


def say(text: str) -> None:
    """The closing line, on standard error: standard output may carry video."""
    print(text, file=sys.stderr, flush=True)
