"""Settled: the ASGI middleware that lets no answer begin before the lines of its request are on disk.

Whoever notes something while a request is answered need not wait: the wait is here, on the event loop, and one wait serves
all who write at that moment. A line that cannot be written ends the request with 503: nothing is shown that is not audited.
"""

from __future__ import annotations

import asyncio
import ipaddress
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problem import from_exception, respond


@dataclass
class Request:
    """What a request that is being answered still waits for, and where it came from."""

    address: str = ""
    begun: bool = False  # its answer: what is noted later waits where it is noted
    waiting: list[Future[None]] = field(default_factory=list)


REQUEST: ContextVar[Request | None] = ContextVar("audited_request", default=None)


class Settled:
    """Wrap an ASGI app; outside of whatever notes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(address=_address(scope))
        refused = False

        async def sent(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and not request.begun:
                request.begun = True
                try:
                    while request.waiting:
                        await asyncio.wrap_future(request.waiting.pop())
                except Exception as error:  # whatever it is: what was asked for is not given
                    refused = True
                    await respond(from_exception(error), retry_after_s=2)(scope, receive, send)
            if not refused:
                await send(message)

        token = REQUEST.set(request)
        try:
            await self.app(scope, receive, sent)
        finally:
            REQUEST.reset(token)


def _address(scope: Scope) -> str:
    """Return where the connection came from, "" where that is no address of a network."""
    client = scope.get("client")
    try:
        return str(ipaddress.ip_address(client[0])) if client else ""
    except ValueError:
        return ""
