"""The processes that torchrun starts for one command: who does what, and how all end when one fails.

They tell each other everything through torchrun's key-value store, and no tensor is ever sent. torchrun ends the others
when a process dies. Imports nothing heavy.
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
    """This rank is to end before its work is done: it was told to, or another one has failed."""


class Ranks:
    """One process's view of all of them. All ranks call `agree` and `gather` in the same order."""

    def __init__(self, store: Store, rank: int, size: int, stop: Stop) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        self._stop = stop
        self._together = 0
        self.set(f"host/{rank}", socket.gethostname())

    def agree(self, decide: Callable[[], T]) -> T:
        """What rank 0 decides, on all ranks; it must survive JSON."""
        key = self._next()
        if self.rank == 0:
            self.set(key, json.dumps(decide()))
        decided: T = json.loads(self.wait(key))
        return decided

    def gather(self, value: T) -> list[T]:
        """All ranks' values on rank 0, as soon as the last one has come here; on others their own alone."""
        key = self._next()
        self.set(f"{key}/{self.rank}", json.dumps(value))
        return [json.loads(self.wait(f"{key}/{rank}")) for rank in range(self.size)] if self.rank == 0 else [value]

    def set(self, key: str, value: str) -> None:
        """Let all ranks know."""
        self._store.set(key, value)

    def get(self, key: str) -> str | None:
        """What a rank has set, None if none has yet."""
        return self._store.get(key).decode() if self._store.check([key]) else None

    def wait(self, key: str) -> str:
        """What a rank sets, as soon as it has."""
        while (value := self.get(key)) is None:
            self.check()
            self._stop.wait(POLL_SECONDS)
        return value

    def take(self, key: str) -> int:
        """The next number, from 0 on, of a counter that all ranks share: each number goes to one of them."""
        return self._store.add(key, 1) - 1

    def share(self, key: str, items: Sequence[T]) -> Iterator[T]:
        """Those of `items` that fall to this rank: the next one whenever it asks, in their order."""
        while (index := self.take(key)) < len(items):
            self.check()
            yield items[index]

    def check(self) -> None:
        """Raise `RunEnded` if this process was told to end, or any rank has failed."""
        try:
            self._stop.check()
        except Stopped as stopped:
            raise RunEnded(str(stopped)) from stopped
        if self.get("failure") is not None:
            raise RunEnded("another rank's failure")

    @property
    def name(self) -> str:
        """This rank as messages call it, with its machine."""
        return f"rank {self.rank} ({socket.gethostname()})"

    def last_word(self, error: Exception) -> BaseException:
        """What this rank ends with after an error: the first to fail says why, others are silent."""
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
    """The ranks of this command while the block runs; None where the process is alone.

    An error that leaves the block ends all of them, with one line from the rank that has it. A signal, which torchrun
    sends to the ranks that are left when a process has died, ends them with a line from rank 0; which process has died,
    and of what, torchrun says itself.

    Args:
        stop: what ends this process's work; None to make one that signals set.

    Raises:
        RankError: why the run ends, on one rank. SystemExit: on the others.
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
    """Make one of this machine's GPUs the current one, another for each rank on it; ranks in excess share them."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def longest_first(lengths: Sequence[float]) -> list[int]:
    """Indices by falling length, ties in their order: the long ones begin first, so that all end together.

    Graham, Bounds on multiprocessing timing anomalies, 1969: at most 4/3 of the shortest time.
    """
    return sorted(range(len(lengths)), key=lambda index: -lengths[index])
