"""One command on several ranks: distributes whole inputs, or the windows of each input."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch.distributed import DistError

from ..errors import InputError, OutputError, RankError, user_line
from ..offline import RawWindows, join_windows, windows_read
from ..outputs.plan import with_unit
from ..outputs.record import state_of
from ..outputs.run_outputs import RunOutputs
from ..video.frame import DepthMap, Image
from ..video.inputs import Input
from ..video.source import VideoSource
from ..windows import STEP
from .batch import Batch, failure_line, report_failures
from .driver import READ_AHEAD, RunSummary, by_windows, run_video
from .ranks import POLL_SECONDS, Ranks, longest_first
from .stop import Stop
from .threads import BackgroundConsumer, prefetch
from .window_spool import WindowSpool, spooled_bytes

logger = logging.getLogger(__name__)

# Announced by rank 0 when an input needs no more windows; before, it announces the length of runs.
DONE = "done"
# Each run of windows encodes ten keyframes again, so long runs are better; short ones leave fewer ranks idle at the
# end.
LONGEST_RUN = 16
# For inputs of unknown length.
USUAL_RUN = 8
# Announcements about a window: it is in the spool, or the video ends before it.
THERE, NONE = "there", "none"
# Seconds that a rank waits for another one's window.
TIMEOUT_SECONDS = 3600.0


def run_length(frames: int | None, ranks: int) -> int:
    """Number of consecutive windows per rank for a video of `frames`: as even as possible, at most `LONGEST_RUN`."""
    if frames is None:
        return USUAL_RUN
    windows = -(-frames // STEP)
    rounds = -(-windows // (ranks * LONGEST_RUN))
    return max(-(-windows // (ranks * max(rounds, 1))), 1)


class SharedWindows:
    """One rank's view of an input's windows. It takes runs that no other rank has taken, and computes them in order.

    A window is written to the spool while the next one is computed, and announced when complete. The folder is never
    listed, because network disks show new files late. `key` names the input in the store; `run`, the number of
    consecutive windows that a rank takes, is the same on all ranks.
    """

    def __init__(self, ranks: Ranks, key: str, run: int, spool: WindowSpool, source: RawWindows) -> None:
        self._ranks = ranks
        self._key = key
        self._spool = spool
        self._source = source
        self._mine = self._taken(run)
        self._writing = BackgroundConsumer(self._write, 1)

    def announce(self, index: int, state: str) -> None:
        """Announce to all ranks that a window is `THERE`, or that there is `NONE` of that number."""
        self._ranks.set(f"{self._key}/window/{index}", state)

    def compute_next(self) -> bool:
        """Compute a missing window; False if none is left and all of this rank's are in the spool."""
        for index in self._mine:
            window = self._source.window(index)
            if window is not None:
                self._writing.put((index, window))
                return True
            # A rank that waits for this window read a longer video.
            self.announce(index, NONE)
            self._mine.close()
            self._writing.finish()
        return False

    def in_order(self, numbers: Iterable[int]) -> Iterator[DepthMap]:
        """Yield the raw windows `numbers` of all ranks; while one is missing, compute others."""
        for index in numbers:
            self._ranks.check()
            since = time.monotonic()
            while (state := self._state(index)) is None:
                self._ranks.check()
                if self.compute_next():
                    since = time.monotonic()
                elif time.monotonic() - since > TIMEOUT_SECONDS:
                    minutes = TIMEOUT_SECONDS / 60
                    raise RankError(
                        f"window {index} has been missing for {minutes:g} minutes: a rank hangs or has died; "
                        "--resume continues from what is finished"
                    )
                else:
                    time.sleep(POLL_SECONDS)
            if state == NONE:
                raise InputError(
                    f"window {index} is missing: the video was shorter for another rank; is it still being written?"
                )
            yield self._spool.read(index)

    def close(self) -> None:
        """Stop, and write computed windows to the spool if possible."""
        try:
            self._writing.finish()
        except Exception:
            # `compute_next` has already raised it, or it no longer matters.
            self._writing.cancel()

    def _taken(self, run: int) -> Generator[int, None, None]:
        """Yield missing windows that this rank has taken."""
        while True:
            start = self._ranks.take(f"{self._key}/runs") * run
            for index in range(start, start + run):
                if self._state(index) is None:
                    yield index

    def _state(self, index: int) -> str | None:
        return self._ranks.get(f"{self._key}/window/{index}")

    def _write(self, item: tuple[int, DepthMap]) -> None:
        index, window = item
        self._spool.write(index, window)
        self.announce(index, THERE)


