"""The board: who is present, what they will need together, and attendances by whole months."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.department import score_department
from models.shelf import RELEASED, Shelf
from service.access.caller import Grant
from service.review.risk import board as boards
from service.review.risk.board import board, whole_months
from service.scoring import Scoring
from service.settings import Settings
from service.store.risks import Present
from tests.make import ROOT
from tests.service.house import FHIR
from tests.service.review.risk.risk_house import CLINICIAN, RiskHouse, risk_house

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def emergency(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The releases of an emergency department, and its board."""
    folder = tmp_path_factory.mktemp("emergency")
    (folder / "released").mkdir()
    for name in ("ed_triage-1.0.0", "ed_demand-1.0.0"):
        (folder / "released" / name).symlink_to(RELEASED / name)
    scoring = Scoring(Settings(released=folder / "released"))
    scoring._shelf = Shelf(folder / "released")
    with risk_house(folder, scoring) as opened:
        yield opened
    scoring.stop()


def come(at: RiskHouse, sample: str, patient: str, department: str = "Urgences", **encounter: Any) -> None:
    """Let somebody come: a sample as another person."""
    told = json.loads((ROOT / "data-samples/ed_triage" / sample).read_text("utf-8").replace("Patient/p1", f"Patient/{patient}")
                      .replace('"id":"p1"', f'"id":"{patient}"'))
    for entry in told["entry"]:
        one = entry["resource"]
        if one["resourceType"] == "Patient":
            one["identifier"] = [{"system": "urn:oid:1.2.3", "value": patient}]
            one["name"] = [{"family": f"ESSAI {patient}"}]
        if one["resourceType"] == "Encounter":
            one |= {"location": [{"location": {"display": department}}], **encounter}
    answer = at.client.post("/fhir/$predict?model=ed_triage", content=json.dumps(told), headers=FHIR)
    assert answer.status_code == 200, answer.text


def test_those_present_are_listed_and_summed_as_the_law_says(emergency: RiskHouse) -> None:
    come(emergency, "high-risk.json", "a1")
    come(emergency, "low-risk.json", "a2")
    come(emergency, "danger-zone.json", "a3")
    come(emergency, "low-risk.json", "a4", "Pédiatrie")
    come(emergency, "low-risk.json", "a5", status="finished")
    page = emergency.client.get("/review/department").text
    for name, here in (("a1", True), ("a2", True), ("a3", True), ("a4", True), ("a5", False)):
        assert (f"ESSAI {name}" in page) is here
    assert page.index("ESSAI a3") < page.index("ESSAI a1") < page.index("ESSAI a2")  # declined, then by the critical risk
    assert "1 of 4 present could not be scored" in page
    kept = [one for one in emergency.kept() if one.status == "scored" and "a5" not in one.subject]
    chances = [{f["name"]: f["value"] for f in one.answer["findings"]} for one in kept]
    law = score_department(emergency.house.scoring.shelf.get("ed_demand"), chances)
    for outlook in law.outlooks:
        assert f'<span class="big">{outlook.expected:.1f}</span>' in page
    assert "needs 13 whole months" in page
    assert emergency.looked()[-1][:2] == ("view", "department")


def test_a_department_of_others_is_none(emergency: RiskHouse) -> None:
    come(emergency, "high-risk.json", "b1", "Nord")
    emergency.who.append(replace(CLINICIAN, grants=(Grant(frozenset({"clinician"}), departments=frozenset({"Sud"})),)))
    try:
        assert "ESSAI b1" not in emergency.client.get("/review/department").text
        assert emergency.client.get("/review/department?department=Nord").status_code == 404
    finally:
        emergency.who.pop()
    assert "ESSAI b1" in emergency.client.get("/review/department?department=Nord").text


def test_who_came_again_with_new_values_counts_once(emergency: RiskHouse) -> None:
    come(emergency, "low-risk.json", "c1", "Est")
    come(emergency, "high-risk.json", "c1", "Est")
    page = emergency.client.get("/review/department?department=Est").text
    assert page.count("ESSAI c1") == 1
    assert "high risk" in page


def present(number: int, share: float) -> Present:
    findings = [{"name": name, "kind": "probability", "value": share, "risk": ""} for name in ("multi_resource", "critical")]
    return Present(f"k{number}", f"p{number}", "", "", "ed_triage-1.0.0", "scored", "", {}, findings, None, float(number), None)


def test_bars_are_the_law_and_bands_lie_inside_one_another(emergency: RiskHouse) -> None:
    made = board(emergency.house.scoring.shelf, [present(place, 0.5) for place in range(10)], [], NOW)
    view = made.outlooks[0]
    assert view.outlook.expected == pytest.approx(5.0)
    assert sum(bar.share for bar in view.bars) == pytest.approx(1.0, abs=1e-3)
    assert {bar.number for bar in view.bars if bar.band == 50} <= {bar.number for bar in view.bars if bar.band}
    assert max(bar.height for bar in view.bars) == pytest.approx(100)
    assert all(0 <= bar.left and bar.left + bar.width <= 100.001 for bar in view.bars)


def test_whole_months_leave_out_the_first_and_the_one_under_way() -> None:
    visits = [(NOW - timedelta(days=day)).timestamp() for day in range(100)]
    counts, days, month = whole_months(visits, NOW)
    assert counts == [30.0, 31.0]  # September and October of August to November
    assert days == [30, 31, 30]
    assert month == 11
    assert whole_months([], NOW) == ([], [30], 11)


def test_a_forecast_needs_thirteen_whole_months(emergency: RiskHouse) -> None:
    demand = emergency.house.scoring.shelf.get("ed_demand")
    visits = [(NOW - timedelta(hours=hours)).timestamp() for hours in range(0, 24 * 470, 3)]
    counts, days, month = whole_months(visits, NOW)
    assert len(counts) >= 13
    made = boards._forecast(demand, counts, days, month)
    assert made is not None
    assert made.median == pytest.approx(8 * 30, rel=0.05)
    assert boards._forecast(demand, counts[-12:], days[-13:], month) is None


def test_nobody_present_is_said(tmp_path: Path, risk_scoring: Scoring) -> None:
    with risk_house(tmp_path, risk_scoring) as empty:
        assert "Nobody is present" in empty.client.get("/review/department").text
