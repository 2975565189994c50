"""Front: uvicorn's HTTP/1.1 with a bound on the head of a request and on the time it takes. Its own has neither.

The bodies of requests are the Guard's business, and what a connection does between requests is uvicorn's.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_S = 5.0
STREAMS = frozenset({"/review/events"})  # open for hours
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Front(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _in_head = True
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._silence()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; what comes with its end in one piece may count too."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._alarm is None:
                self._await_head()
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._end(_TOO_LARGE)

    def shutdown(self) -> None:
        """End what would not end by itself, an event stream; anything else is answered first."""
        super().shutdown()
        if not self._answered() and self.scope["path"] in STREAMS:
            self.transport.close()

    def on_message_begin(self) -> None:
        """Note the first byte of a head, which may have come together with the request before."""
        if self._alarm is None:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note the end of a head."""
        self._in_head = False
        self._silence()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note the end of a request: what follows is another head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def _await_head(self) -> None:
        self._alarm = self.loop.call_later(HEAD_S, self._too_late)

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _too_late(self) -> None:
        self._alarm = None
        if not self._answered():
            self._await_head()
        elif not self.transport.is_closing():
            self._end(_TOO_SLOW)

    def _end(self, answer: bytes) -> None:
        if self._answered():
            self.transport.write(answer)
        self.transport.close()

    def _answered(self) -> bool:
        """Tell whether no earlier request of this connection is still being answered."""
        return self.cycle is None or self.cycle.response_complete
