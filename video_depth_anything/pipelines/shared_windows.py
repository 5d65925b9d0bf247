"""The windows of one input, computed by whichever rank is free and joined in order by rank 0."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator

from ..errors import InputError, RankError
from ..offline import RawWindows
from ..video.frame import DepthMap
from . import ranks as ranks_module
from .ranks import POLL_SECONDS, Ranks
from .threads import BackgroundConsumer
from .window_spool import NEW_SLOTS, WindowSpool

# A run of windows costs its keyframes again, so it should be long; the last runs leave ranks idle, so it should not.
LONGEST_RUN = 16
# Where an input does not say how long it is.
USUAL_RUN = 8
# What ranks say of a window: it is in the spool, or the video ends before it.
THERE, NONE = "there", "none"


def run_length(frames: int | None, ranks: int) -> int:
    """How many windows in a row one rank computes, of so many frames: as even as can be, at most `LONGEST_RUN`."""
    if frames is None:
        return USUAL_RUN
    windows = -(-frames // NEW_SLOTS)
    rounds = -(-windows // (ranks * LONGEST_RUN))
    return max(-(-windows // (ranks * max(rounds, 1))), 1)


class SharedWindows:
    """One rank's view of them. A rank takes runs that no other has taken, and computes one window after the other.

    A window is written to the spool while the next one is computed, and announced when it is there. The folder itself
    is never asked, since network disks show new files late. `key` names the input in what ranks tell each other; all of
    them have the same `run`, the number of windows that a rank takes in a row.
    """

    def __init__(self, ranks: Ranks, key: str, run: int, spool: WindowSpool, source: RawWindows) -> None:
        self._ranks = ranks
        self._key = key
        self._spool = spool
        self._source = source
        self._mine = self._taken(run)
        self._writing = BackgroundConsumer(self._write, 1)

    def announce(self, index: int, state: str) -> None:
        """Let all ranks know that a window is `THERE`, or that there is `NONE` of that number."""
        self._ranks.set(f"{self._key}/window/{index}", state)
        self._ranks.set(f"{self._key}/latest", str(index))

    def compute_next(self) -> bool:
        """Compute a window that is not there; False if none is left, and all of this rank's are in the spool."""
        for index in self._mine:
            window = self._source.window(index)
            if window is not None:
                self._writing.put((index, window))
                return True
            # A rank that waits for it has seen a longer video.
            self.announce(index, NONE)
            self._mine.close()
            self._writing.finish()
        return False

    def in_order(self, numbers: Iterable[int]) -> Iterator[DepthMap]:
        """The raw windows `numbers`, whoever computes them; while one is missing this rank computes others."""
        for index in numbers:
            self._ranks.check()
            latest, since = None, time.monotonic()
            while (state := self._state(index)) is None:
                self._ranks.check()
                found = self._ranks.get(f"{self._key}/latest")
                if self.compute_next() or found != latest:
                    latest, since = found, time.monotonic()
                elif time.monotonic() - since > ranks_module.TIMEOUT_SECONDS:
                    minutes = ranks_module.TIMEOUT_SECONDS / 60
                    raise RankError(
                        f"window {index} is missing, and no rank has finished one for {minutes:g} minutes: a rank "
                        "hangs or has died; --resume continues from what is finished"
                    )
                else:
                    time.sleep(POLL_SECONDS)
            if state == NONE:
                raise InputError(
                    f"window {index} is missing: the video was shorter for another rank; is it still being written?"
                )
            yield self._spool.read(index)

    def close(self) -> None:
        """End it, with what is computed in the spool if it can be."""
        try:
            self._writing.finish()
        except Exception:
            # `compute_next` has raised it already, or it no longer matters.
            self._writing.cancel()

    def _taken(self, run: int) -> Generator[int, None, None]:
        """Windows that fall to this rank and are not there."""
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
