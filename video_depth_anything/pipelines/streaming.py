"""Inputs through a stream one after another, with what streaming adds: live sources, standard output, a window."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from contextlib import closing

from ..outputs.display import RawFormat, RawOutput, Window
from ..outputs.plan import OutputPlan
from ..outputs.run_outputs import RunOutputs
from ..pipelines.progress import progress
from ..video.inputs import Input
from ..video.realtime import Newest
from ..video.scene_cuts import CutDetector
from ..video.source import Selection, VideoSource
from ..video.timing import TimedFrame
from .batch import Batch, settings_of
from .offline import RunSummary
from .stream_runner import Stream, is_live, run_stream, say


class StreamingBatch:
    """What is done with every input of a streaming run.

    realtime: drop frames that come while the model is busy. raw: pixel format on standard output, None for none.
    """

    def __init__(self, batch: Batch, realtime: bool, show: bool, raw: RawFormat | None, reset_on_cut: bool) -> None:
        self._batch = batch
        self._realtime = realtime
        self._show = show
        self._raw = raw
        self._reset_on_cut = reset_on_cut

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, plan: OutputPlan, selection: Selection) -> StreamingBatch:
        batch = Batch(plan, selection, args.image_fps, args.resume, settings_of(args), say)
        return cls(batch, args.realtime, args.show, args.stdout, args.reset_on_cut)

    def run(self, inputs: Sequence[Input], stream: Stream) -> int:
        """Run all inputs and return the exit code, as `Batch.run` does."""
        if self._reset_on_cut:
            CutDetector()  # fails now, if at all

        def process(source: VideoSource, outputs: RunOutputs) -> RunSummary:
            return self._process(source, outputs, stream)

        return self._batch.run(inputs, process)

    def _process(self, source: VideoSource, outputs: RunOutputs, stream: Stream) -> RunSummary:
        info, style = self._batch.plan.run_info(source), self._batch.plan.style
        if self._raw is not None:
            outputs.add(RawOutput(info, style, self._raw))
        if self._show:
            outputs.add(Window(info, style))
        frames: Iterable[TimedFrame] = source.timed()
        newest = Newest(frames, not is_live(source.location)) if self._realtime else None
        cuts = CutDetector() if self._reset_on_cut else None
        with progress(source.expected, source.name) as advance, closing(iter(newest or frames)) as reading:  # type: ignore[type-var]
            summary = run_stream(reading, stream, [outputs], advance, cuts)
        if newest is not None:
            say(f"{newest.dropped} frames dropped, {summary.frames} kept")
        return summary
