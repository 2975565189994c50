"""A house whose reports and models can be looked at: tiny releases, a worker, and a client who is whoever the test says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.caller import Caller
from service.decode import Decoder
from service.dicom.arrival import arrive_file
from service.ehr_house import House
from service.metrics import Metrics
from service.problem import ProblemError
from service.review.model.pages import ModelPages
from service.review.page import ReviewDesk
from service.review.report.pages import Reports
from service.review.targets import key_of
from service.scoring import Scoring
from service.site import Site
from service.store import entries
from service.store.audit import lines
from service.store.entries import NewEntry
from service.store.inbox import receive
from service.store.reports import cases_of
from service.web import on_problem
from service.worker import Worker
from tests.make import dicom_bytes
from tests.make_store import settings_for
from tests.service.house import TestClient

READER = Caller("rpps:99700000001", name="Dr Camille Essai", family="Essai", given="Camille", rpps="99700000001",
                roles=frozenset({"radiologist"}), session="s1")
SITE = {
    "device": {"language": "en", "institution": "CHU Exemple", "time_zone": "Europe/Paris"},
    "organisation": {"name": "CHU Exemple", "finess": "010000024", "oid": "1.2.250.1.999.1"}, "identity": {"accept": "test"},
}
HTML = "text/html"


@dataclass
class Paper:
    """The house, and who asks next."""

    house: House
    worker: Worker
    client: TestClient
    who: list[Caller] = field(default_factory=lambda: [READER])

    def arrive(self, *datasets: Dataset, department: str = "Radiology", models: tuple[str, ...] = ()) -> str:
        """Receive images, score them and put their study into the worklist; return its key."""
        receive(self.house.store, [arrive_file(dicom_bytes(one)) for one in datasets], quiet_s=0)
        while self.worker.step():
            pass
        with self.house.store.session() as session:
            study = str(datasets[0].StudyInstanceUID)
            return entries.put(session, NewEntry("study", study, 1, 0.0, "1", {}, department=department, models=models))

    def state(self, key: str) -> tuple[str, bool]:
        """Return the state of a line of the worklist, and whether it is open."""
        entry = entries.by_key(self.house.store, key)
        assert entry is not None
        return entry.state, entry.open

    def result_of(self, key: str) -> str:
        """Return the key of the first result of a study."""
        entry = entries.by_key(self.house.store, key)
        assert entry is not None
        _, results = cases_of(self.house.store, entry.target)
        number = results[0].id
        assert number is not None
        return key_of(self.house.store, "result", number)

    def get(self, path: str, *, as_: Caller = READER, language: str = "en") -> Any:
        """Ask for a page as somebody."""
        self.who[0] = as_
        return self.client.get(path, headers={"accept-language": language, "accept": HTML}, follow_redirects=False)

    def post(self, path: str, form: Mapping[str, Any], *, as_: Caller = READER) -> Any:
        """Send a form as somebody."""
        self.who[0] = as_
        return self.client.post(path, data=form, headers={"accept": HTML}, follow_redirects=False)

    def form(self, path: str, **changes: Any) -> dict[str, Any]:
        """Return the fields of the form of a report as its page has them, with some changed."""
        html = self.get(path).text
        fields: dict[str, Any] = dict(re.findall(r'name="(etag|language)" value="([^"]*)"', html))
        fields["etag"] = fields["etag"].replace("&#34;", '"')
        for name, text in re.findall(r'<textarea [^>]*name="(s-\w+)"[^>]*>([^<]*)</textarea>', html):
            fields.setdefault(name, []).append(text.replace("&#39;", "'"))
        return {**fields, **changes}

    def actions(self) -> list[tuple[str, str]]:
        """Return what the audit says was done to reports and results, in order."""
        self.house.audit.flush()
        with self.house.store.reading() as session:
            return [(one.action, one.outcome) for one in lines(session)]


@contextmanager
def paper_house(released: Path, folder: Path) -> Iterator[Paper]:
    """Open a house on a folder of releases."""
    settings = settings_for(folder, released=released)
    scoring, decoder = Scoring(settings), Decoder()
    scoring.open()
    house = House(settings, Site.model_validate(SITE), scoring, Metrics())
    house.open()
    desk, who = ReviewDesk(house), [READER]
    routes = [*Reports(desk).routes(), *ModelPages(desk).routes()]
    pages = Starlette(routes=routes, exception_handlers=dict.fromkeys((ProblemError, Exception), on_problem))
    try:
        yield Paper(house, Worker(house.store, scoring.shelf, house.site, settings, "one", decoder=decoder),
                    TestClient(_let_in(pages, who), raise_server_exceptions=True), who)
    finally:
        decoder.close()
        house.close()
        scoring.stop()


def _let_in(app: ASGIApp, who: list[Caller]) -> ASGIApp:
    """Put who asks where the Gate puts them."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {}).update(caller=who[0], csrf="a token")
        await app(scope, receive, send)

    return asked
