"""The service with DICOMweb on a real port, in a thread: for clients that open sockets. Troubles can be put before it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from service.dicom.routes import DicomWeb
from service.guard import Guard
from service.metrics import Metrics
from service.scoring import Scoring
from service.settings import Settings
from service.web import Web

Trouble = Callable[[ASGIApp], ASGIApp]


@contextmanager
def running(settings: Settings, *, trouble: Trouble | None = None) -> Iterator[str]:
    """Run the service; yields the root of its DICOMweb."""
    dicomweb, metrics, scoring = DicomWeb(settings), Metrics(), Scoring(settings)
    app: ASGIApp = Guard(Web(settings, scoring, metrics, dicomweb).app(), settings, metrics)
    dicomweb.open()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(trouble(app) if trouble else app, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until = time.monotonic() + 10
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/dicom-web"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
        dicomweb.close()
        scoring.stop()


class Busy:
    """Answers the first requests that store with a status of its own, then lets them through."""

    def __init__(self, app: ASGIApp, *, times: int, status: int = 503, headers: tuple[Any, ...] = ()) -> None:
        self.app, self.left, self.status, self.headers = app, times, status, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self.left:
            self.left -= 1
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, send)


class Forgetful:
    """Stores the first requests and hangs up before it answers."""

    def __init__(self, app: ASGIApp, *, times: int) -> None:
        self.app, self.left = app, times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self.left:
            self.left -= 1

            async def unheard(_: Any) -> None:
                return

            await self.app(scope, receive, unheard)
            raise ConnectionError
        await self.app(scope, receive, send)
