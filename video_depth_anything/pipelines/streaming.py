"""Videos through a model that sees one frame at a time: a frame's outputs are written before the next one is read."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..errors import BrokenOffError
from ..outputs.base import Finished
from ..outputs.display import RawOutput, Window
from ..outputs.run_outputs import RunOutputs
from ..video.frame import DepthMap, Frame
from ..video.inputs import Input
from ..video.realtime import Newest, is_live
from ..video.scene_cuts import CutDetector
from ..video.source import VideoSource
from .batch import Batch
from .options import StreamingOptions
from .report import Outputs
from .setup import LoadedNetwork
from .stop import Stop, Stopped
from .summary import RunSummary
from .threads import prefetch

logger = logging.getLogger(__name__)

# Frames whose times are kept for `--latency`.
LATENCY_FRAMES = 10_000


class Stream(Protocol):
    """What is needed of a model: depth of the next frame, and forgetting the video."""

    def step(self, frame: npt.NDArray[np.uint8]) -> DepthMap: ...

    def reset(self) -> None: ...


def run_stream(
    frames: Iterable[Frame],
    stream: Stream,
    outputs: Outputs,
    on_frame: Callable[[], None],
    stop: Stop,
    cuts: CutDetector | None = None,
) -> RunSummary:
    """Run a stream to its end. Memory: one frame, its depth, and the stream's state.

    Args:
        frames: in the order of time; read one by one, not ahead.
        stream: reset first.
        outputs: closed at the end, also when the run is stopped, an output asks for the end by `Finished`, or the input
            breaks off; aborted if anything fails.
        on_frame: called after each frame.
        stop: ends the run between two frames, and while it waits for one.
        cuts: the stream is reset where it sees a scene cut; None: never.
    """
    start = time.monotonic()
    done, interrupted = 0, False
    broken: BrokenOffError | None = None
    # As many as say something of now, and few enough for a stream of days.
    took: deque[float] = deque(maxlen=LATENCY_FRAMES)
    stream.reset()
    reading = prefetch(frames, 0, stop)
    try:
        try:
            for frame in reading:
                if cuts is not None and cuts.is_cut(frame):
                    stream.reset()
                done += 1
                begun = time.monotonic()
                frame.depth = stream.step(frame.image)
                outputs.write(frame)
                took.append(time.monotonic() - begun)
                on_frame()
                stop.check()
            # A source that waits ends early where it is told to, as if there were no more frames.
            stop.check()
        except Finished:
            pass
        except Stopped:
            interrupted = True
        except BrokenOffError as error:
            broken = error
        finally:
            reading.close()  # type: ignore[attr-defined]
        outputs.close(interrupted or broken is not None)
    except BaseException:
        outputs.abort()
        raise
    return RunSummary(done, time.monotonic() - start, interrupted, tuple(took), broken)


def stream_inputs(
    batch: Batch, inputs: Sequence[Input], network: LoadedNetwork, options: StreamingOptions, reset_on_cut: bool
) -> int:
    """Stream inputs one after another, with what streaming adds: live sources, standard output, a window.

    Args:
        batch: what is done with every input.
        inputs: each with a name of its own.
        network: computes all of them.
        options: what streaming adds.
        reset_on_cut: begin anew where the scene changes.

    Returns:
        The exit code, as `Batch.run` does.
    """
    if reset_on_cut:
        CutDetector()  # fails now, if at all

    def process(source: VideoSource, outputs: RunOutputs) -> RunSummary:
        info, style = batch.plan.run_info(source), batch.plan.style
        if options.raw is not None:
            outputs.add(RawOutput(info, style, options.raw, times=options.times))
        if options.show:
            outputs.add(Window(info, style))
        newest = Newest(source.timed(), not is_live(source.location), batch.stop.wait) if options.realtime else None
        cuts = CutDetector() if reset_on_cut else None
        network.prepare(source.size, streaming=True)
        stream = network.new_stream()
        with batch.report.progress(source.expected, source.name) as advance:
            frames: Iterable[Frame] = source.timed() if newest is None else newest
            summary = run_stream(frames, stream, outputs, advance, batch.stop, cuts)
        if options.latency and summary.took:
            middle, late = (1000 * value for value in np.percentile(summary.took, (50, 95)))
            logger.info("latency, from a frame to its outputs: p50 %.1f ms, p95 %.1f ms", middle, late)
        if newest is not None:
            logger.info("%d frames skipped, %d processed", newest.dropped, summary.frames)
        return summary

    return batch.run(inputs, process)
