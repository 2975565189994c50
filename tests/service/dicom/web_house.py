"""A house that answers /dicom-web over a store of its own: in this process for most tests, on a socket for peers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from pydicom.dataset import Dataset
from starlette.types import ASGIApp

from service.dicom.routes import DicomWeb
from service.front import Front
from service.guard import Guard
from service.metrics import Metrics
from service.scoring import Scoring
from service.settings import Settings
from service.store.store import Store
from service.web import Web
from tests.make import dicom_bytes
from tests.service.house import TestClient

BOUNDARY = "a-boundary"
RELATED = {"content-type": f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'}
JSON = {"accept": "application/dicom+json"}


@dataclass(frozen=True)
class WebHouse:
    """A service with a store, without a socket."""

    settings: Settings
    dicomweb: DicomWeb
    app: ASGIApp
    client: TestClient

    @property
    def store(self) -> Store:
        return self.dicomweb.store

    def send(self, datasets: Sequence[Dataset]) -> dict[str, Any]:
        answer = self.client.post("/dicom-web/studies", content=related([dicom_bytes(one) for one in datasets]), headers=RELATED)
        assert 200 == answer.status_code, answer.text
        return dict(answer.json())


@contextmanager
def opened(folder: Path, **settings: Any) -> Iterator[WebHouse]:
    """Open a house in a folder, and close it."""
    told = Settings(store=folder, dicomweb=True, **settings)
    dicomweb, metrics = DicomWeb(told), Metrics()
    dicomweb.open()
    app = Guard(Web(told, Scoring(told), metrics, dicomweb).app(), told, metrics)
    try:
        with TestClient(app) as client:
            yield WebHouse(told, dicomweb, app, client)
    finally:
        dicomweb.close()


@contextmanager
def listening(house: WebHouse) -> Iterator[str]:
    """Serve a house on a free port of loopback, and say its address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(house.app, http=Front, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def related(parts: Sequence[bytes], *, boundary: str = BOUNDARY, head: str = "Content-Type: application/dicom\r\n") -> bytes:
    """Write parts as multipart/related."""
    start = f"--{boundary}\r\n{head}\r\n".encode()
    return b"".join(start + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
