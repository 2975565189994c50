"""The room of FHIR in this process: tiny releases, a store in a folder, and a client. Nothing listens on a socket."""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from service.ehr_house import House
from service.fhir.routes import Fhir
from service.guard import Guard
from service.metrics import Metrics
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site

with warnings.catch_warnings():  # starlette asks for httpx2, which is not the client the service's users have
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

FHIR = {"content-type": "application/fhir+json"}
NDJSON = {"content-type": "application/fhir+ndjson", "prefer": "respond-async"}


@dataclass(frozen=True)
class Room:
    """The room, with what a test may look at."""

    house: House
    fhir: Fhir
    client: TestClient
    app: ASGIApp


@contextmanager
def serving(room: Room) -> Iterator[str]:
    """Let the room listen on a port of loopback, for clients that open sockets; yields the root of its FHIR."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(room.app, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until = time.monotonic() + 10
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/fhir"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


@contextmanager
def fhir_room(released: Path, folder: Path, *, site: Site | None = None, working: bool = False, **told: Any) -> Iterator[Room]:
    """Open the room over a folder of releases; ``working`` starts the thread of bulk jobs."""
    settings = Settings(released=released, store=folder, ehr=True, **told)
    scoring, metrics = Scoring(settings), Metrics()
    scoring.open()
    house = House(settings, site or Site(), scoring, metrics)
    house.open()
    fhir = Fhir(house)
    if working:
        fhir.open()
    app = Guard(Starlette(routes=fhir.routes()), settings, metrics)
    try:
        yield Room(house, fhir, TestClient(app, raise_server_exceptions=True), app)
    finally:
        fhir.close()
        house.close()
        scoring.stop()
