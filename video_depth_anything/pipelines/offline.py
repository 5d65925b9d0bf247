"""One video through inference into its outputs, reading, inference and writing overlapped. Knows no model."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..outputs.base import DepthFrame, DepthMap, OutputWriter
from ..video.timing import TimedFrame
from .stop import held_interrupts
from .threads import BackgroundConsumer, prefetch

Frame = npt.NDArray[np.uint8]

# Enough to bridge the pause that decoding a window makes, small beside a window's features.
READ_AHEAD = 8
# A window's frames become final all at once.
WRITE_BEHIND = 24


@dataclass(frozen=True)
class RunSummary:
    """What a run did: frames written, seconds taken, and whether the user ended it early."""

    frames: int
    seconds: float
    interrupted: bool

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


def close_all(writers: Sequence[OutputWriter], interrupted: bool, before: Callable[[], None] = lambda: None) -> bool:
    """Call `before`, close all writers, and return whether the user interrupted the run, before or meanwhile.

    Closing is not broken off by the run's first signal, since the frames are all there; it is by the second.
    """
    closed = False
    try:
        with nullcontext() if interrupted else held_interrupts():
            before()
            for writer in writers:
                writer.close()
            closed = True
    except KeyboardInterrupt:
        if not closed:
            raise
        return True
    return interrupted


def run_video(
    frames: Iterable[TimedFrame],
    infer: Callable[[Iterator[Frame]], Iterator[DepthMap]],
    writers: Sequence[OutputWriter],
    on_frame: Callable[[], None],
) -> RunSummary:
    """Run inference over a video and write its outputs.

    Memory: the frames that `infer` has taken and not given depth for, and two short queues.

    Args:
        frames: in the order of time.
        infer: from frames to one (H, W) float32 map per frame, in order.
        writers: closed at the end, also when the user interrupts, with the frames done; aborted if anything fails.
        on_frame: called after each frame that is handed to the writers.
    """
    start = time.monotonic()
    waiting: deque[TimedFrame] = deque()
    reading = prefetch(frames, READ_AHEAD)

    def taken() -> Iterator[Frame]:
        for frame in reading:
            waiting.append(frame)
            yield frame.image

    def consume(frame: DepthFrame) -> None:
        for writer in writers:
            writer.write(frame)

    writing = BackgroundConsumer(consume, WRITE_BEHIND)
    done, interrupted = 0, False
    try:
        try:
            for depth in infer(taken()):
                frame = waiting.popleft()
                # Written and counted, or neither.
                with held_interrupts():
                    writing.put(DepthFrame(frame.image, depth, frame.time, frame.duration))
                    done += 1
                on_frame()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            reading.close()  # type: ignore[attr-defined]
        interrupted = close_all(writers, interrupted, writing.finish)
    except BaseException:
        writing.cancel()
        for writer in writers:
            writer.abort()
        raise
    return RunSummary(done, time.monotonic() - start, interrupted)
