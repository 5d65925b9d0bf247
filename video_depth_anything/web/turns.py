"""Whose job runs now and whose waits: one at a time, first come first served, and no more than so many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import UserError
from ..pipelines.stop import Stop

# Seconds after which a job that waits looks whether it was cancelled.
LOOK = 0.2


class Refusal(UserError):
    """The page does not do what a visitor asked for; the message is a sentence or two for them, with what to do."""


@dataclass(eq=False)
class _Ticket:
    owner: str


class Turns:
    """Lets one job run at a time. Safe to use from several threads.

    Args:
        most: jobs that may wait, of all visitors.
        most_each: jobs of one visitor, running or waiting.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self.most = most
        self.most_each = most_each
        self._queue: list[_Ticket] = []
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, owner: str, stop: Stop, on_wait: Callable[[int], None]) -> Iterator[None]:
        """Wait for the turn, and have it until the block ends.

        Args:
            owner: whose job it is.
            stop: ends the waiting, at once.
            on_wait: called with the number of jobs that come first, whenever it changes.

        Raises:
            Refusal: if too many wait already.
            Stopped: if the job was cancelled while it waited.
        """
        ticket = _Ticket(owner)
        with self._changed:
            self._check_room(owner)
            self._queue.append(ticket)
        try:
            self._wait(ticket, stop, on_wait)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _check_room(self, owner: str) -> None:
        own = sum(ticket.owner == owner for ticket in self._queue)
        if own >= self.most_each:
            raise Refusal(
                f"{own} of your videos are in work or waiting already, and there may be {self.most_each}. "
                "Wait for one to finish, or cancel it."
            )
        if len(self._queue) > self.most:
            raise Refusal(f"{self.most} videos are waiting already, and no more fit. Try again in a few minutes.")

    def _wait(self, ticket: _Ticket, stop: Stop, on_wait: Callable[[int], None]) -> None:
        told = 0
        while True:
            with self._changed:
                before = self._queue.index(ticket)
                if before == told and before:
                    self._changed.wait(LOOK)
                    before = self._queue.index(ticket)
            stop.check()
            if not before:
                return
            if before != told:
                told = before
                on_wait(before)

    def wait_idle(self, seconds: float) -> None:
        """Wait until there is no job, so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue, seconds)
