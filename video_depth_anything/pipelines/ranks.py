"""The processes that torchrun starts for one command: how they share work, and how all end when one fails.

They communicate through torchrun's key-value store only; no tensors are sent. torchrun ends the others when a process
dies. Imports nothing heavy.
"""

from __future__ import annotations

import json
import logging
import os
import socket
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
CONNECT_SECONDS = 60.0


class RunEnded(RankError):
    """This rank must end early: it received a signal, or another rank failed."""


class Ranks:
    """The group of ranks, as one of them sees it. All ranks call `agree` and `gather` in the same order."""

    def __init__(self, store: Store, rank: int, size: int, stop: Stop) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        self._stop = stop
        self._together = 0
        self.set(f"host/{rank}", socket.gethostname())

    def agree(self, decide: Callable[[], T]) -> T:
        """Return rank 0's value on all ranks; it must be JSON-serialisable."""
        key = self._next()
        if self.rank == 0:
            self.set(key, json.dumps(decide()))
        decided: T = json.loads(self.wait(key))
        return decided

    def gather(self, value: T) -> list[T]:
        """Return all ranks' values on rank 0, once all have arrived; on other ranks only their own."""
        key = self._next()
        self.set(f"{key}/{self.rank}", json.dumps(value))
        return [json.loads(self.wait(f"{key}/{rank}")) for rank in range(self.size)] if self.rank == 0 else [value]

    def set(self, key: str, value: str) -> None:
        """Announce a value to all ranks."""
        self._store.set(key, value)

    def get(self, key: str) -> str | None:
        """The value that a rank has set; None if none has yet."""
        return self._store.get(key).decode() if self._store.check([key]) else None

    def wait(self, key: str) -> str:
        """Wait for the value that a rank sets."""
        while (value := self.get(key)) is None:
            self.check()
            self._stop.wait(POLL_SECONDS)
        return value

    def take(self, key: str) -> int:
        """The next number of a counter shared by all ranks, from 0 on; each number goes to one rank."""
        return self._store.add(key, 1) - 1

    def share(self, key: str, items: Sequence[T]) -> Iterator[T]:
        """Yield this rank's share of `items`: the next one in order whenever it asks."""
        while (index := self.take(key)) < len(items):
            self.check()
            yield items[index]

    def check(self) -> None:
        """Raise `RunEnded` if this process received a signal, or any rank has failed."""
        try:
            self._stop.check()
        except Stopped as stopped:
            raise RunEnded(str(stopped)) from stopped
        if self.get("failure") is not None:
            raise RunEnded("another rank's failure")

    @property
    def name(self) -> str:
        """This rank's name in messages, with its machine."""
        return f"rank {self.rank} ({socket.gethostname()})"

    def last_word(self, error: Exception) -> BaseException:
        """The exception with which this rank ends: the first to fail reports the error, others are silent."""
        line = user_line(error)
        if isinstance(error, (RunEnded, Stopped)):
            torchrun = ", as torchrun does when another rank has died" if str(error) == "SIGTERM" else ""
            line = f"ended by {error}{torchrun}; --resume continues from what is finished"
            if self.rank > 0 or self.get("failure") is not None:
                return SystemExit(2)
        elif self._store.compare_set("failure", "", self.name).decode() != self.name:
            return SystemExit(2) if line is not None else error
        return error if line is None else RankError(f"{self.name}: {line}")

    def _next(self) -> str:
        self._together += 1
        return f"together/{self._together}"


@contextmanager
def join_ranks(stop: Stop | None = None) -> Iterator[Ranks | None]:
    """Yield the ranks of this command; None for a single process.

    An error that leaves the block ends all ranks, with one line from the rank that raised it. A signal, which torchrun
    sends to the remaining ranks when a process dies, ends them with a line from rank 0; torchrun itself reports which
    process died and why.

    Args:
        stop: ends this process's work; None makes one that signals set.

    Raises:
        RankError: on one rank, with the reason. SystemExit: on the others.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2 or "RANK" not in os.environ:
        yield None
        return
    from torch.distributed import DistError
    from torch.distributed.rendezvous import rendezvous

    with ExitStack() as stack:
        stop = stop or stack.enter_context(stop_on_signals())
        try:
            store, rank, _ = next(rendezvous("env://", timeout=timedelta(seconds=CONNECT_SECONDS)))
        except (RuntimeError, ValueError) as error:
            raise RankError(f"rank {os.environ['RANK']} of {size} cannot reach the other ranks: {error}") from error
        ranks = Ranks(store, rank, size, stop)
        try:
            try:
                yield ranks
            except DistError:
                raise
            except Exception as error:
                word = ranks.last_word(error)
                if word is error:
                    raise
                raise word from error
        except DistError as error:
            raise RankError(f"rank {rank}: the store that connects the ranks is gone: {error}") from error


def use_own_gpu() -> None:
    """Select one of this machine's GPUs, a different one for each rank; surplus ranks share them."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def longest_first(lengths: Sequence[float]) -> list[int]:
    """Indices by decreasing length, ties in order: the longest start first, so that all ranks end together.

    Graham, Bounds on multiprocessing timing anomalies, 1969: at most 4/3 of the shortest time.
    """
    return sorted(range(len(lengths)), key=lambda index: -lengths[index])
