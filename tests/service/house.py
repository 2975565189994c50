"""One house of tiny releases for all service tests: settings, scoring, counters and a client, in this process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.guard import Guard
from service.metrics import Metrics
from service.scoring import Scoring
from service.settings import Settings
from service.web import Web
from tests.make import tiny_release

with warnings.catch_warnings():  # starlette asks for httpx2, which is not the client the service's users have
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

DICOM = {"content-type": "application/dicom"}
FHIR = {"content-type": "application/fhir+json"}


@dataclass(frozen=True)
class House:
    """A running service without a socket."""

    settings: Settings
    scoring: Scoring
    metrics: Metrics
    client: TestClient


def build(released: Path, *, ready: bool = True, **settings: Any) -> House:
    """Build a house over a folder of releases."""
    told = Settings(released=released, **settings)
    scoring, metrics = Scoring(told), Metrics()
    if ready:
        scoring.open()
    client = TestClient(Guard(Web(told, scoring, metrics).app(), told, metrics), raise_server_exceptions=True)
    return House(told, scoring, metrics, client)


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny release for each task."""
    folder = tmp_path_factory.mktemp("released")
    for task in ("image_classification", "volume_segmentation", "risk"):
        tiny_release(folder, task)
    return folder


@pytest.fixture(scope="session")
def house(released: Path) -> Iterator[House]:
    """A ready house with default settings."""
    built = build(released)
    yield built
    built.scoring.stop()


@pytest.fixture(scope="session")
def client(house: House) -> TestClient:
    """A client of the ready house."""
    return house.client
