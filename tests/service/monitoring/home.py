"""A house with one tiny release that monitors heart rates, a clock that the test sets, and the addresses of remote monitoring."""

from __future__ import annotations

import atexit
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from starlette.applications import Starlette

from models.shelf import Shelf
from service.ehr_house import House
from service.metrics import Metrics
from service.monitoring.routes import Monitoring
from service.scoring import Scoring
from service.settings import Settings
from service.site import FhirServer, Site
from service.store import monitoring as rows
from service.store.ehr_tables import Watched
from service.store.engine import SQLITE_FILE
from service.store.monitoring import Standing
from service.store.store import Store
from tests.make import tiny_release
from tests.make_store import store_for
from tests.service.house import TestClient

BEGAN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
CALM, BETWEEN, HIGH = 80.0, 130.0, 160.0  # below 0.24, between, above 0.30 by the tiny rule
OUTSIDE = 230.0  # far from what it was made for: declined
REACHED = 260.0  # what the rule watches for has happened
MONITORS: dict[str, Any] = {
    "needs_encounter": False, "moment_h": None, "window_h": 3.0,
    "refuses": {"recent": {"HR": [2, 60]}, "newest_min": {"HR": 20}, "within": {"HR": {"high": 250}}, "ood": [
        {"name": "distance", "limit": 12.0, "meaning": "Values far from any seen before."}]},
}  # fmt: skip
MODEL = "tiny_risk"


class Clock:
    """Minutes since the beginning, set by the test."""

    def __init__(self) -> None:
        self.minute = 0.0

    def __call__(self) -> float:
        return (BEGAN + timedelta(minutes=self.minute)).timestamp()


@cache
def monitoring_release() -> Path:
    """Make the release once for all tests."""
    folder = Path(mkdtemp(prefix="diaphane-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tiny_release(folder, "risk", **MONITORS)
    return folder


@cache
def empty_database() -> Path:
    """Make an empty database once: copied, it saves each test the migrations."""
    folder = Path(mkdtemp(prefix="diaphane-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store_for(folder).close()
    return folder / "store" / SQLITE_FILE


def with_empty_database(store: Path) -> None:
    """Put an empty database into the folder of a store, unless it is there."""
    if not store.exists():
        store.mkdir(mode=0o700, parents=True)
        shutil.copy(empty_database(), store / SQLITE_FILE)


@dataclass
class Home:
    """A running room of remote monitoring, without a socket."""

    house: House
    room: Monitoring
    clock: Clock
    client: TestClient

    @property
    def store(self) -> Store:
        return self.house.store

    @property
    def shelf(self) -> Shelf:
        return self.house.scoring.shelf

    def post(self, body: Any, path: str = "Observation", *, method: str = "POST", **headers: str) -> Any:
        return self.client.request(method, f"/fhir/{path}".rstrip("/"), content=json.dumps(body),
                                   headers={"content-type": "application/fhir+json", **headers})

    def hear(self, minute: float, rate: float, subject: str = "Patient/p1", **more: Any) -> Any:
        """Send one heart rate as it is measured: the clock goes along."""
        self.clock.minute = max(self.clock.minute, minute)
        answer = self.post(heart_rate(minute, rate, subject, **more))
        assert answer.status_code == 201, answer.text
        return answer

    def watched(self, subject: str = "Patient/p1", model: str = MODEL) -> Watched:
        """What a model said last of a person."""
        watched, _ = rows.look(self.store, subject, model, (), 0.0)
        assert watched is not None
        return watched

    def alerts(self, subject: str = "Patient/p1", *, active: bool | None = None) -> list[Standing]:
        """All alerts of a person, the first first."""
        return rows.alerts_of(self.store, subject=subject, active=active)[::-1]

    def state(self, subject: str = "Patient/p1") -> str:
        return self.watched(subject).state


def heart_rate(minute: float, rate: float | None, subject: str = "Patient/p1", *, offset_h: int = 0, **more: Any) -> dict[str, Any]:
    """Make an Observation of the French profile TLSVObservation."""
    at = (BEGAN + timedelta(minutes=minute)).astimezone(timezone(timedelta(hours=offset_h)))
    told: dict[str, Any] = {
        "resourceType": "Observation", "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]},
        "subject": {"reference": subject}, "effectiveDateTime": at.isoformat(),
    }
    if rate is not None:
        told["valueQuantity"] = {"value": rate, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"}
    return {**told, **more}


def bundle(*resources: dict[str, Any], kind: str = "collection", method: str = "POST") -> dict[str, Any]:
    """Make a Bundle; of a transaction or batch with requests."""
    entries: list[dict[str, Any]] = [{"resource": one} for one in resources]
    if kind in ("transaction", "batch"):
        for entry in entries:
            one = entry["resource"]
            url = one["resourceType"] + (f"/{one['id']}" if method == "PUT" else "")
            entry["request"] = {"method": method, "url": url}
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


@contextmanager
def home(folder: Path, *, push: bool = False, released: Path | None = None) -> Iterator[Home]:
    """Open a house with a release that monitors: the tiny one, or those of a folder."""
    released = released or monitoring_release()
    settings = Settings(released=released, store=folder / "store")
    with_empty_database(settings.store)
    site = Site(fhir_server=FhirServer(url="http://127.0.0.1:9/fhir", push=True)) if push else Site()
    scoring = Scoring(settings)
    scoring.open()
    house, clock = House(settings, site, scoring, Metrics()), Clock()
    house.open()
    room = Monitoring(house, clock=clock)
    try:
        with TestClient(Starlette(routes=room.routes())) as client:
            yield Home(house, room, clock, client)
    finally:
        room.close()
        house.close()
        scoring.stop()
