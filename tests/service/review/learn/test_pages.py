"""The page of what to judge next: links for who judges, counts alone for the steward, nothing for others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from service.access.caller import Caller
from service.audit.settled import Settled
from service.ehr_house import House
from service.learn.queue import pick
from service.metrics import Metrics
from service.review.learn.pages import LearnPages
from service.review.page import ReviewDesk
from service.rights.rights import Rights
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.store.audit import lines
from service.web import on_problem
from tests.service.audit.audit_house import Known, TestClient, lay
from tests.service.learn.test_queue import come

RADIOLOGIST = Caller("rpps:1", name="Camille Essai", roles=frozenset({"radiologist"}))
ELSEWHERE = Caller("rpps:2", name="Alix Essai", roles=frozenset({"radiologist"}), departments=frozenset({"Cardiology"}))
STEWARD = Caller("rpps:3", name="Sacha Essai", roles=frozenset({"steward"}))
CLINICIAN = Caller("rpps:4", name="Noa Essai", roles=frozenset({"clinician"}))


@dataclass
class Page:
    house: House
    client: TestClient
    holder: dict[str, Caller]

    def get(self, caller: Caller, language: str = "en") -> str:
        self.holder["caller"] = caller
        return str(self.client.get("/review/learn", headers={"accept-language": language}).text)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    settings = Settings(store=lay(tmp_path) / "store", ehr=True)
    house = House(settings, Site(), Scoring(settings), Metrics())
    house.open()
    holder = {"caller": RADIOLOGIST}
    app = Starlette(routes=LearnPages(ReviewDesk(house)).routes(), exception_handlers={Exception: on_problem},
                    middleware=[Middleware(Settled), Middleware(Known, holder=holder)])
    try:
        yield Page(house, TestClient(app, raise_server_exceptions=False, follow_redirects=False), holder)
    finally:
        house.scoring.stop()
        house.close()


def fill(page: Page) -> None:
    for number in range(1, 12):
        come(Rights(page.house.store, page.house.site, page.house.audit), number, 0.5)
    pick(page.house.store, page.house.site, count=10, seed=1)


def test_who_judges_sees_links_and_reasons_and_nobody(page: Page) -> None:
    fill(page)
    text = page.get(RADIOLOGIST)
    assert 5 <= len(re.findall(r'href="/review/e/[A-Za-z0-9_-]+"', text))
    assert "Near a threshold or a limit" in text
    assert "CANARI" not in text


def test_the_steward_sees_counts_alone(page: Page) -> None:
    fill(page)
    text = page.get(STEWARD)
    assert "/review/e/" not in text
    assert ("Counts only" in text, "Learnt from" in text) == (True, True)
    page.holder["caller"] = STEWARD
    assert 403 == page.client.post("/review/learn").status_code


def test_a_department_sees_its_own(page: Page) -> None:
    fill(page)
    assert "/review/e/" not in page.get(ELSEWHERE)


def test_others_see_nothing(page: Page) -> None:
    page.holder["caller"] = CLINICIAN
    assert 403 == page.client.get("/review/learn").status_code


def test_picking_again_is_written_down(page: Page) -> None:
    fill(page)
    assert 303 == page.client.post("/review/learn").status_code
    page.house.audit.flush()
    with page.house.store.reading() as session:
        last = lines(session)[-1]
    assert ("search", "picks", "rpps:1") == (last.action, last.kind, last.actor)


def test_an_empty_page_says_what_to_do(page: Page) -> None:
    assert "Nothing waits to be judged" in page.get(RADIOLOGIST)
