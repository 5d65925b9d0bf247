"""Several ranks at one command: whole inputs are shared out, or the windows of each input. Knows no model."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from ..errors import InputError, OutputError, RankError, user_line
from ..outputs.base import DepthMap
from ..outputs.plan import RunOutputs, readable
from ..video.inputs import Input
from ..video.source import VideoSource
from .batch import Batch, Process
from .offline import READ_AHEAD, Frame, run_video
from .ranks import POLL_SECONDS, Ranks, longest_first
from .summary import RunSummary
from .threads import BackgroundConsumer, prefetch
from .window_spool import NEW_SLOTS, WindowSpool, spooled_bytes

logger = logging.getLogger(__name__)

# A run of windows costs its keyframes again, so it should be long; the last runs leave ranks idle, so it should not.
LONGEST_RUN = 16
# Where an input does not say how long it is.
USUAL_RUN = 8
# What ranks say of a window, and rank 0 of an input; before, it says how long the runs are.
THERE, NONE = "there", "none"
DONE = "done"


class WindowSource(Protocol):
    """Raw windows of one video, asked for in rising order; None beyond its end."""

    def window(self, index: int) -> DepthMap | None: ...


@dataclass(frozen=True)
class SplitInference:
    """Inference in its two halves, as `video_depth_anything.distributed` has them.

    windows: from a video's frames to its raw windows. read: from frames to the numbers of the windows that they fill.
    join: from raw windows in order to one (H, W) float32 map per frame. settings: what else decides their bits.
    """

    windows: Callable[[Iterator[Frame]], WindowSource]
    read: Callable[[Iterator[Frame]], Iterator[int]]
    join: Callable[[Iterator[DepthMap]], Iterator[DepthMap]]
    settings: str


def run_length(frames: int | None, ranks: int) -> int:
    """How many windows in a row one rank computes: as even as can be, at most `LONGEST_RUN`.

    Args:
        frames: as many as the input is believed to have; None if it does not say.
    """
    if frames is None:
        return USUAL_RUN
    windows = -(-frames // NEW_SLOTS)
    rounds = -(-windows // (ranks * LONGEST_RUN))
    return max(-(-windows // (ranks * max(rounds, 1))), 1)


class Labour:
    """One rank's part of an input's windows: runs that no other rank has taken, one window at a time.

    A window is written to the spool while the next one is computed, and announced when it is there. The folder itself
    is never asked, since network disks show new files late.
    """

    def __init__(self, ranks: Ranks, key: str, length: int, spool: WindowSpool, windows: WindowSource) -> None:
        self._ranks = ranks
        self._key = key
        self._length = length
        self._spool = spool
        self._windows = windows
        self._run: list[int] = []
        self._ended = False
        self._writing = BackgroundConsumer(self._write, 1)

    def step(self) -> bool:
        """Compute a window that is not there; False if none is left, and all of this rank's are in the spool."""
        while not self._ended:
            if not self._run:
                start = self._ranks.take(f"{self._key}/runs") * self._length
                self._run = list(range(start, start + self._length))
            index = self._run.pop(0)
            if state_of(self._ranks, self._key, index) is not None:
                continue
            window = self._windows.window(index)
            if window is not None:
                self._writing.put((index, window))
                return True
            # Whoever waits for these has seen another video.
            for missing in [index, *self._run]:
                announce(self._ranks, self._key, missing, NONE)
            self._ended = True
            self._writing.finish()
        return False

    def close(self) -> None:
        """End it, with what is computed in the spool if it can be."""
        try:
            self._writing.finish()
        except Exception:
            # Said by `step` already, or of no matter now.
            self._writing.cancel()

    def _write(self, item: tuple[int, DepthMap]) -> None:
        index, window = item
        self._spool.write(index, window)
        announce(self._ranks, self._key, index, THERE)


def announce(ranks: Ranks, key: str, index: int, state: str) -> None:
    """Say that a window is in the spool, or that there is none of that number."""
    ranks.set(f"{key}/window/{index}", state)


def state_of(ranks: Ranks, key: str, index: int) -> str | None:
    """What has been announced of a window."""
    return ranks.get(f"{key}/window/{index}")


def windows_in_order(
    ranks: Ranks, key: str, numbers: Iterable[int], labour: Labour, spool: WindowSpool
) -> Iterator[DepthMap]:
    """The raw windows `numbers`, whoever computes them; while one is missing this rank computes others.

    Raises:
        RankError: if another rank fails.
        InputError: if a rank finds fewer windows in the video.
    """
    for index in numbers:
        while (state := state_of(ranks, key, index)) is None:
            ranks.check()
            if not labour.step():
                time.sleep(POLL_SECONDS)
        if state == NONE:
            raise InputError(
                f"window {index} is missing: the video ended earlier for another rank; is it being written?"
            )
        yield spool.read(index)


