"""Connections: how long one may wait before its request, and how many there may be, of one address and of all."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

# Seconds in which a request's header must be there, from the connection's start or the last answer.
HEADER_SECONDS = 15.0
# Connections, of all and of one address. A page needs three; a proxy has one address for all its visitors.
MOST, MOST_OF_ADDRESS = 300, 100


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
