"""Videos through a model that sees a window at a time: reading, inference and writing overlap."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from ..errors import BrokenOffError
from ..video.frame import DepthMap, Frame, Image
from ..video.scene_cuts import CutDetector
from .report import Outputs
from .stop import Stop, Stopped
from .summary import RunSummary
from .threads import BackgroundConsumer, prefetch

# Enough to bridge the pause that decoding a window makes, small beside a window's features.
READ_AHEAD = 8
# A window's frames become final all at once.
WRITE_BEHIND = 24


def run_video(
    frames: Iterable[Frame],
    infer: Callable[[Iterator[Image]], Iterator[DepthMap]],
    outputs: Outputs,
    on_frame: Callable[[], None],
    stop: Stop,
    cuts: CutDetector | None = None,
) -> RunSummary:
    """Run inference over a video and write its outputs.

    Memory: the frames that `infer` has taken and not given depth for, and two short queues.

    Args:
        frames: in the order of time.
        infer: from frames to one (H, W) float32 map per frame, in order.
        outputs: closed at the end, also when the run is stopped, with the frames done, or when the input breaks off;
            aborted if anything fails.
        on_frame: called after each frame that is handed to the outputs.
        stop: ends the run between two frames.
        cuts: inference begins anew where it sees a scene cut, so that no window crosses one; None: never.
    """
    start = time.monotonic()
    waiting: deque[Frame] = deque()
    reading = prefetch(frames, READ_AHEAD, stop)

    broken: BrokenOffError | None = None

    def taken() -> Iterator[Frame]:
        nonlocal broken
        try:
            for frame in reading:
                stop.check()
                waiting.append(frame)
                yield frame
        except BrokenOffError as error:
            # The frames before are computed as if the video ended there.
            broken = error

    writing = BackgroundConsumer(outputs.write, WRITE_BEHIND)
    done, interrupted = 0, False
    try:
        try:
            for depth in infer_shots(taken(), infer, cuts):
                frame = waiting.popleft()
                frame.depth = depth
                writing.put(frame)
                done += 1
                on_frame()
                stop.check()
        except Stopped:
            interrupted = True
        finally:
            reading.close()  # type: ignore[attr-defined]
        writing.finish()
        outputs.close(interrupted or broken is not None)
    except BaseException:
        writing.cancel()
        outputs.abort()
        raise
    return RunSummary(done, time.monotonic() - start, interrupted, broken=broken)


def infer_shots(
    frames: Iterator[Frame], infer: Callable[[Iterator[Image]], Iterator[DepthMap]], cuts: CutDetector | None
) -> Iterator[DepthMap]:
    """Depth of a video, each shot of it as if it were a video of its own.

    Args:
        frames: in the order of time.
        infer: from a shot's frames to one map per frame, in order.
        cuts: finds where shots begin; None takes the whole video as one.
    """
    shots = 0

    def shot_of(frame: Frame) -> int:
        nonlocal shots
        shots += cuts is not None and cuts.is_cut(frame)
        return shots

    for _, shot in groupby(frames, key=shot_of):
        yield from infer(frame.image for frame in shot)
