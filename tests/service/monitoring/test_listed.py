"""Alerts of remote monitoring stand in the worklist with their page while they stand, and are routine once they are over."""

from __future__ import annotations

from pathlib import Path

from service.persons_keys import keys_of_fhir
from service.review.risk.alert import alert_view
from service.review.risk.shown import risk_view
from service.store import entries, risks
from service.store.review_tables import Risk
from tests.service.monitoring.home import BEGAN, CALM, HIGH, REACHED, Home, bundle, heart_rate, home


def listed(at: Home) -> Home:
    at.room.house.settings.__dict__["review"] = True  # frozen: the page itself is not needed here
    return at


def alert_risk(at: Home) -> Risk:
    [alert] = at.alerts()
    kept = risks.by_key(at.store, risks.key_of_alert(at.store, alert.episode))
    assert kept is not None
    return kept


def test_an_alert_is_a_line_and_a_risk_with_the_measurements_it_rests_on(tmp_path: Path) -> None:
    with home(tmp_path) as opened:
        at = listed(opened)
        for minute, rate in ((0, CALM), (15, CALM), (30, HIGH)):
            at.hear(minute, rate)
        [alert] = at.alerts()
        line = entries.by_target(at.store, "alert", str(alert.id))
        assert line is not None
        assert (line.urgency, line.open, line.detail["alert"]["kind"]) == (entries.CRITICAL, True, "risk")
        assert line.detail["page"] == risks.key_of_alert(at.store, alert.episode)
        kept = alert_risk(at)
        assert (kept.status, kept.source) == ("scored", f"monitoring:{alert.id}")
        assert risks.alert_of(at.store, kept) == alert
        view = risk_view(kept, at.shelf, None)
        shown = alert_view(at.store, alert, kept, view, BEGAN.astimezone().replace(hour=12), "en")
        [curve] = shown.measured
        assert [dot.value for dot in curve.curve.dots] == [CALM, CALM, HIGH]
        assert len(curve.curve.spans) == 1


def test_whoever_came_with_a_patient_is_named(tmp_path: Path) -> None:
    with home(tmp_path) as opened:
        at = listed(opened)
        patient = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1950-02-03",
                   "name": [{"family": "ESSAI", "given": ["Odette"]}], "identifier": [{"system": "urn:oid:1.2.3", "value": "IPP-5"}]}
        at.clock.minute = 30
        values = [heart_rate(minute, rate) for minute, rate in ((0, CALM), (15, CALM), (30, HIGH))]
        assert at.post(bundle(patient, *values), "").status_code == 200
        kept = alert_risk(at)
        assert kept.patient == {"name": "ESSAI", "given": "Odette", "birth_date": "19500203", "sex": "F", "id": "IPP-5"}
        assert kept.person == keys_of_fhir(at.store, at.house.site, patient, "Patient/p1")[0]
        line = entries.by_target(at.store, "alert", str(at.alerts()[0].id))
        assert line is not None
        assert line.patient_name == "essai odette"


def test_an_alert_that_is_over_is_routine(tmp_path: Path) -> None:
    with home(tmp_path) as opened:
        at = listed(opened)
        for minute, rate in ((0, CALM), (15, HIGH), (30, CALM), (45, CALM), (60, CALM)):
            at.hear(minute, rate)
        [alert] = at.alerts()
        assert alert.cleared_at is not None
        line = entries.by_target(at.store, "alert", str(alert.id))
        assert line is not None
        assert (line.urgency, line.detail["ended"], line.detail["alert"]["reason"]) == (entries.ROUTINE, True, "below")


def test_a_limit_that_was_reached_is_kept_as_the_refusal_it_is(tmp_path: Path) -> None:
    with home(tmp_path) as opened:
        at = listed(opened)
        for minute, rate in ((0, CALM), (15, CALM), (30, REACHED)):
            at.hear(minute, rate)
        kept = alert_risk(at)
        assert (kept.status, kept.value) == ("refused", None)
        assert risk_view(kept, at.shelf, None).prediction is None


def test_silence_is_a_line_without_a_result(tmp_path: Path) -> None:
    with home(tmp_path) as opened:
        at = listed(opened)
        at.hear(0, CALM)
        at.hear(15, CALM)
        at.clock.minute = 300
        at.room.step()
        [alert] = at.alerts()
        assert alert.kind == "no_data"
        kept = alert_risk(at)
        assert (kept.status, kept.reason, kept.answer) == ("refused", "no_data", {})
        view = risk_view(kept, at.shelf, None)
        assert view.result is None
        line = entries.by_target(at.store, "alert", str(alert.id))
        assert line is not None
        assert line.urgency == entries.HIGH


def test_without_the_page_nothing_is_listed(tmp_path: Path) -> None:
    with home(tmp_path) as at:
        for minute, rate in ((0, CALM), (15, CALM), (30, HIGH)):
            at.hear(minute, rate)
        [alert] = at.alerts()
        assert entries.by_target(at.store, "alert", str(alert.id)) is None
        assert risks.by_key(at.store, risks.key_of_alert(at.store, alert.episode)) is None
