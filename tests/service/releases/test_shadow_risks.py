"""Shadows on records: scored from the kept record after the answer, where the person does not oppose it, and erased with the risk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import UnusableInput
from service.access.caller import Caller
from service.releases import shadow_risks
from service.releases.releases import Releases
from service.releases.shadow_risks import RiskShadow
from service.scoring import Scoring
from service.settings import Settings
from service.store import rights, shadows
from service.store.erasing import erase_record
from tests.make import tiny_release
from tests.service.review.risk.risk_house import RiskHouse, risk_house, stay

OLD, NEW = "tiny_risk-1.0.0", "tiny_risk-1.1.0"
STEWARD = Caller("rpps:10000000004", name="Test STEWARD", roles=frozenset({"steward"}))


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scoring]:
    folder = tmp_path_factory.mktemp("released")
    for version in ("1.0.0", "1.1.0"):
        tiny_release(folder, "risk", version=version)
    made = Scoring(Settings(released=folder))
    made.open()
    yield made
    made.stop()


@pytest.fixture
def there(tmp_path: Path, scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> Iterator[RiskHouse]:
    monkeypatch.setattr(shadow_risks, "BETWEEN_S", 0.0)
    with risk_house(tmp_path, scoring) as found:
        releases = Releases.of(found.house)
        releases.live(STEWARD, OLD)
        releases.shadow(STEWARD, NEW)
        found.house.standings.look()
        yield found


def test_a_risk_that_was_told_is_scored_once_more_and_only_the_live_answer_is_anywhere(there: RiskHouse) -> None:
    there.predict()
    before = there.counts()
    assert RiskShadow(there.house).step() == 1
    after = there.counts()
    assert {name for name, count in after.items() if count != before[name]} == {"shadow_results"}
    [pair] = shadows.pairs(there.house.store, NEW, OLD)
    assert (pair.status, pair.said["findings"], pair.live) == ("scored", pair.live_said["findings"], OLD)
    assert {one.model for one in there.kept()} == {OLD}
    assert RiskShadow(there.house).step() == 0  # another process finds nothing left


def test_whoever_opposes_it_since_is_left_out(there: RiskHouse) -> None:
    kept = there.predict()
    with there.house.store.session() as session:
        rights.oppose(session, persons=[kept.person], scope="scoring", by="test")
    RiskShadow(there.house).step()
    assert shadows.counts(there.house.store, NEW) == {}


def test_erasing_a_risk_erases_what_the_shadow_said_of_it(there: RiskHouse) -> None:
    kept = there.predict()
    RiskShadow(there.house).step()
    erase_record(there.house.store, subjects=[], risks=[kept.id], persons=[], workitems=[], allowed=lambda _: None)
    assert shadows.counts(there.house.store, NEW) == {}


def test_the_thread_does_it_without_being_asked(there: RiskHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_risks, "EVERY_S", 0.02)
    there.predict()
    there.predict(stay(heart_rate=130.0))
    shadow = RiskShadow(there.house)
    shadow.open()
    until = time.monotonic() + 20
    while shadows.counts(there.house.store, NEW) != {"scored": 2} and time.monotonic() < until:
        time.sleep(0.02)
    shadow.close()
    assert shadows.counts(there.house.store, NEW) == {"scored": 2}


def test_the_what_if_of_a_risk_is_no_back_door_to_a_release_that_is_off(there: RiskHouse) -> None:
    kept = there.predict()
    assert there.what_if(kept.key, HR=90).status_code == 200
    Releases.of(there.house).off(STEWARD, OLD)
    there.house.standings.look()
    with pytest.raises(UnusableInput, match="No release that takes this is live here"):  # which the web answers with 403
        there.what_if(kept.key, HR=90)
    assert there.page(kept.key).status_code == 200  # what was told stays to be read
