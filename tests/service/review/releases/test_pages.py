"""The pages of releases: who may look and who may act, a sign-off is of the person logged in, and a button holds at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from starlette.applications import Starlette

from models.commissioned import Decision
from service.access.caller import Caller
from service.access.policy import ADDRESSES, shape_of
from service.audit.settled import Settled
from service.ehr_house import House
from service.metrics import Metrics
from service.problem import ProblemError
from service.releases.releases import Releases
from service.releases.reports import hand_in
from service.review.page import ReviewDesk
from service.review.releases.pages import PLACE, ReleasePages
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.site_trust import CommissioningRules
from service.store import signoffs
from service.store.audit import lines
from service.web import on_problem
from tests.make import tiny_release
from tests.make_commissioning import commissioning_of
from tests.service.audit.audit_house import RADIOLOGIST, Known, TestClient, lay

OLD, NEW = "tiny_chest-1.0.0", "tiny_chest-1.1.0"
STEWARD = Caller("rpps:10000000004", name="Test STEWARD", roles=frozenset({"steward"}), provider="psc")
SIGN = {"csrf": "token", "decision": "accepted", "statement": "Read the report with the team.", "typed": NEW}


@dataclass
class Here:
    """The pages of a site that asks for sign-offs, who asks, and a client."""

    house: House
    client: TestClient
    holder: dict[str, Caller]
    folder: Path

    def hand_in(self, release: str, decision: Decision = "go") -> None:
        hand_in(self.house.settings, Releases.of(self.house), release, commissioning_of(self.folder / release, decision))

    def act(self, release: str, what: str, **told: str) -> int:
        answer = self.client.post(f"{PLACE}/{release}", data={"csrf": "token", "do": what, **told}, follow_redirects=False)
        return int(answer.status_code)

    def sign(self, release: str, **changed: str) -> int:
        form = {**SIGN, "typed": release, **changed}
        return int(self.client.post(f"{PLACE}/{release}/sign", data=form, follow_redirects=False).status_code)

    def serving(self) -> list[str]:
        return [one.id for one in self.house.scoring.shelf.active.values()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("released")
    for version in ("1.0.0", "1.1.0"):
        tiny_release(made, "image_classification", version=version)
    return made


@pytest.fixture
def here(tmp_path: Path, folder: Path) -> Iterator[Here]:
    settings = Settings(store=lay(tmp_path) / "store", review=True, released=folder)
    house = House(settings, Site(commissioning=CommissioningRules(required=True)), Scoring(settings), Metrics())
    house.open()
    house.scoring.open()
    holder = {"caller": replace(STEWARD, login_at=time.time())}
    app = Starlette(routes=list(ReleasePages(ReviewDesk(house)).routes()), exception_handlers={ProblemError: on_problem})
    try:
        yield Here(house, TestClient(Settled(Known(app, holder))), holder, folder)
    finally:
        house.close()
        house.scoring.stop()


def test_looking_takes_the_permission_model_and_acting_the_permission_commission(here: Here) -> None:
    for route in ReleasePages(ReviewDesk(here.house)).routes():
        for method in (route.methods or set()) - {"HEAD"}:
            wanted = ("model",) if method == "GET" else ("commission",)
            assert ADDRESSES[f"{method} {shape_of(route.path)}"] == wanted


def test_a_radiologist_may_look_and_finds_no_button_and_no_way_to_act(here: Here) -> None:
    here.hand_in(NEW)
    here.holder["caller"] = replace(RADIOLOGIST, login_at=time.time())
    page = here.client.get(f"{PLACE}/{NEW}")
    assert page.status_code == 200
    assert "<form" not in page.text.partition("<main")[2].partition("</main>")[0]
    assert (here.sign(NEW), here.act(NEW, "live"), here.serving()) == (403, 403, [])


def test_a_release_is_read_signed_and_put_live_on_its_page(here: Here) -> None:
    assert "nobody decided" in here.client.get(PLACE).text
    here.hand_in(NEW)
    page = here.client.get(f"{PLACE}/{NEW}").text
    assert "Go live here" in page
    assert "0.930 (0.900 to 0.960)" in page
    assert here.act(NEW, "live") == 409  # nobody signed
    assert here.sign(NEW) == 303
    assert here.act(NEW, "live") == 303
    assert here.serving() == [NEW]
    [row] = signoffs.of_release(here.house.store, NEW)
    assert (row.signer["name"], row.signer_subject, row.signer["known_by"]) == ("Test STEWARD", STEWARD.subject, "login psc")
    page = here.client.get(f"{PLACE}/{NEW}?done=live").text
    assert "It is live from now on." in page
    assert "Read the report with the team." in page
    here.house.audit.flush()
    with here.house.store.reading() as session:
        assert [(one.action, one.actor) for one in lines(session)] == [("sign_off", STEWARD.subject), ("release", STEWARD.subject)]


def test_the_id_is_typed_once_more_and_a_login_of_long_ago_is_not_enough(here: Here) -> None:
    here.hand_in(NEW)
    assert here.sign(NEW, typed=OLD) == 409
    here.holder["caller"] = replace(STEWARD, login_at=time.time() - 86_400)
    assert here.sign(NEW) == 403
    assert here.act(NEW, "live") == 403
    assert signoffs.of_release(here.house.store, NEW) == []


def test_without_a_report_there_is_nothing_to_sign(here: Here) -> None:
    assert here.sign(NEW) == 409
    assert "No report of commissioning was handed in" in here.client.post(f"{PLACE}/{NEW}/sign", data=SIGN).text


def test_against_the_advice_needs_its_reason_which_stands_on_the_page(here: Here) -> None:
    here.hand_in(NEW, "no_go")
    here.sign(NEW)
    assert here.act(NEW, "live") == 409
    assert here.act(NEW, "live", against_advice="Nothing else reads at night.") == 303
    page = here.client.get(f"{PLACE}/{NEW}").text
    assert "Nothing else reads at night." in page
    assert "against the advice of its commissioning" in page


def test_shadow_off_and_rollback_are_one_button_each(here: Here) -> None:
    for release in (OLD, NEW):
        here.hand_in(release)
        here.sign(release)
    assert here.act(NEW, "shadow") == 303
    assert here.serving() == []
    assert "Compare now" in here.client.get(f"{PLACE}/{NEW}").text
    for release in (OLD, NEW):
        assert here.act(release, "live") == 303
    assert here.act(NEW, "rollback") == 303
    assert here.serving() == [OLD]
    assert here.act(OLD, "off") == 303
    assert here.serving() == []


def test_the_gate_is_shown_beside_the_live_release_and_says_what_is_missing(here: Here) -> None:
    here.hand_in(OLD)
    here.sign(OLD)
    here.act(OLD, "live")
    here.act(NEW, "shadow")
    page = here.client.get(f"{PLACE}/{NEW}?compare=yes").text
    assert "Promotion gate" in page
    assert "nobody signed" in page
    assert here.act(NEW, "promote") == 409
    assert here.serving() == [OLD]


def test_what_a_steward_types_is_shown_as_text(here: Here) -> None:
    here.hand_in(NEW)
    here.sign(NEW, statement="<script>alert(1)</script>")
    assert "<script>alert" not in here.client.get(f"{PLACE}/{NEW}").text


@pytest.mark.parametrize(("path", "status"), [("/no_model-1.0.0", 404), (f"/{NEW}", 400)])
def test_what_is_not_here_or_no_action_is_refused(here: Here, path: str, status: int) -> None:
    assert here.client.post(f"{PLACE}{path}", data={"csrf": "token", "do": "fly"}).status_code == status
