"""Several ranks at one command: whole inputs are shared out, or the windows of each input."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import OutputError, RankError, user_line
from ..offline import windows_read
from ..outputs.plan import readable
from ..outputs.record import state_of
from ..outputs.run_outputs import RunOutputs
from ..video.frame import DepthMap, Image
from ..video.inputs import Input
from ..video.source import VideoSource
from .batch import Batch, failure_line, report_failures
from .driver import READ_AHEAD, by_windows, run_video
from .ranks import Ranks, longest_first
from .shared_windows import THERE, SharedWindows, run_length
from .stop import Stop
from .summary import RunSummary
from .threads import prefetch
from .window_spool import WindowSpool, spooled_bytes

logger = logging.getLogger(__name__)

# What rank 0 says of an input with which it needs no help any more; before, it says how long the runs are.
DONE = "done"


@dataclass(frozen=True)
class SharedBatch:
    """A batch, and who does it."""

    batch: Batch
    ranks: Ranks

    def run(self, inputs: Sequence[Input]) -> int:
        """Run all inputs, the same on all ranks, and return the exit code: 0, or 1 on rank 0 if some of several failed.

        At least as many inputs as ranks: each goes to one rank, longest first. Fewer: one after the other, the windows
        of each shared out; rank 0 aligns them and writes the outputs.
        """
        failed: list[str] = []
        whole = len(inputs) >= self.ranks.size
        for one, work in self._whole_inputs(inputs) if whole else self._parts(inputs):
            try:
                work()
            except Exception as error:
                helped = self.ranks.rank > 0 and not whole
                if len(inputs) == 1 or helped or isinstance(error, RankError):
                    raise
                failed.append(failure_line(one, error))
            self.ranks.check()
        all_failed = [line for own in self.ranks.gather(failed) for line in own]
        return report_failures(all_failed, len(inputs)) if self.ranks.rank == 0 else 0

    def _whole_inputs(self, inputs: Sequence[Input]) -> Iterator[tuple[Input, Callable[[], object]]]:
        order = self.ranks.agree(lambda: longest_first([self._frames(one) for one in inputs]))
        for index in self.ranks.share("inputs", order):
            yield inputs[index], partial(self.batch.run_one, inputs[index])

    def _parts(self, inputs: Sequence[Input]) -> Iterator[tuple[Input, Callable[[], object]]]:
        for index, one in enumerate(inputs):
            yield one, partial(self._lead if self.ranks.rank == 0 else self._help, one, f"input/{index}")

    def _frames(self, one: Input) -> float:
        """As many as it is believed to have; an input that cannot be opened says so when its turn comes."""
        try:
            with closing(one.open(self.batch.options.selection, self.batch.options.limits)) as source:
                return float("inf") if source.expected is None else source.expected
        except Exception as error:
            if user_line(error) is None:
                raise
            return 0.0

    def _lead(self, one: Input, key: str) -> None:
        """Rank 0: see that all windows of an input come, align them and write the outputs."""
        try:
            self.batch.run_one(one, process=partial(self._join, one, key))
        finally:
            self.ranks.set(key, DONE)

    def _help(self, one: Input, key: str) -> None:
        """Other ranks: compute windows until none is left, or rank 0 is done with the input."""
        run = self.ranks.wait(key)
        if run == DONE:
            return
        with self._windows(one, key, int(run)) as windows:
            while self.ranks.get(key) != DONE and windows.compute_next():
                self.ranks.check()

    def _join(self, one: Input, key: str, source: VideoSource, outputs: RunOutputs, label: str) -> RunSummary:
        # A stream that cannot be read twice is one rank's.
        if one.path is None:
            logger.info("%s cannot be read by several ranks, so rank 0 computes it alone", one.shown)
            return self.batch.compute(source, outputs, label)
        spool = WindowSpool(self.batch.plan.folder, one, source.size)
        found = self._begin(one, source, spool)
        run = run_length(source.expected, self.ranks.size)
        with self._windows(one, key, run) as windows:
            for index in found:
                windows.announce(index, THERE)
            self.ranks.set(key, str(run))

            def infer(frames: Iterator[Image]) -> Iterator[DepthMap]:
                return self.batch.network.join(windows.in_order(windows_read(frames)))

            with self.batch.show(self.batch.total(source), label) as advance:
                # A flag of its own: where the run ends, windows are kept to go on from, and outputs are not.
                return run_video(source.timed(), by_windows(infer), outputs, advance, Stop(), place=source.place)

    def _begin(self, one: Input, source: VideoSource, spool: WindowSpool) -> list[int]:
        """Make the spool ready and return the windows that a run before has left."""
        what = {
            "inference": str(self.batch.network.execution),
            "size": source.size,
            "input": state_of(one.location, one.images),
        }
        found = spool.begin({**self.batch.plan.settings, **what}, self.batch.options.resume)
        if found:
            logger.info("%s: %d windows were already computed", one.shown, len(found))
        if source.expected is not None:
            missing = spooled_bytes(source.expected, source.size) - spooled_bytes(1, source.size) * len(found)
            outputs = sum(self.batch.plan.bytes_per_frame(source.size).values()) * source.expected
            check_space(self.batch.plan.folder, missing, outputs)
        return found

    @contextmanager
    def _windows(self, one: Input, key: str, run: int) -> Iterator[SharedWindows]:
        """This rank's view of an input's windows, with a reading of its own."""
        with closing(one.open(self.batch.options.selection, self.batch.options.limits)) as source:
            spool = WindowSpool(self.batch.plan.folder, one, source.size)
            frames = prefetch((frame.image for frame in source.timed()), READ_AHEAD)
            windows = SharedWindows(self.ranks, key, run, spool, self.batch.network.raw_windows(frames))
            with closing(frames), closing(windows):  # type: ignore[type-var]
                yield windows


def check_space(folder: Path, windows: float, outputs: float) -> None:
    """Refuse bytes that do not fit beside each other."""
    free = shutil.disk_usage(folder).free
    if windows + outputs > free:
        raise OutputError(
            f"several ranks need {readable(windows)} on disk for windows and {readable(outputs)} for outputs; "
            f"{readable(free)} are free in {folder}; choose another --output_dir, or run without torchrun"
        )
    logger.info("disk: up to %s for windows, removed at the end", readable(windows))
