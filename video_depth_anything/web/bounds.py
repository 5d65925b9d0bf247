"""How much a request may send, how slowly, and how many requests and connections there may be."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import Message, Receive

# Bytes that are taken of an upload that is refused: a browser shows an answer only when it has sent all.
MOST_DRAINED = 500_000_000
# A request may take so many seconds, and more for its bytes at the least rate of a connection, in bytes a second.
PATIENCE, LEAST_RATE = 30.0, 10_000
# Seconds in which a request's header must be there, from the connection's start or the last answer.
HEADER_SECONDS = 15.0
# Connections, of all and of one address. A page needs three; a proxy has one address for all its visitors.
MOST, MOST_OF_ADDRESS = 300, 100
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


class Connection(H11Protocol):
    """uvicorn's, with these bounds. Beyond them, the longest idle connection makes room for a new one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        same = [other for other in others if self.client and other.client and other.client[0] == self.client[0]]
        for group, most in ((same, MOST_OF_ADDRESS), (others, MOST)):
            if len(group) >= most:
                idle = [other for other in group if not other.answering()]
                (min(idle, key=lambda other: other._since) if idle else self).drop()
        self._await_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # ends the timer
        if not self.answering():
            self._await_header()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()  # starts uvicorn's own timer

    def answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def _await_header(self) -> None:
        """Wait for a header no longer than it may take; the rest of a request has its own bounds."""
        self.timeout_keep_alive_task = self.loop.call_at(self._since + HEADER_SECONDS, self.drop)
