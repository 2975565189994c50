"""A house where verdicts are given: tiny releases, a worker, targets that nobody listens on, and a client of any role."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.caller import Caller
from service.decode import Decoder
from service.dicom.arrival import arrive_file
from service.ehr_house import House
from service.metrics import Metrics
from service.problem import ProblemError
from service.review.page import ReviewDesk
from service.review.targets import key_of
from service.review.verdict.pages import Verdicts
from service.review.verdict.view import VerdictView, view_of
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.store import entries
from service.store.entries import NewEntry
from service.store.inbox import receive
from service.store.review_tables import Entry, Risk, Verdict
from service.store.tables import Result
from service.web import on_problem
from service.worker import Worker
from tests.make import dicom_bytes
from tests.service.house import TestClient

SITE: dict[str, Any] = {
    "device": {"language": "en", "institution": "CHU Exemple", "time_zone": "Europe/Paris"},
    "targets": [
        {"name": "pacs", "kind": "dimse", "host": "127.0.0.1", "port": 1}, {"name": "web", "kind": "stow", "url": "http://127.0.0.1:1"},
        {"name": "record", "kind": "fhir"},
    ],
    "fhir_server": {"url": "http://127.0.0.1:1/fhir", "push": True},
}
READER = Caller("rpps:99700000001", name="Camille DOCTEUR-TEST", family="DOCTEUR-TEST", given="Camille", rpps="99700000001",
                profession="10", structure="CHU Exemple", roles=frozenset({"radiologist"}))
OTHER = Caller("rpps:99700000002", name="Alix RELECTEUR-TEST", family="RELECTEUR-TEST", given="Alix", rpps="99700000002",
               structure="CHU Exemple", roles=frozenset({"radiologist"}))
CLINICIAN = Caller("rpps:99700000003", name="Dominique CLINICIEN-TEST", family="CLINICIEN-TEST", given="Dominique",
                   roles=frozenset({"clinician"}))


@dataclass
class Place:
    """The house, and who asks next."""

    house: House
    desk: ReviewDesk
    worker: Worker
    client: TestClient
    who: list[Caller] = field(default_factory=lambda: [READER])

    def arrive(self, *datasets: Dataset) -> list[int]:
        """Receive images, score them and put their study into the worklist; return the numbers of the results."""
        receive(self.house.store, [arrive_file(dicom_bytes(one)) for one in datasets], quiet_s=0)
        while self.worker.step():
            pass
        study = str(datasets[0].StudyInstanceUID)
        with self.house.store.session() as session:
            entries.put(session, NewEntry("study", study, 1, 0.0, "1", {}, department="Radiology"))
            return list(session.scalars(select(Result.id).order_by(Result.id.desc()).limit(1)))

    def keep_risk(self, **changes: Any) -> int:
        """Keep a risk that was told, and put it into the worklist; return its number."""
        key = secrets.token_urlsafe(16)
        finding = {"name": "death", "label": "Death", "label_fr": "Décès", "kind": "probability", "value": 0.4, "unit": "1",
                   "threshold": 0.2, "above_threshold": True, "risk": "high",
                   "code": {"system": "urn:diaphane:codes", "code": "death", "display": "Death"}}
        told: dict[str, Any] = {
            "key": key, "same": key, "subject": "Patient/1", "person": "", "department": "", "model": "tiny_risk-1.0.0",
            "status": "scored", "value": 0.4, "answer": {"identity": {"input_sha256": "ab" * 32}, "findings": [finding]},
            "record": {}, "patient": {}, "source": "hook:patient-view", "scored_at": 1_795_300_000.0, **changes,
        }
        with self.house.store.session() as session:
            row = Risk(**told)
            session.add(row)
            session.flush()
            entries.put(session, NewEntry("risk", key, 2, 0.0, "1", {}))
            return row.id

    def view(self, number: int, kind: Any = "result", *, caller: Caller = READER) -> VerdictView:
        """Return the panel as a reader would see it."""
        found = view_of(self.desk, caller, kind, number)
        assert found is not None
        return found

    def give(self, number: int, decision: str, *, kind: Any = "result", caller: Caller = READER, **fields: Any) -> Any:
        """Send the form of a panel that was just opened; fields named with "__" for a point."""
        panel = self.view(number, kind, caller=caller)
        self.who[:] = [caller]
        form = {"target": panel.key, "after": str(panel.after), "token": panel.token, "decision": decision,
                **{name.replace("__", "."): value for name, value in fields.items()}}
        return self.client.post(panel.action, data=form, follow_redirects=False)

    def rows(self, number: int, kind: str = "result") -> list[Verdict]:
        """Return the verdicts on a target."""
        with self.house.store.reading() as session:
            return list(session.scalars(select(Verdict).where(Verdict.target_kind == kind, Verdict.target_id == number)
                                        .order_by(Verdict.number)))

    def state(self, kind: str = "study") -> str:
        """Return the state of the last line of the worklist."""
        with self.house.store.reading() as session:
            found = session.scalars(select(Entry).where(Entry.kind == kind).order_by(Entry.id.desc()).limit(1)).one()
            return str(found.state)

    def key(self, number: int, kind: Any = "result") -> str:
        """Return the key of a target."""
        return key_of(self.house.store, kind, number)


class _As:
    """Says who asks, as the Gate would."""

    def __init__(self, app: ASGIApp, who: list[Caller]) -> None:
        self.app, self.who = app, who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["caller"] = self.who[0]
        await self.app(scope, receive, send)


@contextmanager
def verdict_place(released: Path, folder: Path, **site: Any) -> Iterator[Place]:
    """Open the house over a folder of releases."""
    settings = Settings(released=released, store=folder, ehr=True, review=True)
    rules = Site.model_validate({**SITE, **site})
    scoring, metrics, decoder = Scoring(settings), Metrics(), Decoder()
    scoring.open()
    house = House(settings, rules, scoring, metrics)
    house.open()
    desk, who = ReviewDesk(house), [READER]
    handlers = dict.fromkeys((ProblemError, Exception), on_problem)
    app = _As(Starlette(routes=list(Verdicts(desk).routes()), exception_handlers=handlers), who)
    try:
        yield Place(house, desk, Worker(house.store, scoring.shelf, rules, settings, "one", decoder=decoder),
                    TestClient(app, raise_server_exceptions=True), who)
    finally:
        decoder.close()
        house.close()
        scoring.stop()


def hidden(html: str, name: str) -> str:
    """Return the value of a hidden field."""
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', html)
    assert found, name
    return found[1]