@dataclass(frozen=True)
class SharedBatch:
    """A batch distributed over ranks."""

    batch: Batch
    ranks: Ranks

    def run(self, inputs: Sequence[Input]) -> int:
        """Run all inputs, the same on all ranks, and return the exit code: 0, or 1 on rank 0 if some of several failed.

        With at least as many inputs as ranks, each goes to one rank, longest first. With fewer, they are processed one
        after the other: windows are distributed, and rank 0 aligns them and writes the outputs.
        """
        ranks, failed = self.ranks, list[str]()
        whole = len(inputs) >= ranks.size
        mine: Iterable[int] = range(len(inputs))
        if whole:
            order = ranks.agree(lambda: longest_first([self._frames(one) for one in inputs]))
            mine = ranks.share("inputs", order)
        for index in mine:
            one, key = inputs[index], f"input/{index}"
            try:
                if whole:
                    self.batch.run_one(one)
                elif ranks.rank == 0:
                    try:
                        self.batch.run_one(one, process=partial(self._join, one, key))
                    finally:
                        ranks.set(key, DONE)
                else:
                    self._help(one, key)
            except Exception as error:
                helped = ranks.rank > 0 and not whole
                if len(inputs) == 1 or helped or isinstance(error, (RankError, DistError)):
                    raise
                failed.append(failure_line(one, error))
            ranks.check()
        all_failed = [line for own in ranks.gather(failed) for line in own]
        return report_failures(all_failed, len(inputs)) if ranks.rank == 0 else 0

    def _frames(self, one: Input) -> float:
        """Expected number of frames; 0 for an input that cannot be opened, which fails when it is its turn."""
        try:
            with closing(one.open(self.batch.options.selection, self.batch.options.limits)) as source:
                return float("inf") if source.expected is None else source.expected
        except Exception as error:
            if user_line(error) is None:
                raise
            return 0.0

    def _help(self, one: Input, key: str) -> None:
        """Other ranks: compute windows until none is left, or rank 0 has finished the input."""
        run = self.ranks.wait(key)
        if run == DONE:
            return
        with self._windows(one, key, int(run)) as windows:
            while self.ranks.get(key) != DONE and windows.compute_next():
                self.ranks.check()

    def _join(self, one: Input, key: str, source: VideoSource, outputs: RunOutputs, label: str) -> RunSummary:
        """Rank 0: collect all windows of an input, align them and write the outputs."""
        if one.path is None:
            logger.info("%s cannot be read by several ranks, so rank 0 computes it alone", one.shown)
            return self.batch.compute(source, outputs, label)
        plan, network = self.batch.plan, self.batch.network
        what = {
            "inference": str(network.execution),
            "size": source.size,
            "input": state_of(one.location, one.images),
        }
        found = WindowSpool(plan.folder, one).begin({**plan.settings, **what}, self.batch.options.resume)
        if found:
            logger.info("%s: %d windows were already computed", one.shown, len(found))
        if source.expected is not None:
            missing = spooled_bytes(source.expected, source.size) - spooled_bytes(1, source.size) * len(found)
            needed = sum(plan.bytes_per_frame(source.size).values()) * source.expected
            check_space(plan.folder, missing, needed)
        run = run_length(source.expected, self.ranks.size)
        with self._windows(one, key, run) as windows:
            for index in found:
                windows.announce(index, THERE)
            self.ranks.set(key, str(run))

            def infer(frames: Iterator[Image]) -> Iterator[DepthMap]:
                raw = windows.in_order(windows_read(frames))
                return join_windows(raw, network.metric, network.execution.device)

            with self.batch.show(self.batch.total(source), label) as advance:
                # A separate flag: if the run ends early, windows are kept for --resume, and outputs are not.
                frames, depths, edges = source.timed(), by_windows(infer), self.batch.sharpened_from
                return run_video(frames, depths, outputs, advance, Stop(), False, source.place, edges)

    @contextmanager
    def _windows(self, one: Input, key: str, run: int) -> Iterator[SharedWindows]:
        """Open an input's windows on this rank, with its own reader."""
        with closing(one.open(self.batch.options.selection, self.batch.options.limits)) as source:
            spool = WindowSpool(self.batch.plan.folder, one)
            frames = prefetch((frame.image for frame in source.timed()), READ_AHEAD)
            network = self.batch.network
            raw = RawWindows(network.network, frames, network.input_size, network.execution)
            windows = SharedWindows(self.ranks, key, run, spool, raw)
            with closing(frames), closing(windows):  # type: ignore[type-var]
                yield windows


def check_space(folder: Path, windows: float, outputs: float) -> None:
    """OutputError if windows and outputs together do not fit on the disk."""
    free = shutil.disk_usage(folder).free
    if windows + outputs > free:
        raise OutputError(
            f"several ranks need {with_unit(windows)} on disk for windows and {with_unit(outputs)} for outputs; "
            f"{with_unit(free)} are free in {folder}; choose another --output_dir, or run without torchrun"
        )
    logger.info("disk: up to %s for windows, removed at the end", with_unit(windows))
