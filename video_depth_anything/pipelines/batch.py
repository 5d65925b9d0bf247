"""Several inputs, one run each: what fails is reported at the end, the others finish."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import user_line
from ..outputs.plan import OutputPlan
from ..outputs.run_outputs import RunOutputs
from ..pipelines.progress import peak_memory
from ..video.inputs import Input
from ..video.source import Selection, VideoSource
from .offline import RunSummary
from .run_record import RunRecord, describe

logger = logging.getLogger(__name__)

# Takes an input that is open and its outputs, runs it to its end and closes the outputs.
Process = Callable[[VideoSource, RunOutputs], RunSummary]


def settings_of(args: argparse.Namespace) -> dict[str, str]:
    """The arguments that change what is written."""
    return {key: str(value) for key, value in vars(args).items() if key not in ("input_video", "output_dir", "resume")}


@dataclass(frozen=True)
class Batch:
    """What is done with every input.

    settings: all that changes the outputs, for `--resume` to compare. say: where each input's closing line goes.
    """

    plan: OutputPlan
    selection: Selection
    image_fps: float
    resume: bool
    settings: Mapping[str, str]
    say: Callable[[str], None] = print

    def run(self, inputs: Sequence[Input], process: Process) -> int:
        """Run all inputs and return the exit code: 0, 1 if some of several failed, 130 if the user ended it.

        Raises:
            Whatever a single input raises; with several, errors that are not the user's.
        """
        failed: list[str] = []
        self.plan.check_inputs(inputs)
        for one in inputs:
            try:
                if self._run_one(one, process):
                    return 130
            except Exception as error:
                line = user_line(error)
                if len(inputs) == 1 or line is None:
                    raise
                logger.error("%s", line)
                failed.append(line)
        if failed:
            logger.error("%d of %d inputs failed:", len(failed), len(inputs))
            for line in failed:
                logger.error("  %s", line)
        return 1 if failed else 0

    def _run_one(self, one: Input, process: Process) -> bool:
        """Run one input and return whether the user interrupted it."""
        record = RunRecord(self.plan.folder, one.name, one.location, self.settings)
        if self.resume and record.is_finished():
            logger.info("%s: finished before, skipped", one.location)
            return False
        source = one.open(self.selection, self.image_fps)
        try:
            with self.plan.open(source) as outputs:
                summary = process(source, outputs)
        finally:
            source.close()
        if not summary.interrupted:
            record.write(outputs)
        self.say(describe(summary, outputs, peak_memory()))
        return summary.interrupted
