"""Ask an ASGI application many things at once, without a socket and without a client's own habits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx
from starlette.types import ASGIApp, Message

AT_ONCE = 24


@dataclass(frozen=True)
class Ask:
    """One request."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    listen_s: float = 30.0  # after so long the client is gone
    client: str = "127.0.0.1"

    def scope(self) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        told = {"host": "127.0.0.1:3000", **self.headers}
        return {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
            "method": self.method, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(),
            "root_path": "", "state": {},
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()],
            "client": (self.client, 50000), "server": ("127.0.0.1", 3000),
        }


@dataclass(frozen=True)
class Said:
    """What came back."""

    ask: Ask
    status: int
    headers: dict[str, str]
    body: bytes
    raw: list[tuple[bytes, bytes]] = field(repr=False)  # the headers as they came, several of a name among them


class Here(httpx.BaseTransport):
    """Lets an httpx client ask an application in this process, on one event loop of its own that lives until it is closed."""

    def __init__(self, app: ASGIApp, client: str = "127.0.0.1") -> None:
        self._app, self._client = app, client
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask and wait for the whole answer."""
        path = request.url.raw_path.decode()
        ask = Ask(request.method, path, dict(request.headers), request.read(), client=self._client)
        told = self._runner.run(_one(self._app, ask))
        return httpx.Response(told.status, headers=told.raw, content=told.body)

    def close(self) -> None:
        """End the loop."""
        self._runner.close()


def ask_all(app: ASGIApp, asks: Iterable[Ask]) -> list[Said]:
    """Ask everything, some at a time."""
    return asyncio.run(_all(app, list(asks)))


async def _all(app: ASGIApp, asks: list[Ask]) -> list[Said]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(ask: Ask) -> Said:
        async with room:
            return await _one(app, ask)

    return list(await asyncio.gather(*(one(ask) for ask in asks)))


async def _one(app: ASGIApp, ask: Ask) -> Said:
    came: list[Message] = []
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.sleep(ask.listen_s)
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": ask.body, "more_body": False}

    async def send(message: Message) -> None:
        came.append(message)

    await asyncio.wait_for(app(ask.scope(), receive, send), 60)
    start = next(one for one in came if one["type"] == "http.response.start")
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Said(ask, start["status"], headers, b"".join(one.get("body", b"") for one in came), start["headers"])
