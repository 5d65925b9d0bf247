"""Several inputs, one run each: what fails is reported at the end, the others finish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import cli
from .depth_writers import DepthMap
from .outputs import OutputPlan, RunRecord, describe
from .runner import run_video
from .sources import Input
from .video_source import Selection

logger = logging.getLogger(__name__)

Infer = Callable[[Iterator[npt.NDArray[np.uint8]]], Iterator[DepthMap]]


@dataclass(frozen=True)
class Batch:
    """What is done with every input. `settings` is all that changes the outputs, for `--resume` to compare."""

    plan: OutputPlan
    selection: Selection
    image_fps: float
    resume: bool
    settings: Mapping[str, str]

    def run(self, inputs: Sequence[Input], infer: Infer) -> int:
        """Run all inputs and return the exit code: 0, 1 if some of several failed, 130 if the user ended it.

        Raises:
            Whatever a single input raises; with several, errors that are not the user's.
        """
        failed: list[str] = []
        for one in inputs:
            try:
                if self._run_one(one, infer):
                    return 130
            except Exception as error:
                line = cli.user_error(error)
                if len(inputs) == 1 or line is None:
                    raise
                logger.error("%s", line)
                failed.append(line)
        if failed:
            logger.error("%d of %d inputs failed:", len(failed), len(inputs))
            for line in failed:
                logger.error("  %s", line)
        return 1 if failed else 0

    def _run_one(self, one: Input, infer: Infer) -> bool:
        """Run one input and return whether the user interrupted it."""
        record = RunRecord(self.plan.folder, one.name, one.location, self.settings)
        if self.resume and record.is_finished():
            logger.info("%s: finished before, skipped", one.location)
            return False
        source = one.open(self.selection, self.image_fps)
        try:
            writers = self.plan.make_writers(source)
            record.forget()
            with cli.progress(source.expected, one.name) as advance:
                summary = run_video(source.timed(), infer, writers, advance)
        finally:
            source.close()
        if not summary.interrupted:
            record.write(writers)
        print(describe(summary, writers, cli.peak_memory()), flush=True)
        return summary.interrupted
