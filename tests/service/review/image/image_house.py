"""A house whose studies can be looked at: tiny releases, a worker, and a client who is whoever the test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from sqlalchemy import update
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from models.shelf import Shelf
from service.access.caller import Caller
from service.decode import Decoder
from service.dicom.arrival import arrive_file
from service.ehr_house import House
from service.metrics import Metrics
from service.problem import ProblemError
from service.review.image.pages import Image
from service.review.page import ReviewDesk
from service.scoring import Scoring
from service.site import Site
from service.store import entries
from service.store.cases import seal_due
from service.store.entries import NewEntry
from service.store.inbox import receive
from service.store.review_tables import Entry
from service.store.tables import Job
from service.web import on_problem
from service.worker import Worker
from tests.make import dicom_bytes
from tests.make_store import settings_for
from tests.service.house import TestClient

READER = Caller("rpps:10999999991", name="Dr Camille Essai", roles=frozenset({"radiologist"}), session="s1")


@dataclass
class Film:
    """The house, its one area, and who asks next."""

    house: House
    area: Image
    worker: Worker
    client: TestClient
    who: list[Caller] = field(default_factory=lambda: [READER])

    def arrive(self, *datasets: Dataset, department: str = "Radiology", models: tuple[str, ...] = ()) -> str:
        """Receive images, score them and put their study into the worklist; return its key."""
        receive(self.house.store, [arrive_file(dicom_bytes(one)) for one in datasets], quiet_s=0)
        while self.worker.step():
            pass
        return self._listed(datasets[0], department, models)

    def bring(self, *datasets: Dataset, department: str = "Radiology") -> str:
        """Receive images that are not scored, which takes longer than all else, and put their study into the worklist."""
        receive(self.house.store, [arrive_file(dicom_bytes(one)) for one in datasets], quiet_s=0)
        seal_due(self.house.store)
        with self.house.store.session() as session:
            session.execute(update(Job).values(state="done"))
        return self._listed(datasets[0], department, ())

    def _listed(self, dataset: Dataset, department: str, models: tuple[str, ...]) -> str:
        with self.house.store.session() as session:
            return entries.put(session, NewEntry("study", str(dataset.StudyInstanceUID), 1, 0.0, "1", {}, department=department,
                                                 models=models))

    def entry(self, key: str) -> Entry:
        """Return a line of the worklist."""
        found = entries.by_key(self.house.store, key)
        assert found is not None
        return found

    def get(self, path: str, *, as_: Caller | None = None, **headers: str) -> Any:
        """Ask as somebody, for a page unless another type is named."""
        self.who[0] = as_ or READER
        try:
            return self.client.get(f"/review/studies/{path}", headers={"accept-language": "en", **headers})
        finally:
            self.who[0] = READER


@contextmanager
def film_house(released: Path, folder: Path, **site: Any) -> Iterator[Film]:
    """Open a house on a folder of releases."""
    settings = settings_for(folder, released=released)
    scoring = Scoring(settings)
    scoring.open()
    house = House(settings, Site.model_validate(site), scoring, Metrics())
    house.open()
    decoder = Decoder()
    area = Image(ReviewDesk(house))
    area.pictures.decoder = decoder  # one process for all: each takes a second to start
    who = [READER]
    pages = Starlette(routes=area.routes(), exception_handlers=dict.fromkeys((ProblemError, Exception), on_problem))
    try:
        worker = Worker(house.store, Shelf(released), house.site, settings, "one", decoder=decoder)
        yield Film(house, area, worker, TestClient(_let_in(pages, who), raise_server_exceptions=False), who)
    finally:
        area.close()
        house.close()
        scoring.stop()


def _let_in(app: ASGIApp, who: list[Caller]) -> ASGIApp:
    """Put who asks where the Gate puts them."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {}).update(caller=who[0], csrf="a token")
        await app(scope, receive, send)

    return asked
