"""The processes that torchrun starts for one command: who does what, and how all end when one fails.

`torch.distributed` carries what they tell each other: agreements over gloo, and over its store the counters by which
work is handed out. No tensor is ever sent. torchrun ends the run when a process dies; what it cannot see, a process
that hangs, a thread of every rank watches for. Imports nothing heavy.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from ..errors import RankError, user_line
from .stop import Stop, Stopped, stop_on_signals

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

T = TypeVar("T")
logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
BEAT_SECONDS = 1.0
# Without a sign of life for so long a rank counts as hung; nothing else keeps Python's threads from running so long.
SILENCE_SECONDS = 60.0
# How long a failed run's rank may take to end by itself; ten seconds later torchrun would kill it without a word.
GRACE_SECONDS = 20.0
# Waiting for a busy rank may take days; what has no prospect is ended by the thread that watches.
NO_TIMEOUT = timedelta(days=365)


class RunEnded(RankError):
    """This rank is to end before its work is done: it was told to, or another one has failed."""


class Ranks:
    """One process's view of all of them. Inside its context this rank shows that it lives, and watches.

    Rank 0 watches all others, and they watch rank 0. All ranks call `agree`, `gather` and `meet` in the same order.

    Args:
        store: shared by all ranks.
        rank: this process's number, from 0.
        size: how many there are.
        stop: ends this process's work; it is set as soon as the run has failed anywhere.
    """

    def __init__(self, store: Store, rank: int, size: int, stop: Stop) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        self._stop = stop
        self._speaks = rank == 0
        self._last_beat = dict.fromkeys(range(1, size) if rank == 0 else [0], "")
        # Counted in looks of our own: a rank that was itself held up must not blame the others.
        self._missed = dict.fromkeys(self._last_beat, 0)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self.set(f"host/{rank}", socket.gethostname())

    def __enter__(self) -> Ranks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def agree(self, decide: Callable[[], T]) -> T:
        """What rank 0 decides, on all ranks; it must survive pickling."""
        import torch.distributed as dist

        decided = [decide() if self.rank == 0 else None]
        self._together(lambda: dist.broadcast_object_list(decided, src=0))
        return decided[0]  # type: ignore[return-value]

    def gather(self, value: T) -> list[T]:
        """All ranks' values, as soon as the last one has come here."""
        import torch.distributed as dist

        values = [value] * self.size
        self._together(lambda: dist.all_gather_object(values, value))
        return values

    def meet(self) -> None:
        """Wait until all ranks have come here."""
        import torch.distributed as dist

        self._together(dist.barrier)

    def set(self, key: str, value: str) -> None:
        """Let all ranks know."""
        self._stored(lambda: self._store.set(key, value))

    def get(self, key: str) -> str | None:
        """What a rank has set, None if none has yet."""
        return self._stored(lambda: self._store.get(key).decode() if self._store.check([key]) else None)

    def wait(self, key: str) -> str:
        """What a rank sets, as soon as it has.

        Raises:
            RunEnded: if the run ends before.
        """
        while (value := self.get(key)) is None:
            self.check()
            self._stop.wait(POLL_SECONDS)
        return value

    def take(self, key: str) -> int:
        """The next number, from 0 on, of a counter that all ranks share: each number goes to one of them."""
        return self._stored(lambda: self._store.add(key, 1)) - 1

    def share(self, key: str, items: Sequence[T]) -> Iterator[T]:
        """Those of `items` that fall to this rank: the next one whenever it asks, in their order."""
        while (index := self.take(key)) < len(items):
            self.check()
            yield items[index]

    @contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """One rank at a time, in the order in which they come."""
        ticket = self.take(f"{key}/tickets")
        if ticket > 0:
            self.wait(f"{key}/done/{ticket - 1}")
        yield
        # Not after an error: that ends the run, and nobody shall build on what was left half done.
        self.set(f"{key}/done/{ticket}", "")

    def check(self) -> None:
        """Do nothing, or end the work in hand.

        Raises:
            RunEnded: if this process was told to end, or any rank has failed.
        """
        try:
            self._stop.check()
        except Stopped as stopped:
            raise RunEnded(str(stopped)) from stopped

    def name(self, rank: int) -> str:
        """A rank as messages call it, with its machine."""
        return f"rank {rank} ({self.get(f'host/{rank}') or 'never seen'})"

    def fail(self, reason: str) -> str:
        """Tell all ranks why the run ends, and return the reason that was told first."""
        return self._stored(lambda: self._store.compare_set("failure", "", reason).decode())

    def verdict(self, error: Exception) -> BaseException:
        """What this rank ends with: one of them says why the run ends, but any of them shows the traceback of a bug.

        Args:
            error: what has ended this rank's work: its own error, or `RunEnded`.
        """
        line = user_line(error)
        try:
            if isinstance(error, (RunEnded, Stopped)):
                reason = self.fail(self._cause(error))
            else:
                reason = self.fail(f"{self.name(self.rank)}: {line or f'{type(error).__name__}: {error}'}")
                if line is None:
                    return error
        except RankError as lost:
            return lost
        return RankError(reason) if self._speaks else SystemExit(2)

    def _cause(self, ended: Exception) -> str:
        """What has stopped this rank: another one's failure if it is told within a moment, else what `ended` says."""
        deadline = time.monotonic() + 2 * BEAT_SECONDS
        while (failure := self.get("failure")) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        torchrun = ", as torchrun does when another rank has died" if str(ended) == "SIGTERM" else ""
        said = f"{self.name(self.rank)}: ended by {ended}{torchrun}; --resume goes on from what is finished"
        return failure or said

    def _watch(self) -> None:
        failure, beat = None, 0
        try:
            while failure is None and not self._left.wait(BEAT_SECONDS):
                beat += 1
                failure = self._look(beat)
            self.set(f"beat/{self.rank}", "left")
        except RankError as lost:
            failure = str(lost)
        if failure is not None:
            self._stop.set(failure)
            if not self._left.wait(GRACE_SECONDS):
                if self._speaks:
                    logger.error("%s", failure)
                os._exit(2)

    def _look(self, beat: int) -> str | None:
        """Show that this rank lives, look after others, and return why the run has failed, if it has."""
        self.set(f"beat/{self.rank}", str(beat))
        for other, last in self._last_beat.items():
            self._last_beat[other] = self.get(f"beat/{other}") or ""
            self._missed[other] = self._missed[other] + 1 if self._last_beat[other] == last != "left" else 0
            if self._missed[other] * BEAT_SECONDS >= SILENCE_SECONDS:
                silence = f"rank {self.rank} has not heard of it for {SILENCE_SECONDS:g} seconds"
                said = f"{self.name(other)} hangs or is gone: {silence}"
                # Where rank 0 hangs, the first one to see it speaks in its place.
                self._speaks |= self.fail(said) == said
        return self.get("failure")

    def _together(self, operation: Callable[[], object]) -> None:
        self.check()
        try:
            operation()
        except RuntimeError as error:
            raise RunEnded(f"the loss of another rank ({error})") from error

    def _stored(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except RuntimeError as error:
            raise RankError(f"rank {self.rank}: the store that connects the ranks is gone: {error}") from error


@contextmanager
def join_ranks(stop: Stop | None = None) -> Iterator[Ranks | None]:
    """The ranks of this command while the block runs; None where the process is alone.

    An error that leaves the block ends all of them, with one line from rank 0 that names the rank, its machine and the
    reason. So does a signal, which torchrun sends to the ranks that are left when a process has died; which one, and of
    what, torchrun says itself.

    Args:
        stop: what ends this process's work; None to make one that signals set.

    Raises:
        RankError: on rank 0, why the run ends. SystemExit: on the others.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2 or "RANK" not in os.environ:
        yield None
        return
    rank = int(os.environ["RANK"])
    with ExitStack() as stack:
        stop = stop or stack.enter_context(stop_on_signals())
        ranks = stack.enter_context(Ranks(stack.enter_context(_connected(rank, size)), rank, size, stop))
        try:
            yield ranks
        except Exception as error:
            verdict = ranks.verdict(error)
            if verdict is error:
                raise
            raise verdict from error


@contextmanager
def _connected(rank: int, size: int) -> Iterator[Store]:
    """The store, with all ranks in one group."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=SILENCE_SECONDS)))
        group_store = dist.PrefixStore("group", store)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=group_store, rank=rank, world_size=size, timeout=NO_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise RankError(f"rank {rank} of {size}: cannot reach the other ranks: {error}") from error
    try:
        yield store
    finally:
        dist.destroy_process_group()


def use_own_gpu() -> None:
    """Make one of this machine's GPUs the current one, another for each rank on it; ranks in excess share them."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def longest_first(lengths: Sequence[float]) -> list[int]:
    """Indices by falling length, ties in their order: the long ones begin first, so that all end together.

    Graham, Bounds on multiprocessing timing anomalies, 1969: at most 4/3 of the shortest time.
    """
    return sorted(range(len(lengths)), key=lambda index: -lengths[index])
