"""Several inputs, one run each: failures are reported at the end, and the other inputs finish."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import INTERRUPTED, BrokenOffError, user_line
from ..outputs.display import RawOutput, Window
from ..outputs.plan import OutputPlan
from ..outputs.run_outputs import RunOutputs
from ..video.frame import Frame
from ..video.inputs import Input
from ..video.realtime import Newest
from ..video.scene_cuts import CutDetector
from ..video.source import VideoSource
from .driver import Progress, RunSummary, by_frames, by_windows, run_video
from .options import RunOptions, StreamingOptions
from .setup import LoadedNetwork
from .stop import Stop
from .window_spool import WindowSpool

logger = logging.getLogger(__name__)

# Takes the expected number of frames, or None, and a name; returns a context that shows progress.
Show = Callable[["int | None", str], AbstractContextManager[Progress]]
# Runs an open input to its end and closes the outputs; takes a label for it.
Process = Callable[[VideoSource, RunOutputs, str], RunSummary]


@dataclass(frozen=True)
class Batch:
    """How inputs are processed.

    stop: ends the run. show, say: for progress, and for closing lines. streaming: None if windows are computed.
    """

    options: RunOptions
    plan: OutputPlan
    network: LoadedNetwork
    stop: Stop
    show: Show
    say: Callable[[str], None]
    streaming: StreamingOptions | None = None

    def run(self, inputs: Sequence[Input]) -> int:
        """Run all inputs; return 0, 1 if some of several failed, 130 if the user ended the run.

        A single input's error is raised; those of several are reported at the end.
        """
        failed: list[str] = []
        for number, one in enumerate(inputs, start=1):
            if self.stop.is_set():
                return INTERRUPTED
            try:
                if self.run_one(one, f"[{number}/{len(inputs)}] " if len(inputs) > 1 else ""):
                    return INTERRUPTED
            except Exception as error:
                if len(inputs) == 1:
                    raise
                failed.append(failure_line(one, error))
        return report_failures(failed, len(inputs))

    def run_one(self, one: Input, label: str = "", process: Process | None = None) -> bool:
        """Run one input, by `process` or `compute`, and return whether the user interrupted it.

        If the input breaks off, its outputs are closed like those of an interrupted run, then BrokenOffError is raised.
        """
        one = self.plan.named(one)
        if self.options.resume and self.plan.is_finished(one):
            logger.info("%s: already finished, skipped", one.shown)
            return False
        with (
            closing(one.open(self.options.selection, self.options.limits)) as source,
            self.plan.open(source) as outputs,
        ):
            summary = (process or self.compute)(source, outputs, label + source.name)
        if (outputs.files() or process) and not summary.interrupted and summary.broken is None:
            WindowSpool(self.plan.folder, one).remove()
        self.say(closing_line(summary, outputs.written(), self.plan.provenance.get("checkpoint", "")))
        if summary.broken is not None:
            raise BrokenOffError(f"{summary.broken}; the {summary.frames} frames before are kept") from summary.broken
        return summary.interrupted

    def compute(self, source: VideoSource, outputs: RunOutputs, label: str) -> RunSummary:
        """Run an open input."""
        streaming, network = self.streaming, self.network
        live = streaming is not None
        chosen = self.options.selection.frames
        if chosen is not None:
            unlike = "; --realtime skips different frames" if streaming is not None and streaming.realtime else ""
            logger.info(
                "frames %s: earlier ones are computed too, so that depth is that of a whole run%s", chosen, unlike
            )
        cuts = CutDetector() if self.options.reset_on_cut else None
        frames: Iterable[Frame] = source.timed()
        newest: Newest | None = None
        if streaming is None:
            depths = by_windows(partial(network.infer, check=self.stop.check), cuts)
        else:
            depths = by_frames(network.new_stream(), cuts)
            info = self.plan.run_info(source)
            if streaming.raw is not None:
                outputs.add(RawOutput(info, streaming.raw, times=streaming.times))
            if streaming.show:
                outputs.add(Window(info))
            if streaming.realtime:
                frames = newest = Newest(frames, not source.live, self.stop.wait)
        with self.show(self.total(source), label) as advance:
            summary = run_video(frames, depths, outputs, advance, self.stop, live, source.place, self.sharpened_from)
        if streaming is not None and streaming.latency:
            for since, seconds in (("a frame is taken", summary.took), ("it was captured", summary.ages)):
                if seconds:
                    middle, late = (1000 * value for value in np.percentile(seconds, (50, 95)))
                    logger.info("latency, from when %s to its outputs: p50 %.1f ms, p95 %.1f ms", since, middle, late)
        if newest is not None:
            logger.info("%d frames skipped, %d processed", newest.dropped, summary.frames)
        return summary

    @property
    def sharpened_from(self) -> int | None:
        """Place of a frame, for `run_video`."""
        return self.network.input_size if self.options.fast else None

    def total(self, source: VideoSource) -> int | None:
        """How many frames will be computed, or None."""
        return source.expected if self.options.selection.frames is None else None


def closing_line(summary: RunSummary, written: Sequence[str], checkpoint: str) -> str:
    """Summarise a run, with the names of its outputs and weights."""
    if summary.interrupted and not summary.frames:
        return "interrupted before any depth was finished; nothing was written"
    state = "interrupted: " if summary.interrupted else "" if summary.broken is None else "broken off: "
    rate = summary.frames / max(summary.seconds, 1e-9)
    count = f"{summary.frames} frame{'' if summary.frames == 1 else 's'}"
    return (
        f"{state}wrote {', '.join(written) or 'no files'}: {count} in {summary.seconds:.1f} s, "
        f"{rate:.2f} frames/s, peak memory {peak_memory()}, checkpoint {checkpoint}"
    )


def peak_memory() -> str:
    """Peak resident memory of this process so far, and on the GPU if one was used."""
    try:
        import resource
    except ImportError:
        text = "unknown on this system"
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        text = f"{peak / (2**30 if sys.platform == 'darwin' else 2**20):.2f} GiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        text += f" (GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB)"
    return text


def failure_line(one: Input, error: Exception) -> str:
    """Log that an input failed and return the line; with a traceback for bugs, or with `-v`."""
    line = user_line(error)
    if line is None:
        line = f"{one.shown}: {type(error).__name__}: {error}"
        logger.error("%s", line, exc_info=error)
    else:
        logger.debug("%s", type(error).__name__, exc_info=error)
        logger.error("%s", line)
    return line


def report_failures(failed: Sequence[str], inputs: int) -> int:
    """Log at the end which inputs failed; return the exit code."""
    if failed:
        logger.error("%d of %d inputs failed:", len(failed), inputs)
        for line in failed:
            logger.error("  %s", line)
    return 1 if failed else 0
