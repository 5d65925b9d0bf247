"""Reads ahead and writes behind in threads, by a bounded number of items."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

from .stop import Stop

T = TypeVar("T")

# Seconds between checks whether the run should end.
POLL_SECONDS = 0.1
# Seconds to wait for a reader that is stuck in a device or an address; afterwards it ends with the process.
JOIN_SECONDS = 1.0


def prefetch(items: Iterable[T], ahead: int, stop: Stop | None = None) -> Iterator[T]:
    """Iterate in a separate thread, `ahead` items in advance; 0: on demand.

    Raises:
        Stopped: if `stop` is set while waiting for an item. Any error of `items`.
    """
    results: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()  # the second kind is the end
    permits = threading.Semaphore(ahead)
    ended = threading.Event()

    def work() -> None:
        try:
            iterator = iter(items)
            while permits.acquire() and not ended.is_set():
                results.put((next(iterator), None))
        except BaseException as error:  # StopIteration is one
            results.put((None, error))

    thread = threading.Thread(target=work, name="reader", daemon=True)
    thread.start()
    try:
        while True:
            permits.release()
            result = None
            while result is None:
                try:
                    result = results.get(timeout=POLL_SECONDS)
                except Empty:
                    if stop is not None:
                        stop.check()
            item, error = result
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield cast(T, item)
    finally:
        ended.set()
        permits.release()
        thread.join(JOIN_SECONDS)


class BackgroundConsumer(Generic[T]):
    """Calls `consume` on items in a thread, in order; up to `behind` items wait; with 0, `put` calls it directly.

    After an error, later items are not consumed, and the next `put`, or `finish`, raises it.
    """

    def __init__(self, consume: Callable[[T], None], behind: int) -> None:
        self._consume = consume
        self._behind = behind
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._pending: deque[Future[None]] = deque()
        self._failed = False

    def put(self, item: T) -> None:
        """Hand over an item; blocks while the queue is full."""
        if self._behind == 0:
            self._consume(item)
            return
        while self._pending and (len(self._pending) >= self._behind or self._pending[0].done()):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._work, item))

    def finish(self) -> None:
        """Wait until all items are consumed."""
        while self._pending:
            self._pending.popleft().result()
        self._pool.shutdown()

    def cancel(self) -> None:
        """Drop waiting items, and wait for the current one."""
        self._pool.shutdown(cancel_futures=True)

    def _work(self, item: T) -> None:
        if self._failed:
            return
        try:
            self._consume(item)
        except BaseException:
            self._failed = True
            raise
