"""The bench of CDS Hooks counts what was not answered, judges times only in a full run, and its kept figures reach their bars."""

from __future__ import annotations

from service.bench.hooks import P95_MS, P99_MS, RESULTS, SECONDS, Answered, rows_of
from service.bench.report import read
from service.cds_hooks.record_system import chart_of, fill

PATIENT = {"resourceType": "Patient", "id": "p1"}
OLD = {"resourceType": "Encounter", "id": "e1", "status": "finished", "period": {"start": "2026-01-01T08:00:00Z"}}
NOW = {"resourceType": "Encounter", "id": "e2", "status": "in-progress", "period": {"start": "2025-01-01T08:00:00Z"}}
RATE = {"resourceType": "Observation", "id": "o1", "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}}


def answered(ms: float, status: int = 200) -> Answered:
    return Answered("icu-mortality", ms, 1, status, 0.5)


def test_a_slow_tail_misses_its_bar_and_a_call_without_answer_too() -> None:
    rows = {row.name: row for row in rows_of([*[answered(50)] * 90, *[answered(900)] * 9, answered(1, 503)], per_s=20)}
    assert rows["95th percentile of it"].reached is False
    assert rows["99th percentile of it"].reached is False
    assert rows["calls without an answer of cards"].value == 1
    assert rows["calls without an answer of cards"].reached is False
    assert rows["median time to the cards"].value == 50


def test_a_trial_judges_no_times() -> None:
    rows = rows_of([answered(900)] * 10, per_s=20, timed=False)
    assert all(row.reached is not False for row in rows)


def test_no_answer_at_all_is_said() -> None:
    [row, *rest] = rows_of([answered(1, 0)] * 3, per_s=20)
    assert (row.value, row.reached, rest) == (3, False, [])


def test_the_figures_kept_are_of_a_full_run_and_reach_their_bars() -> None:
    rows, _ = read(RESULTS)
    bars = {row.name: row for row in rows if row.bar is not None}
    assert (bars["95th percentile of it"].bar, bars["99th percentile of it"].bar) == (P95_MS, P99_MS)
    assert all(row.reached for row in bars.values())
    assert f"of {SECONDS * 20:.0f}" in bars["calls without an answer of cards"].note


def test_a_chart_is_that_of_the_stay_under_way() -> None:
    assert chart_of([PATIENT, OLD, NOW]) == {"patientId": "p1", "encounterId": "e2"}
    assert chart_of([PATIENT, OLD]) == {"patientId": "p1", "encounterId": "e1"}
    assert chart_of([PATIENT]) == {"patientId": "p1"}


def test_templates_are_answered_as_a_client_does() -> None:
    templates = {"patient": "Patient/{{context.patientId}}", "stay": "Encounter/{{context.encounterId}}",
                 "rates": "Observation?patient={{context.patientId}}&code=http://loinc.org|8867-4,http://loinc.org|1-1",
                 "others": "Observation?patient={{context.patientId}}&code=http://loinc.org|1-1"}
    told = fill(templates, [PATIENT, RATE], {"patientId": "p1"})
    assert told["patient"] == PATIENT
    assert told["rates"]["entry"] == [{"resource": RATE}]
    assert told["others"] is None
    assert "stay" not in told
