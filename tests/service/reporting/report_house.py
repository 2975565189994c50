"""The room of reports in this process: tiny releases, a store, a worker, and a client. Nothing listens on a socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from starlette.applications import Starlette

from models.errors import UnusableInput
from service.decode import Decoder
from service.dicom.arrival import arrive_file
from service.ehr_house import House
from service.guard import Guard
from service.metrics import Metrics
from service.problem import ProblemError
from service.reporting.routes import Reporting
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.store.inbox import receive
from service.web import on_problem
from service.worker import Worker
from tests.make import dicom_bytes
from tests.service.house import TestClient

SITE = Site.model_validate({
    "device": {"language": "fr", "institution": "CHU Exemple", "time_zone": "Europe/Paris"},
    "organisation": {"name": "CHU Exemple", "finess": "010000024", "oid": "1.2.250.1.999.1"},
})
READER = {"rpps": "99700000001", "family": "DOCTEUR-TEST", "given": "CAMILLE"}


@dataclass(frozen=True)
class Room:
    """The room, with what a test may look at."""

    house: House
    client: TestClient
    worker: Worker

    def arrive(self, *datasets: Dataset) -> str:
        """Receive images and score them; return their study."""
        receive(self.house.store, [arrive_file(dicom_bytes(one)) for one in datasets], quiet_s=0)
        while self.worker.step():
            pass
        return str(datasets[0].StudyInstanceUID)

    def read(self, study: str, query: str = "", **headers: str) -> Any:
        """Get the report."""
        return self.client.get(f"/v1/studies/{study}/report{query}", headers=headers)

    def edit(self, study: str, etag: str, **sections: list[str]) -> Any:
        """Write another text."""
        body = {"author": {"family": "DOCTEUR-TEST", "given": "CAMILLE"}, "sections": sections}
        return self.client.put(f"/v1/studies/{study}/report", json=body, headers={"if-match": etag})

    def validate(self, study: str, etag: str, **more: Any) -> Any:
        """Validate the report as it stands."""
        body = {"professional": READER, **more}
        return self.client.post(f"/v1/studies/{study}/report/validation", json=body, headers={"if-match": etag})


@contextmanager
def report_room(released: Path, folder: Path, *, site: Site = SITE) -> Iterator[Room]:
    """Open the room over a folder of releases."""
    settings = Settings(released=released, store=folder, ehr=True)
    scoring, metrics, decoder = Scoring(settings), Metrics(), Decoder()
    scoring.open()
    house = House(settings, site, scoring, metrics)
    house.open()
    handlers = dict.fromkeys((ProblemError, UnusableInput, Exception), on_problem)
    app = Guard(Starlette(routes=Reporting(house).routes(), exception_handlers=handlers), settings, metrics)
    try:
        yield Room(house, TestClient(app, raise_server_exceptions=True),
                   Worker(house.store, scoring.shelf, site, settings, "one", decoder=decoder))
    finally:
        decoder.close()
        house.close()
        scoring.stop()
