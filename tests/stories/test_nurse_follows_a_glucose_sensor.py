"""As a nurse of remote monitoring I am told once, and in time, when a glucose is about to fall, and when the sensor goes silent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from service.ehr import Ehr
from service.metrics import Metrics
from service.monitoring.routes import Monitoring
from service.scoring import Scoring
from service.settings import Settings
from tests.make import ROOT
from tests.service.house import TestClient

RELEASED = ROOT / "models" / "released"
NAME = "hypoglycaemia_60min"
NIGHT = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
PATIENT = "Patient/sensor-1"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"

pytestmark = pytest.mark.skipif(not any(RELEASED.glob(f"{NAME}-*")), reason=f"no release {NAME} is here")


class Ward:
    """A nurse's screen on what a glucose sensor sends every quarter of an hour, and the clock on the wall."""

    def __init__(self, client: TestClient, room: Monitoring) -> None:
        self.client, self.room, self.minute = client, room, 0.0
        room.clock = self.now

    def now(self) -> float:
        return (NIGHT + timedelta(minutes=self.minute)).timestamp()

    def reads(self, minute: float, glucose_mmol_l: float, **more: Any) -> None:
        """The sensor's gateway sends one reading, as the French guide for remote monitoring writes it."""
        self.minute = minute
        told = {
            "resourceType": "Observation", "id": f"cgm-{minute:g}", "status": "final",
            "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "105272-9"}]}, "subject": {"reference": PATIENT},
            "effectiveDateTime": (NIGHT + timedelta(minutes=minute)).isoformat(),
            "valueQuantity": {"value": glucose_mmol_l, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
        }
        answer = self.client.put(f"/fhir/Observation/{told['id']}", json={**told, **more},
                                 headers={"content-type": "application/fhir+json"})
        assert answer.status_code == 200, answer.text

    def flags(self, status: str = "active", language: str = "en") -> list[str]:
        """What the screen shows of the patient."""
        answer = self.client.get(f"/fhir/Flag?patient={PATIENT}&status={status}", headers={"accept-language": language})
        assert answer.status_code == 200, answer.text
        return [entry["resource"]["text"]["div"] for entry in answer.json().get("entry", [])]

    def waits(self, minutes: float) -> None:
        self.minute += minutes
        while self.room.step():
            pass


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    settings = Settings(released=RELEASED, store=tmp_path / "store", ehr=True)
    scoring = Scoring(settings)
    scoring.open()
    ehr = Ehr(settings, scoring, Metrics())
    ehr.house.open()
    room = next(one for one in ehr.rooms if isinstance(one, Monitoring))
    with TestClient(Starlette(routes=ehr.routes())) as client:
        yield Ward(client, room)
    ehr.house.close()
    scoring.stop()


def evening(ward: Ward, *, start: float = 0) -> float:
    """Three quiet hours around 8 mmol/L; returns the minute of the last reading."""
    for place in range(13):
        ward.reads(start + 15 * place, round(8 + 0.3 * math.sin(place), 1))
    return start + 180


def test_a_quiet_night_shows_nothing(ward: Ward) -> None:
    evening(ward)
    assert [] == ward.flags()


def test_a_fall_is_told_before_it_is_low_and_once(ward: Ward) -> None:
    last = evening(ward)
    told_at = None
    for place, glucose in enumerate((7.0, 6.2, 5.4, 4.7, 4.2, 4.0, 3.8, 3.6), start=1):
        ward.reads(last + 15 * place, glucose)
        if ward.flags() and told_at is None:
            told_at = glucose
    assert told_at is not None
    assert told_at > 3.9
    [flag] = ward.flags()
    assert "See to the patient" in flag
    [french] = ward.flags(language="fr")
    assert "Alert:" not in french


def test_after_sugar_the_flag_goes_when_it_has_stayed_away_for_a_while(ward: Ward) -> None:
    last = evening(ward)
    for place, glucose in enumerate((6.2, 5.0, 4.3, 4.1), start=1):
        ward.reads(last + 15 * place, glucose)
    assert 1 == len(ward.flags())
    for place, glucose in enumerate((5.5, 7.2, 8.5, 9.0, 9.2, 9.1, 9.0, 9.0, 8.9, 9.0), start=5):
        ward.reads(last + 15 * place, glucose)
    assert ([], 1) == (ward.flags(), len(ward.flags("inactive")))


def test_a_sensor_that_falls_silent_is_no_good_news(ward: Ward) -> None:
    last = evening(ward)
    for place, glucose in enumerate((6.2, 5.0, 4.3, 4.1), start=1):
        ward.reads(last + 15 * place, glucose)
    ward.waits(90)
    silence, alert = ward.flags()
    assert "no all-clear" in silence
    assert "See to the patient" in alert


def test_a_reading_that_was_not_this_patient_s_is_taken_back_with_its_alert(ward: Ward) -> None:
    last = evening(ward)
    for place, glucose in enumerate((7.9, 4.0), start=1):
        ward.reads(last + 15 * place, glucose)
    if not ward.flags():
        pytest.fail("a fall from 8 to 4 mmol/L in a quarter of an hour must be told")
    ward.reads(last + 30, 4.0, status="entered-in-error")
    assert [] == ward.flags()
