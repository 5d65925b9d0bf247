"""Several inputs, one run each: what fails is reported at the end, the others finish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, user_line
from ..outputs.plan import OutputPlan
from ..outputs.run_outputs import RunOutputs
from ..video.containers import Limits
from ..video.inputs import Input
from ..video.source import Selection, VideoSource
from .report import Report
from .run_record import RunRecord
from .stop import Stop
from .summary import RunSummary

logger = logging.getLogger(__name__)

# Takes an input that is open and its outputs, runs it to its end, and closes the outputs.
Process = Callable[[VideoSource, RunOutputs], RunSummary]

INTERRUPTED = 130


@dataclass(frozen=True)
class Batch:
    """What is done with every input.

    Attributes:
        plan: what is written.
        selection: which frames.
        limits: what inputs may ask for.
        settings: all that changes the outputs, for `resume` to compare.
        resume: skip inputs that were finished with the same settings.
        checkpoint: name of the weights.
        stop: ends the run.
        report: shows it.
    """

    plan: OutputPlan
    selection: Selection
    limits: Limits
    settings: Mapping[str, str]
    resume: bool
    checkpoint: str
    stop: Stop
    report: Report

    def run(self, inputs: Sequence[Input], process: Process) -> int:
        """Run all inputs.

        Args:
            inputs: each with a name of its own.
            process: runs one.

        Returns:
            The exit code: 0, 1 if some of several failed, 130 if the user ended the run.

        Raises:
            Whatever a single input raises; with several, nothing.
        """
        failed: list[str] = []
        for number, one in enumerate(inputs, start=1):
            if self.stop.is_set():
                return INTERRUPTED
            self.report.position(number, len(inputs))
            try:
                if self.run_one(one, process):
                    return INTERRUPTED
            except Exception as error:
                if len(inputs) == 1:
                    raise
                failed.append(failure_line(one, error))
        return report_failures(failed, len(inputs))

    def run_one(self, one: Input, process: Process) -> bool:
        """Run one input and return whether the user interrupted it.

        Raises:
            BrokenOffError: if it broke off, after its outputs were closed as those of an interrupted run.
        """
        record = RunRecord(self.plan.folder, one, self.settings)
        if self.resume and record.is_finished():
            logger.info("%s: finished before, skipped", one.location)
            return False
        source = one.open(self.selection, self.limits)
        try:
            with self.plan.open(source) as outputs:
                summary = process(source, outputs)
        finally:
            source.close()
        if outputs.files() and not summary.interrupted and summary.broken is None:
            record.write(outputs.files())
        self.report.say(summary.line(outputs.written(), self.checkpoint))
        if summary.broken is not None:
            raise summary.broken
        return summary.interrupted


def failure_line(one: Input, error: Exception) -> str:
    """Say in a line, which is returned, that an input failed; with a traceback if that is a bug, or with `-v`."""
    line = user_line(error)
    if line is None:
        line = f"{one.location}: {type(error).__name__}: {error}"
        logger.error("%s", line, exc_info=error)
    else:
        logger.debug("%s", type(error).__name__, exc_info=error)
        logger.error("%s", line)
    return line


def report_failures(failed: Sequence[str], inputs: int) -> int:
    """Say at the end which inputs failed; return the exit code."""
    if failed:
        logger.error("%d of %d inputs failed:", len(failed), inputs)
        for line in failed:
            logger.error("  %s", line)
    return 1 if failed else 0


def check_present(inputs: Sequence[Input]) -> None:
    """Refuse a run none of whose inputs is there, before anything is loaded for it.

    Raises:
        InputError: naming the first one.
    """
    files = [one.path for one in inputs if one.path is not None and not one.images]
    if len(files) == len(inputs) and not any(path.exists() for path in files):
        raise InputError(f"input video {files[0]} not found{example_hint(files[0])}")


def example_hint(path: Path) -> str:
    """A remedy for who follows the original's documentation, whose example clips are not bundled."""
    if path.parent.name == "example_videos":
        return "; the bundled example is assets/example_videos/box.mp4"
    return ""
