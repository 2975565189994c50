"""The page of patients' rights: only an officer sees it, no identifier stands in an address, and erasing is asked twice."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.applications import Starlette

from service.access.caller import Caller
from service.access.policy import ADDRESSES, shape_of
from service.ehr_house import House
from service.metrics import Metrics
from service.persons_keys import called, known_issuers
from service.problem import ProblemError
from service.review.page import ReviewDesk
from service.review.rights.pages import RightsPages
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.store.audit import lines
from service.store.tables import Study
from service.web import on_problem
from tests.service.audit.audit_house import RADIOLOGIST, Known, TestClient, lay
from tests.service.rights.person_data import CANARY, fill, study

DPO = Caller("rpps:10000000003", name="Alix Essai", roles=frozenset({"dpo"}))
TYPED = {"identifier": f"{CANARY}1-0001", "issuer": "", "kind": "person", "csrf": "token"}


@dataclass
class Here:
    """The pages, who asks, and a client."""

    house: House
    client: TestClient
    holder: dict[str, Caller]


@contextmanager
def opened(folder: Path) -> Iterator[Here]:
    settings = Settings(store=lay(folder) / "store", review=True)
    house = House(settings, Site(), Scoring(settings), Metrics())
    house.open()
    holder = {"caller": replace(DPO, login_at=time.time())}
    pages = RightsPages(ReviewDesk(house))
    app = Starlette(routes=pages.routes(), exception_handlers={ProblemError: on_problem})
    try:
        yield Here(house, TestClient(Known(app, holder)), holder)
    finally:
        house.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with opened(tmp_path) as found:
        fill(found.house.store, 1)
        yield found


def test_every_address_takes_the_permission_rights() -> None:
    routes = RightsPages(ReviewDesk.__new__(ReviewDesk)).routes()
    told = [(method, shape_of(route.path)) for route in routes for method in route.methods or () if method != "HEAD"]
    assert all(("rights",) == ADDRESSES[f"{method} {path}"] for method, path in told)


def test_who_is_no_officer_learns_nothing(here: Here) -> None:
    here.holder["caller"] = RADIOLOGIST
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/export"), ("POST", "/standing"), ("POST", "/erase")):
        answer = here.client.request(method, f"/review/rights{path}", data=TYPED if method == "POST" else None)
        assert (403, False) == (answer.status_code, CANARY in answer.text), path


def test_what_is_held_is_counted_and_that_somebody_looked_is_written_down(here: Here) -> None:
    page = here.client.post("/review/rights", data=TYPED)
    assert "<dd>1</dd>" in page.text
    assert CANARY not in str(page.url)
    here.house.audit.flush()
    with here.house.store.reading() as session:
        last = lines(session)[-1]
    assert ("search", "person", DPO.subject) == (last.action, last.kind, last.actor)
    assert len(last.persons) == 1


def test_the_archive_holds_images_measurements_and_who_looked(here: Here) -> None:
    answer = here.client.post("/review/rights/export", data=TYPED)
    assert 'attachment; filename="access.zip"' == answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        assert ["README.txt", "data.json", "fhir.json", "access.csv"] == names[:4]
        assert 2 == len(names[4:])
        assert f"{CANARY}1".encode() in archive.read("data.json")
        assert b"dpo,search" in archive.read("access.csv")
        assert b"Alix" not in archive.read("access.csv")


def test_an_opposition_begins_and_ends(here: Here) -> None:
    assert "Neither scored nor used for training" in here.client.post(
        "/review/rights/standing", data={**TYPED, "do": "oppose", "scope": "both"}).text
    page = here.client.post("/review/rights/standing", data={**TYPED, "do": "withdraw"})
    assert "The opposition has ended." in page.text


def test_a_hold_is_released_by_a_button_that_says_so_and_no_word_of_a_models_release(here: Here) -> None:
    asked = {**TYPED, "do": "hold", "reason": "File 12"}
    assert "Release the hold</button>" in here.client.post("/review/rights/standing", data=asked).text
    french = here.client.post("/review/rights", data=TYPED, headers={"accept-language": "fr"}).text
    assert "Version du modèle" not in french


def test_a_national_identity_is_offered_by_its_kind(here: Here) -> None:
    kinds = [called(one, "en") for one in known_issuers(here.house.site)]
    assert any(one.startswith("INS-N") for one in kinds)
    text = here.client.get("/review/rights").text
    assert all(f">{one}</option>" in text for one in kinds)


def test_a_hold_needs_a_reason_and_stops_an_erasure(here: Here) -> None:
    assert "A legal hold needs a reason." in here.client.post("/review/rights/standing", data={**TYPED, "do": "hold"}).text
    here.client.post("/review/rights/standing", data={**TYPED, "do": "hold", "reason": "RG 26/1"})
    page = here.client.post("/review/rights/erase", data={**TYPED, "sure": "yes", "counted": "1-0-0"})
    assert "A legal hold stands" in page.text
    assert here.client.post("/review/rights", data=TYPED).text.count("<dd>1</dd>")


def test_erasing_is_asked_twice_and_again_when_more_has_come(here: Here) -> None:
    asked = here.client.post("/review/rights/erase", data=TYPED)
    assert 'name="counted" value="1-0-0"' in asked.text
    assert "More has come since you looked" in here.client.post(
        "/review/rights/erase", data={**TYPED, "sure": "yes", "counted": "0-0-0"}).text
    done = here.client.post("/review/rights/erase", data={**TYPED, "sure": "yes", "counted": "1-0-0"})
    assert "Nothing is left here but the lines of the audit" in done.text
    assert "pacs (1)" in done.text


def test_erasing_needs_a_fresh_login(here: Here) -> None:
    here.holder["caller"] = replace(DPO, login_at=time.time() - 3600)
    assert 403 == here.client.post("/review/rights/erase", data=TYPED).status_code


def test_an_identifier_that_is_held_under_a_name_no_site_file_knows_is_found_by_choosing_it(here: Here) -> None:
    study(here.house.store, 7, patient_id="IPP-0007", name="CANARI7^PRENOM7")
    with here.house.store.session() as session:
        row = session.scalars(select(Study).where(Study.uid.endswith(".7"))).one()
        row.attributes = {**row.attributes, "00100021": {"vr": "LO", "Value": ["HOPITAL ESSAI"]}}
    alone = here.client.post("/review/rights", data={**TYPED, "identifier": "IPP-0007"}).text
    assert "It is held here only with who gave it: choose, HOPITAL ESSAI." in alone
    chosen = here.client.post("/review/rights", data={**TYPED, "identifier": "IPP-0007", "issuer": "HOPITAL ESSAI"}).text
    assert '<button class="button danger">' in chosen


def test_a_study_that_is_not_here_is_said_so(here: Here) -> None:
    page = here.client.post("/review/rights", data={**TYPED, "identifier": "1.2.3", "kind": "study"})
    assert "Nothing is held under this identifier" in page.text
