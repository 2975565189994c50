"""A house with the risk page and $predict on one tiny release, and whoever the test says asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from models.model import Model
from service.access.caller import Caller
from service.ehr_house import House
from service.fhir.routes import Fhir
from service.metrics import Metrics
from service.problem import ProblemError
from service.review.page import ReviewDesk
from service.review.risk.pages import Risk
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.store import risks
from service.store.review_tables import AuditLine, AuditPerson, Entry
from service.store.review_tables import Risk as Kept
from service.store.tables import Base
from service.web import on_problem
from tests.make import icu_bundle, tiny_release
from tests.service.house import FHIR, TestClient
from tests.service.monitoring.home import with_empty_database

CLINICIAN = Caller("rpps:99700000003", name="Dominique CLINICIEN-TEST", family="CLINICIEN-TEST", given="Dominique",
                   roles=frozenset({"clinician"}))
BANDS = {"low": 0.1, "moderate": 0.3, "high": 0.6}
MODEL = "tiny_risk-1.0.0"
HTML = {"accept": "text/html"}
Json = dict[str, Any]


@dataclass
class RiskHouse:
    """The house, and who asks next."""

    house: House
    client: TestClient
    who: list[Caller] = field(default_factory=lambda: [CLINICIAN])

    @property
    def model(self) -> Model:
        """The release."""
        return self.house.scoring.shelf.get(MODEL)

    def predict(self, bundle: Json | None = None, **query: str) -> Kept:
        """Ask $predict and return the risk that was kept of it, the latest."""
        asked = "&".join(f"{name}={value}" for name, value in {"model": "tiny_risk", **query}.items())
        answer = self.client.post(f"/fhir/$predict?{asked}", content=json.dumps(bundle or stay()), headers=FHIR)
        assert answer.status_code == 200, answer.text
        return self.kept()[-1]

    def kept(self) -> list[Kept]:
        """Every risk that is kept, the first first."""
        with self.house.store.reading() as session:
            return list(session.scalars(select(Kept).order_by(Kept.id)))

    def lines(self) -> list[Entry]:
        """Every line of the worklist."""
        with self.house.store.reading() as session:
            return list(session.scalars(select(Entry).order_by(Entry.id)))

    def page(self, key: str, **headers: str) -> Any:
        """Open the page of a risk."""
        return self.client.get(f"/review/risks/{key}", headers={**HTML, **headers})

    def what_if(self, key: str, **values: Any) -> Any:
        """Ask what if."""
        return self.client.post(f"/review/risks/{key}/what-if", data={f"value.{code}": str(value) for code, value in values.items()},
                                headers={**HTML, "x-fragment": "1"})

    def counts(self) -> dict[str, int]:
        """Count the rows of every table but those of the audit."""
        audit = {AuditLine.__tablename__, AuditPerson.__tablename__}
        with self.house.store.reading() as session:
            tables = [table for name, table in Base.metadata.tables.items() if name not in audit]
            return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}

    def looked(self) -> list[tuple[str, str, str]]:
        """What the audit holds: action, kind, item."""
        self.house.audit.flush()
        with self.house.store.reading() as session:
            return [(one.action, one.kind, one.item) for one in session.scalars(select(AuditLine).order_by(AuditLine.id))]

    def by_key(self, key: str) -> Kept:
        """The risk of a key."""
        found = risks.by_key(self.house.store, key)
        assert found is not None
        return found


def stay(*, heart_rate: float = 120.0, gcs: float = 9.0, place: str = "Intensive care", name: str = "ESSAI", **more: Any) -> Json:
    """Make a stay of somebody with a name, an identifier and a department; a moderate risk by the tiny rule."""
    bundle = icu_bundle(heart_rate=heart_rate, gcs=gcs, **more)
    patient, encounter = (entry["resource"] for entry in bundle["entry"][:2])
    patient["name"] = [{"use": "official", "family": name, "given": ["Camille"]}]
    patient["identifier"] = [{"system": "urn:oid:1.2.3.4", "value": "IPP-77"}]
    encounter["location"] = [{"location": {"display": place}}]
    return bundle


class _As:
    """Stands in for the gate: whoever the test names has logged in."""

    def __init__(self, app: ASGIApp, who: list[Caller]) -> None:
        self.app, self.who = app, who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["state"] = {**scope.get("state", {}), "caller": self.who[-1], "csrf": "t"}
        await self.app(scope, receive, send)


@contextmanager
def risk_house(folder: Path, scoring: Scoring, **told: Any) -> Iterator[RiskHouse]:
    """Open the house on a store of its own, over releases that are open."""
    with_empty_database(folder / "store")
    settings = Settings(released=scoring.settings.released, store=folder / "store", review=True, **told)
    house = House(settings, Site(), scoring, Metrics())
    house.open()
    area, fhir = Risk(ReviewDesk(house)), Fhir(house)
    who = [CLINICIAN]
    app = Starlette(routes=[*area.routes(), Route("/fhir/$predict", fhir.predict, methods=["POST"])],
                    exception_handlers={ProblemError: on_problem})
    yield RiskHouse(house, TestClient(_As(app, who)), who)
    house.close()


def bands_release(folder: Path) -> Path:
    """Make the tiny release with words for the risk."""
    code = {"system": "http://snomed.info/sct", "code": "419620001", "display": "Death"}
    output = {"name": "death", "label": "Death", "label_fr": "Décès", "code": code, "kind": "probability", "unit": "1", "index": 0,
              "threshold": 0.5, "bands": BANDS}
    return tiny_release(folder, "risk", outputs=[output])
