"""The processes that torchrun starts for one command: who does what, and how all end when one fails.

They talk through torchrun's key-value store alone, in short texts: no tensor is ever sent. Imports nothing heavy.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Protocol, TypeVar

from ..errors import RankError, user_line
from .stop import ENDING

T = TypeVar("T")

POLL_SECONDS = 0.1
BEAT_SECONDS = 1.0
# Longer than anything that keeps Python's other threads from running; a machine that is gone is noticed after it.
SILENCE_SECONDS = 60.0
# How long to look for the reason after being told to end: the rank that failed may still be writing it down.
REASON_SECONDS = 1.0


class Store(Protocol):
    """What is used of `torch.distributed.Store`."""

    def set(self, key: str, value: str) -> None: ...

    def get(self, key: str) -> bytes: ...

    def add(self, key: str, amount: int) -> int: ...

    def check(self, keys: list[str]) -> bool: ...


class Ranks:
    """One process's view of all of them.

    Args:
        store: shared by all ranks. rank, size: this process's number, and how many there are.
        silence: seconds without a sign of life after which a rank counts as dead.
    """

    def __init__(self, store: Store, rank: int, size: int, silence: float = SILENCE_SECONDS) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        self._silence = silence
        self._watched = [r for r in range(size) if r != rank] if rank == 0 else [0]
        self._heard = {r: ("", time.monotonic()) for r in self._watched}
        self._looked = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.set(f"host/{rank}", socket.gethostname())
        self._thread.start()

    def set(self, key: str, value: str) -> None:
        """Let all ranks know."""
        self._call(lambda: self._store.set(key, value))

    def get(self, key: str) -> str | None:
        """What a rank has set, None if none has yet."""
        return self._call(lambda: self._store.get(key).decode() if self._store.check([key]) else None)

    def take(self, key: str) -> int:
        """The next number, from 0 on, of a counter that all ranks share: each number goes to one of them."""
        return self._call(lambda: self._store.add(key, 1)) - 1

    def wait(self, key: str) -> str:
        """What a rank sets, as soon as it has.

        Raises:
            RankError: if a rank fails meanwhile.
        """
        while (value := self.get(key)) is None:
            self.check()
            time.sleep(POLL_SECONDS)
        return value

    def agree(self, key: str, decide: Callable[[], T]) -> T:
        """What rank 0 decides, on all ranks; it must survive JSON."""
        if self.rank == 0:
            self.set(key, json.dumps(decide()))
        decided: T = json.loads(self.wait(key))
        return decided

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

    def meet(self, key: str) -> None:
        """Wait until all ranks have come here."""
        self.set(f"{key}/{self.rank}", "")
        for rank in range(self.size):
            self.wait(f"{key}/{rank}")

    def check(self) -> None:
        """Look after the others: all of them on rank 0, and rank 0 on all of them.

        Raises:
            RankError: if one has failed, or has not been heard of for long.
        """
        reason = self.get("failure")
        if reason is not None:
            raise RankError(reason)
        now = time.monotonic()
        if now - self._looked < BEAT_SECONDS:
            return
        self._looked = now
        for rank in self._watched:
            beat = self.get(f"beat/{rank}") or ""
            last, since = self._heard[rank]
            if beat != last:
                self._heard[rank] = (beat, now)
            elif now - since > self._silence and beat != "end":
                raise RankError(f"{self.name(rank)}: not heard of for {self._silence:g} seconds, it must have died")

    def name(self, rank: int) -> str:
        """A rank as messages call it, with its machine."""
        return f"rank {rank} ({self.get(f'host/{rank}') or 'never seen'})"

    def fail(self, reason: str) -> bool:
        """Tell all ranks why the run ends; False if another has been first."""
        if self.take("failures") > 0:
            return False
        self.set("failure", reason)
        return True

    def wait_for_failure(self) -> str | None:
        """Why the run ends, if a rank says so within a moment."""
        deadline = time.monotonic() + REASON_SECONDS
        while (reason := self.get("failure")) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return reason

    def gather(self, key: str, lines: Sequence[str]) -> list[str]:
        """On rank 0, all ranks' lines when all have come here; elsewhere nothing, at once."""
        self.set(f"{key}/{self.rank}", json.dumps(list(lines)))
        if self.rank > 0:
            return []
        return [line for rank in range(self.size) for line in json.loads(self.wait(f"{key}/{rank}"))]

    def close(self) -> None:
        """No sign of life any more, and none expected."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        count = 0
        try:
            while not self._stop.wait(BEAT_SECONDS):
                count += 1
                self.set(f"beat/{self.rank}", str(count))
            self.set(f"beat/{self.rank}", "end")
        except RankError:
            return  # the main thread meets the same error and says it

    def _call(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except RuntimeError as error:
            raise RankError(f"rank {self.rank}: the store that connects the ranks is gone: {error}") from error


@contextmanager
def join_ranks() -> Iterator[Ranks | None]:
    """The ranks of this command while the block runs; None where the process is alone.

    An error that leaves the block ends all of them: the first rank to fail says why, with its name and its machine.
    So does a signal, which torchrun sends to the ranks that are left when a process has died.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2 or "RANK" not in os.environ:
        yield None
        return
    ranks = Ranks(_connect(size), int(os.environ["RANK"]), size)
    name = ranks.name(ranks.rank)
    ended: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        # Once: the second signal must not interrupt the tidying up.
        if not ended:
            ended.append(number)
            how = f"ended by {signal.Signals(number).name}, as torchrun does when another rank has died"
            raise RankError(f"{name}: {how}; --resume keeps what is finished")

    for number in ENDING:
        signal.signal(number, end)
    try:
        yield ranks
    except Exception as error:
        reason = _reason(ranks, error, bool(ended))
        if reason is error:
            raise
        raise reason from error
    finally:
        ranks.close()


def _connect(size: int) -> Store:
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=SILENCE_SECONDS)))
    except (RuntimeError, ValueError) as error:
        raise RankError(f"rank {os.environ['RANK']} of {size}: cannot reach the other ranks: {error}") from error
    joined: Store = store
    return joined


def _reason(ranks: Ranks, error: Exception, ended: bool) -> BaseException:
    """What to end with. The first error is told to the other ranks; rank 0 repeats it, the others end in silence."""
    try:
        reason = ranks.wait_for_failure() if ended else ranks.get("failure")
        if reason is None:
            line = user_line(error)
            said = line or f"{type(error).__name__}: {error}"
            said = said if isinstance(error, RankError) else f"{ranks.name(ranks.rank)}: {said}"
            if ranks.fail(said):
                return error if line is None else RankError(said)
            reason = ranks.wait_for_failure() or said
    except RankError as lost:
        return lost if isinstance(error, RankError) else error
    return RankError(reason) if ranks.rank == 0 else SystemExit(2)


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
