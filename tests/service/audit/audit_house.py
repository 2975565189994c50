"""A store with an audit, and a page's house around it: what the tests of the audit stand on."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.caller import Caller
from service.audit.audit import Audit
from service.audit.routes import AuditEvents
from service.audit.settled import Settled
from service.ehr_house import House
from service.metrics import Metrics
from service.review.audit.pages import AuditPages
from service.review.page import ReviewDesk
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.store.engine import SQLITE_FILE
from service.web import on_problem
from tests.make_store import store_for

with warnings.catch_warnings():  # starlette asks for httpx2, which is not the client the service's users have
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

ADMINISTRATOR = Caller("rpps:10000000001", name="Alix Essai", roles=frozenset({"administrator"}))
RADIOLOGIST = Caller("rpps:10000000002", name="Camille Essai", roles=frozenset({"radiologist"}))
PROGRAM = Caller("machine:ehr", kind="machine", roles=frozenset({"system"}))
PERSON, OTHER = "a" * 32, "b" * 32
KEY = "kAz_-19kAz_-19kAz_-19k"  # as a random key of ours


@dataclass
class Known:
    """Lets everybody in as the caller a test names."""

    app: ASGIApp
    holder: dict[str, Caller]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["caller"] = self.holder["caller"]
        scope["state"]["csrf"] = "token"
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class AuditHouse:
    """The house, its audit, a client, and who the client is."""

    house: House
    audit: Audit
    client: TestClient
    holder: dict[str, Caller]

    def become(self, caller: Caller) -> None:
        """Ask as somebody else from now on."""
        self.holder["caller"] = caller


@cache
def _empty() -> bytes:
    """Return the file of an empty database: copied, it saves each test the migrations."""
    with tempfile.TemporaryDirectory() as folder:
        store_for(Path(folder)).close()
        return (Path(folder) / "store" / SQLITE_FILE).read_bytes()


def lay(folder: Path) -> Path:
    """Lay an empty store into a folder; return the folder."""
    (folder / "store").mkdir(mode=0o700)
    (folder / "store" / SQLITE_FILE).write_bytes(_empty())
    return folder


@contextmanager
def audit_house(folder: Path, *, site: Site | None = None, **told: Any) -> Iterator[AuditHouse]:
    """Open the pages and the FHIR addresses of the audit over a store in a folder."""
    settings = Settings(store=lay(folder) / "store", ehr=True, **told)
    house = House(settings, site or Site(), Scoring(settings), Metrics())
    house.open()
    holder = {"caller": ADMINISTRATOR}
    desk = ReviewDesk(house)
    app = Starlette(
        routes=[*AuditPages(desk).routes(), *AuditEvents(house).routes()],
        middleware=[Middleware(Settled), Middleware(Known, holder=holder)], exception_handlers={Exception: on_problem},
    )
    try:
        yield AuditHouse(house, house.audit, TestClient(app, raise_server_exceptions=False), holder)
    finally:
        house.scoring.stop()
        house.close()
