"""Connections: how long one may wait before its request, and how many there may be, of one address and of all."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds in which a request's header must be there, from the connection's start or the header's first byte.
HEADER_SECONDS = 15.0
# Connections, of all and of one address. A page needs three; a proxy has one address for all its visitors.
MOST, MOST_OF_ADDRESS = 300, 100


class Connection(H11Protocol):
    """uvicorn's, with these bounds. Beyond them, the longest idle connection makes room for a new one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._since = time.monotonic()
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        same = [other for other in others if self.client and other.client and other.client[0] == self.client[0]]
        for group, most in ((same, MOST_OF_ADDRESS), (others, MOST)):
            if len(group) >= most:
                idle = [other for other in group if not other.answering()]
                (min(idle, key=lambda other: other._since) if idle else self).drop()
        self._watch_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._since = time.monotonic()
        super().on_response_complete()

    def answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def _watch_header(self) -> None:
        """Wait for a header no longer than it may take; the rest of a request has its own bounds."""
        if self.answering():
            self._forget_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._late)

    def _late(self) -> None:
        self._header_timer = None
        if not self.answering():
            self.drop()

    def _forget_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
