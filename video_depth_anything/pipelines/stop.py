"""Signals that end a run, kept from striking where they would leave two outputs of different lengths."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let a signal that ends the run wait until the block is through; a second one strikes at once.

    After the block the signal does what it would have done before, as a rule raise KeyboardInterrupt. Python handles
    signals in the main thread alone, so in another one there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if not arrived:
            arrived.append(number)
            return
        before = handlers[signal.Signals(number)]
        if callable(before):
            before(number, frame)

    handlers = {number: signal.getsignal(number) for number in ENDING}
    try:
        for number in ENDING:
            # What the process was told to ignore, as by nohup, stays ignored.
            if callable(handlers[number]):
                signal.signal(number, hold)
        yield
    finally:
        for number, before in handlers.items():
            if callable(before):
                signal.signal(number, before)
    if arrived:
        signal.raise_signal(arrived[0])
