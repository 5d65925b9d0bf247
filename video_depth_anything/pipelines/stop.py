"""Ends runs early: a flag that signals and buttons set, and that the pipelines check between frames."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Signals from a terminal, a service manager or a closed window, as far as this system has them.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK") if hasattr(signal, name)
)


class Stopped(Exception):
    """The run must end early; the message says who requested it."""


class Stop:
    """A flag that ends a run early. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason = ""

    def set(self, reason: str = "stopped") -> None:
        """Request the end; the first reason is kept."""
        self._reason = self._reason or reason
        self._event.set()

    def is_set(self) -> bool:
        """Whether the end was requested."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopped` if the end was requested."""
        if self._event.is_set():
            raise Stopped(self._reason)

    def wait(self, seconds: float) -> bool:
        """Sleep for a time in seconds, or until the end is requested; return whether it was."""
        return self._event.wait(seconds)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Yield a flag that the first signal sets; the second raises KeyboardInterrupt, and the third kills the process.

    Ignored signals, as with nohup, stay ignored. Outside of the main thread, signals do not arrive, and the flag is an
    ordinary one.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def handle(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            for other in heard:
                signal.signal(other, signal.SIG_DFL)
            raise KeyboardInterrupt
        stop.set(signal.Signals(number).name)

    for number in heard:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number in heard:
            signal.signal(number, before[number])
