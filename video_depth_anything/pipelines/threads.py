"""Reading ahead and writing behind in threads, through queues that cannot grow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

from .stop import held_interrupts

T = TypeVar("T")

# How long a blocked thread waits before it looks whether the other side is still there.
POLL_SECONDS = 0.1


class _End:
    """Last item of a queue; carries the error that ended it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(items: Iterable[T], ahead: int) -> Iterator[T]:
    """Iterate `items` in a thread that stays at most `ahead` items in front; its errors come out here."""
    queue: Queue[T | _End] = Queue(maxsize=ahead)
    stop = threading.Event()

    def put(item: T | _End) -> bool:
        while not stop.is_set():
            try:
                queue.put(item, timeout=POLL_SECONDS)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as raised:
            error = raised
        put(_End(error))

    thread = threading.Thread(target=work, name="reader", daemon=True)
    thread.start()
    try:
        while True:
            # A signal inside `get` could leave the queue locked, and the thread waiting for it.
            with held_interrupts():
                item = _taken(queue)
            if item is None:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        thread.join()


def _taken(queue: Queue[T | _End]) -> T | _End | None:
    try:
        return queue.get(timeout=POLL_SECONDS)
    except Empty:
        return None


class BackgroundConsumer(Generic[T]):
    """Calls `consume` on items in a thread, in order, at most `behind` items late.

    An error in the thread ends it; it comes out of the next `put`, or of `finish`.
    """

    def __init__(self, consume: Callable[[T], None], behind: int) -> None:
        self._consume = consume
        self._queue: Queue[T | _End] = Queue(maxsize=behind)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        # Looks again now and then: a signal between storing an item and waking this thread loses the wake-up.
        while not isinstance(item := _taken(self._queue), _End):
            if item is None:
                continue
            try:
                self._consume(item)
            except BaseException as raised:
                self._error = raised
                return

    def put(self, item: T) -> None:
        """Hand over an item; waits while the queue is full."""
        self._put(item)

    def finish(self) -> None:
        """Wait until everything handed over is consumed."""
        self._put(_End(None))
        self._thread.join()
        self._raise()

    def cancel(self) -> None:
        """Drop what is not consumed yet and wait for the item in work."""
        while self._thread.is_alive():
            try:
                while True:
                    self._queue.get_nowait()
            except Empty:
                pass
            try:
                self._queue.put(_End(None), timeout=POLL_SECONDS)
            except Full:
                continue
            self._thread.join()

    def _put(self, item: T | _End) -> None:
        while True:
            self._raise()
            try:
                self._queue.put(item, timeout=POLL_SECONDS)
                return
            except Full:
                continue

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
