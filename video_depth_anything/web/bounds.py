"""How much a request may send, how slowly, and how many there may be."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import Message, Receive

# Bytes that are taken of an upload that is refused: a browser shows an answer only when it has sent all.
MOST_DRAINED = 500_000_000
# A request may take so many seconds, and more for its bytes at the least rate of a connection, in bytes a second.
PATIENCE, LEAST_RATE = 30.0, 10_000
# Seconds over which requests are counted.
SPAN = 10.0


class Rates:
    """Counts what visitors and addresses ask for, and refuses what is too much."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._now: Counter[str] = Counter()

    @contextlib.contextmanager
    def counted(self, limits: dict[str, tuple[int, int]]) -> Iterator[None]:
        """Count a request while the block answers it."""
        if time.monotonic() - self._since > SPAN:
            self._since = time.monotonic()
            self._counts.clear()
        self._counts.update(limits.keys())
        for name, (most, at_once) in limits.items():
            if self._counts[name] > most or self._now[name] >= at_once:
                raise HTTPException(429, "Too many requests from you. Wait a few seconds and try again.")
        self._now.update(limits.keys())
        try:
            yield
        finally:
            self._now.subtract(limits.keys())
            self._now += Counter()  # only what is above zero stays


class Body:
    """A request's body: no more than is allowed, and no slower."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._start = time.monotonic()
        self._taken = 0
        self._more = True

    async def next(self) -> Message:
        """The next part."""
        if not self._more:
            return await self._receive()  # the connection's end
        patience = self._start + PATIENCE + self._taken / LEAST_RATE - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), patience)
        except asyncio.TimeoutError as error:
            raise HTTPException(408, "The request came too slowly.") from error
        self._taken += len(message.get("body", b""))
        self._more = message.get("more_body", False)
        if self._taken > self._most:
            raise HTTPException(413, "The request is too large.")
        return message

    async def drain(self) -> None:
        """Take what is still being sent, and forget it."""
        self._most = MOST_DRAINED
        with contextlib.suppress(HTTPException):
            while self._more:
                await self.next()
