"""Standing: an answer that goes on for hours ends with the session it was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Send

AGAIN_S = 10.0  # how long a session that ended may still be told something


class Standing:
    """Looks at the session again while an event stream is sent, and hangs up once it does not hold any more."""

    def __init__(self, receive: Receive, send: Send, look: Callable[[], object | None], again_s: float = AGAIN_S) -> None:
        self._receive, self._send, self._look, self._again_s = receive, send, look, again_s
        self._streams = self.ended = False
        self._looked_at = time.monotonic()

    async def receive(self) -> Message:
        """Read the request; tell that the client is gone once its session ended."""
        return {"type": "http.disconnect"} if self.ended else await self._receive()

    async def send(self, message: Message) -> None:
        """Send a part of the answer. Raises OSError, as for a client that is gone, once the session ended."""
        if message["type"] == "http.response.start":
            self._streams = any(name.lower() == b"content-type" and value.startswith(b"text/event-stream")
                                for name, value in message.get("headers", ()))
        elif self._streams and time.monotonic() - self._looked_at > self._again_s and not self.ended:
            self._looked_at = time.monotonic()
            if await run_in_threadpool(self._look) is None:
                self.ended = True
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        if self.ended:
            raise OSError("the session ended")
        await self._send(message)
