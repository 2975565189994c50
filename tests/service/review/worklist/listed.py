"""A whole house with its Gate and a worklist of made-up lines, and browsers of whatever role."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from service.ehr import Ehr
from service.guard import Guard
from service.metrics import Metrics
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.store import entries
from service.store.entries import HIGH, NewEntry
from service.store.store import Store
from service.web import Web
from tests.service.access.make_login import ORIGIN, login_for
from tests.service.house import TestClient

PAGE = {"accept": "text/html,*/*"}
FINDING = {"model": "chest-1.0.0", "name": "pneumonia", "label": "Pneumonia", "label_fr": "Pneumonie", "kind": "probability",
           "value": 0.83, "unit": "1", "threshold": 0.4, "above_threshold": True, "risk": ""}


class Listed:
    """A house, and what is done to its list."""

    def __init__(self, ehr: Ehr, app: ASGIApp) -> None:
        self.ehr, self.house, self.app = ehr, ehr.house, app

    @property
    def store(self) -> Store:
        return self.house.store

    def browser(self, roles: tuple[str, ...] = ("radiologist",), **who: Any) -> TestClient:
        """Return a browser in which somebody is logged in; its headers let it change things."""
        someone = login_for(self.house, roles, **who)
        return TestClient(self.app, base_url=ORIGIN, cookies=someone.cookies, headers={**PAGE, **someone.headers},
                          client=("127.0.0.1", 50000), follow_redirects=False)

    def put(self, target: str, **changes: Any) -> str:
        """Write a line; return its key."""
        return self.put_all([entry(target, **changes)])[0]

    def put_all(self, news: Sequence[NewEntry]) -> list[str]:
        """Write lines in one transaction; return their keys."""
        with self.store.session() as session:
            return [entries.put(session, one) for one in news]

    def erase(self, *targets: str) -> None:
        with self.store.session() as session:
            entries.erase(session, kind="study", targets=targets)

    def state(self, target: str, state: entries.State, **more: Any) -> None:
        with self.store.session() as session:
            entries.set_state(session, kind="study", target=target, state=state, **more)


def entry(target: str, *, name: str = "ESSAI", given: str = "Zoé", **changes: Any) -> NewEntry:
    """Make what is shown of a study."""
    patient = {"name": name, "given": given, "birth_date": "20190401", "sex": "F", "id": f"ID-{target}"}
    told: dict[str, Any] = {
        "kind": "study", "target": target, "urgency": HIGH, "waiting_since": 1_700_000_000.0, "version": "1",
        "patient_id": patient["id"],
        "patient_name": f"{name}^{given}", "accession_number": f"A-{target}", "department": "Radiology", "models": ("chest-1.0.0",),
        "modality": "DX", "person": hashlib.sha256(target.encode()).hexdigest()[:32],
        "detail": {"patient": patient, "procedure": "Chest PA", "images": 1, "findings": [FINDING], "declined": []},
    }
    return NewEntry(**{**told, **changes})


@contextmanager
def listed(folder: Path, site: dict[str, Any] | None = None, **told: Any) -> Iterator[Listed]:
    """Open a house without releases."""
    released = folder / "released"
    released.mkdir(parents=True, exist_ok=True)
    settings = Settings(store=folder / "store", released=released, review=True, **told)
    scoring, metrics = Scoring(settings), Metrics()
    ehr = Ehr(settings, scoring, metrics)
    object.__setattr__(ehr.house, "site", Site.model_validate(site or {}))
    app = Guard(Web(settings, scoring, metrics, None, ehr).app(), settings, metrics)
    ehr.open()
    try:
        yield Listed(ehr, app)
    finally:
        ehr.close()
        scoring.stop()
