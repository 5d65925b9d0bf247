"""Limits on the size and duration of requests, and on the number of requests and connections."""

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

# Maximum bytes read from a refused upload: browsers show the response only after they have sent everything.
MOST_DRAINED = 500_000_000
# A body may take this many seconds, plus the time for its bytes at this minimum rate in bytes per second.
PATIENCE, LEAST_RATE = 30.0, 10_000
# Time-out in seconds for a request's header, from the start of the connection or the last response.
HEADER_SECONDS = 15.0
# Maximum number of connections: in total, and per address. A page needs three; a proxy has one address for all.
MOST, MOST_OF_ADDRESS = 300, 100
# Interval in seconds for which requests are counted.
SPAN = 10.0


class Rates:
    """Counts the requests of visitors and addresses, and refuses those above their limits."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._now: Counter[str] = Counter()

    @contextlib.contextmanager
    def counted(self, limits: dict[str, tuple[int, int]]) -> Iterator[None]:
        """Count a request that the block answers. limits: by name, how many per `SPAN` and at the same time."""
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
    """A request's body, with limits on its size and duration."""

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
        """Read and discard the rest."""
        self._most = MOST_DRAINED
        with contextlib.suppress(HTTPException):
            while self._more:
                await self.next()


class Connection(H11Protocol):
    """uvicorn's connection with these limits.

    Beyond them, the longest idle connection is closed for a new one. If none is idle, an address with more connections
    than the new one's gives up its oldest.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        same = [other for other in others if self.client and other.client and other.client[0] == self.client[0]]
        for group, most in ((same, MOST_OF_ADDRESS), (others, MOST)):
            if len(group) >= most:
                out = [other for other in group if not other.answering()]
                if not out:
                    (address, held), *_ = Counter(other.client and other.client[0] for other in group).most_common(1)
                    out = [other for other in group if (other.client and other.client[0]) == address]
                    out *= held > len(same)
                (min(out, key=lambda other: other._since) if out else self).drop()
        self._await_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # cancels the timer
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
        """Start the header's time-out; the rest of a request has limits of its own."""
        self.timeout_keep_alive_task = self.loop.call_at(self._since + HEADER_SECONDS, self.drop)
