"""A house with CDS Hooks alone, on a store of its own, and what a record system sends to it."""

from __future__ import annotations

import json
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

from service.cds_hooks.record_system import call, fill
from service.cds_hooks.routes import CdsHooks
from service.ehr_house import House
from service.guard import Guard
from service.metrics import Metrics
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site, read_site
from service.web import Web
from tests.make import ROOT

with warnings.catch_warnings():  # starlette asks for httpx2, which is not the client the service's users have
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

SAMPLES = ROOT / "data-samples"
Json = dict[str, Any]
ICU = "icu-mortality"
PLACE = {"patientId": "p1", "encounterId": "e1"}
__all__ = ["ICU", "PLACE", "CdsHouse", "Json", "call", "cds_house", "listening", "only", "prefetch_of", "sample"]


@dataclass(frozen=True)
class CdsHouse:
    """A running house without a socket."""

    house: House
    hooks: CdsHooks
    client: TestClient

    def discover(self, **headers: str) -> list[Json]:
        return list(self.client.get("/cds-services", headers=headers).json()["services"])

    def flush(self) -> None:
        """Write down the cards that were shown."""
        self.hooks._keeping.flush()

    def cards(self, service: str, told: Json, **headers: str) -> list[Json]:
        answer = self.client.post(f"/cds-services/{service}", json=told, headers=headers)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["cards"])


class _Alone(CdsHooks):
    """The room as if it were the whole EHR side."""

    def queues(self) -> bytes:
        return b""


@contextmanager
def cds_house(folder: Path, released: Path, *, site: str = "", **told: Any) -> Iterator[CdsHouse]:
    """Open a house over a folder of releases; ``site`` is the text of a site file."""
    path = folder / "site.toml"
    path.write_text(site + ("" if "[commissioning]" in site else "\n[commissioning]\nrequired = false\n"), encoding="utf-8")
    settings = Settings(released=released, store=folder / "store", ehr=True, **told)
    scoring, metrics = Scoring(settings), Metrics()
    house = House(settings, read_site(path) if site else Site(), scoring, metrics)
    hooks = _Alone(house)
    scoring.open()
    house.open()
    hooks.open()
    app = Guard(Web(settings, scoring, metrics, None, hooks).app(), settings, metrics)  # type: ignore[arg-type]  # one room of the EHR side
    try:
        yield CdsHouse(house, hooks, TestClient(app, raise_server_exceptions=True))
    finally:
        hooks.close()
        house.close()
        scoring.stop()


def only(folder: Path, *names: str) -> Path:
    """Return a folder with links to some of the releases."""
    released = folder / "released"
    released.mkdir()
    for path in (ROOT / "models/released").iterdir():
        if path.is_dir() and path.name.rpartition("-")[0] in names:
            (released / path.name).symlink_to(path)
    return released


def sample(name: str) -> Json:
    """Return a made-up Bundle."""
    told: Json = json.loads((SAMPLES / name).read_text("utf-8"))
    return told


def prefetch_of(bundle: Json, service: Json, place: Json) -> Json:
    """Do a client's work: answer every prefetch template from what a Bundle holds."""
    return fill(service["prefetch"], [entry["resource"] for entry in bundle["entry"]], place)


@contextmanager
def listening(house: CdsHouse, sockets: list[socket.socket]) -> Iterator[None]:
    """Serve the house on sockets that listen already: for clients that open connections."""
    server = uvicorn.Server(uvicorn.Config(house.client.app, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets})
    thread.start()
    try:
        until = time.monotonic() + 10
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(10)