@dataclass(frozen=True)
class SharedBatch:
    """What is done with every input, and by whom.

    process: runs a whole input on one rank. split: for inputs whose windows are shared out.
    """

    batch: Batch
    ranks: Ranks
    process: Process
    split: SplitInference

    def run(self, inputs: Sequence[Input]) -> int:
        """Run all inputs and return the exit code: 0, or 1 on rank 0 if some of several failed.

        At least as many inputs as ranks: each goes to one rank, longest first. Fewer: one after the other, the windows
        of each shared out; rank 0 aligns them and writes the outputs.

        Raises:
            Whatever a single input raises; with several, errors that are not the user's.
        """
        failed: list[str] = []
        if len(inputs) >= self.ranks.size:
            order = self.ranks.agree("order", lambda: longest_first([self._length(one) for one in inputs]))
            for one in self.ranks.share("inputs", [inputs[index] for index in order]):
                self._guarded(partial(self.batch.run, [one], self.process), failed, len(inputs))
        else:
            for index, one in enumerate(inputs):
                part = _Part(self, f"input/{index}", one)
                self._guarded(part.lead if self.ranks.rank == 0 else part.help, failed, len(inputs))
        failed = self.ranks.gather("failed", failed)
        if failed:
            logger.error("%d of %d inputs failed:", len(failed), len(inputs))
            for line in failed:
                logger.error("  %s", line)
        return 1 if failed else 0

    def _guarded(self, work: Callable[[], object], failed: list[str], inputs: int) -> None:
        try:
            work()
        except RankError:
            raise
        except Exception as error:
            line = user_line(error)
            if inputs == 1 or line is None or (self.ranks.rank > 0 and inputs < self.ranks.size):
                raise
            logger.error("%s", line)
            failed.append(line)

    def _length(self, one: Input) -> float:
        """Frames it is believed to have; one that cannot be opened says so when its turn comes."""
        try:
            with closing(one.open(self.batch.selection)) as source:
                return float("inf") if source.expected is None else source.expected
        except Exception as error:
            if user_line(error) is None:
                raise
            return 0.0


@dataclass(frozen=True)
class _Part:
    """An input whose windows are shared out."""

    shared: SharedBatch
    key: str
    one: Input

    def lead(self) -> None:
        """Rank 0: make the spool ready, see that all windows come, align them and write the outputs."""
        try:
            self.shared.batch.run([self.one], self._process)
        finally:
            self.shared.ranks.set(self.key, DONE)

    def help(self) -> None:
        """Other ranks: compute windows until none is left, or rank 0 is done with the input."""
        ranks, batch = self.shared.ranks, self.shared.batch
        said = ranks.wait(self.key)
        if said == DONE:
            return
        with closing(self.one.open(batch.selection)) as source:
            spool = WindowSpool(batch.plan.folder, self.one.name, source.size)
            with self._labour(int(said), spool, source) as labour:
                while ranks.get(self.key) != DONE and labour.step():
                    ranks.check()

    def _process(self, source: VideoSource, outputs: RunOutputs) -> RunSummary:
        shared, one, batch = self.shared, self.one, self.shared.batch
        # A stream that cannot be read twice is one rank's.
        if "://" in one.location or one.camera:
            logger.info("%s cannot be read by several ranks: rank 0 computes it alone", one.location)
            return shared.process(source, outputs)
        spool = self._begin(source)
        length = run_length(source.expected, shared.ranks.size)
        shared.ranks.set(self.key, str(length))
        with closing(one.open(batch.selection)) as again, self._labour(length, spool, again) as labour:

            def infer(frames: Iterator[Frame]) -> Iterator[DepthMap]:
                numbers = shared.split.read(frames)
                return shared.split.join(windows_in_order(shared.ranks, self.key, numbers, labour, spool))

            with batch.report.progress(source.expected, source.name) as advance:
                summary = run_video(source.timed(), infer, outputs, advance, batch.stop)
        spool.remove()
        return summary

    def _begin(self, source: VideoSource) -> WindowSpool:
        """The spool, with what is left of a run before announced."""
        batch, ranks = self.shared.batch, self.shared.ranks
        spool = WindowSpool(batch.plan.folder, self.one.name, source.size)
        paths = self.one.images or (Path(self.one.location),)
        state = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
        settings = {**batch.settings, "inference": self.shared.split.settings, "size": source.size, "input": state}
        found = spool.begin(settings, batch.resume)
        for index in found:
            announce(ranks, self.key, index, THERE)
        if found:
            logger.info("%s: %d windows were computed before", self.one.location, len(found))
        if source.expected is not None:
            missing = spooled_bytes(source.expected, source.size) - spooled_bytes(1, source.size) * len(found)
            outputs = sum(batch.plan.bytes_per_frame(source.size).values()) * source.expected
            check_space(batch.plan.folder, missing, outputs)
        return spool

    @contextmanager
    def _labour(self, length: int, spool: WindowSpool, source: VideoSource) -> Iterator[Labour]:
        with closing(prefetch((frame.image for frame in source.timed()), READ_AHEAD)) as frames:  # type: ignore[type-var]
            labour = Labour(self.shared.ranks, self.key, length, spool, self.shared.split.windows(frames))
            try:
                yield labour
            finally:
                labour.close()


def check_space(folder: Path, windows: float, outputs: float) -> None:
    """Refuse what does not fit.

    Raises:
        OutputError: naming what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if windows + outputs > free:
        raise OutputError(
            f"several ranks need {readable(windows)} on disk for windows, beside {readable(outputs)} for outputs; "
            f"{readable(free)} are free in {folder}; choose another --output_dir, or run without torchrun"
        )
    logger.info("disk: up to %s for windows, removed at the end", readable(windows))
