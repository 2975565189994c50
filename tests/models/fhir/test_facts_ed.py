"""What a bundle says at the door of an emergency department: arrival, reasons for visit, known diseases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fhir.facts_ed import ARRIVAL_MODES, MODE_OF_ARRIVAL
from models.fhir.reasons_ed import GROUPS, NCHS, SNOMED, facts_of, group_of
from models.read_fhir import Reading, read_bundle
from training.samples.ed_triage import ARRIVED, ICD10, LOW_RISK, NO_DISEASE, Visit, bundle

VISIT = replace(LOW_RISK, patient=None, reasons=[(ICD10, "S93.4")])


def read(visit: Visit) -> dict[str, float]:
    """Return what does not change of a visit."""
    return dict(read_bundle(bundle(visit)).record.static)


def changed(kind: str, **values: Any) -> Reading:
    """Read the visit with fields of its resources of one kind set."""
    content = bundle(VISIT)
    for entry in content["entry"]:
        if entry["resource"]["resourceType"] == kind:
            entry["resource"] |= values
    return read_bundle(content)


@pytest.mark.parametrize(("system", "code", "group"), [
    (NCHS, "1050", "reason_chest_pain"),
    (NCHS, "10500", "reason_chest_pain"),
    (NCHS, "1050.0", "reason_chest_pain"),
    (NCHS, "9999", "reason_other"),
    (ICD10, "R07.4", "reason_chest_pain"),
    (ICD10, "r074", "reason_chest_pain"),
    (ICD10, "M54.5", "reason_low_back"),
    (ICD10, "M54.9", "reason_back"),
    (ICD10, "S93.4", "reason_sprain"),
    (ICD10, "S93.0", "reason_fracture"),
    (SNOMED, "29857009", "reason_chest_pain"),
    (SNOMED, "999999999", None),
    (NCHS, "chest", None),
    ("http://example.org/own", "1050", None),
])
def test_a_reason_for_visit_belongs_to_one_group_by_the_longest_beginning(system: str, code: str, group: str | None) -> None:
    assert group_of(system, code) == group


def test_no_code_of_the_tables_belongs_to_two_groups() -> None:
    for kind in ("icd10", "snomed"):
        codes = [code for row in GROUPS.values() for code in row[kind]]
        assert len(codes) == len(set(codes))
    numbers: list[int] = []
    for row in GROUPS.values():
        for stated in row["rfv"]:
            low, _, high = stated.partition("-")
            numbers += range(int(low), int(high or low) + 1)
    assert len(numbers) == len(set(numbers))


@given(st.text(max_size=12))
def test_any_text_for_a_code_is_a_group_or_unknown(code: str) -> None:
    for system in (NCHS, ICD10, SNOMED):
        assert group_of(system, code) in {None, *GROUPS}


def test_the_first_reason_is_the_main_one_and_the_others_are_further_ones() -> None:
    found = read(replace(VISIT, reasons=[(SNOMED, "49727002"), (ICD10, "R50.9"), (SNOMED, "49727002")]))
    assert (found["reason_cough"], found["reason_fever"], found["reason_rash"]) == (2.0, 1.0, 0.0)
    assert found["reasons_for_visit"] == 3.0


def test_a_reason_in_an_unknown_system_is_not_counted_and_takes_no_other_ones_place() -> None:
    found = read(replace(VISIT, reasons=[("http://example.org/own", "x"), (SNOMED, "49727002")]))
    assert (found["reason_cough"], found["reasons_for_visit"]) == (1.0, 1.0)


def test_nothing_is_known_of_reasons_when_none_is_understood() -> None:
    assert facts_of([None, None]) == {}
    assert "reasons_for_visit" not in read(replace(VISIT, reasons=[("http://example.org/own", "x")]))


def test_an_injury_is_known_from_its_reason_or_from_a_mark_that_names_none() -> None:
    assert read(VISIT)["injury"] == 1.0
    assert read(replace(VISIT, reasons=[(SNOMED, "161891005")]))["injury"] == 0.0
    marked = read(replace(VISIT, reasons=[(SNOMED, "161891005"), (SNOMED, "417163006")]))
    assert (marked["injury"], marked["reasons_for_visit"], marked["reason_back"]) == (1.0, 1.0, 2.0)


def test_hour_and_weekday_are_those_of_the_clock_at_the_door() -> None:
    evening = datetime(2026, 7, 5, 23, 30, tzinfo=ARRIVED.tzinfo)  # a Sunday
    found = read(replace(VISIT, arrived=evening))
    assert (found["arrival_hour"], found["arrival_weekday"]) == (23.0, 6.0)


@pytest.mark.parametrize(("mode", "by_ambulance"), [("A", 1.0), ("H", 1.0), ("C", 0.0), ("F", 0.0), ("U", None), ("", None)])
def test_arrival_by_ambulance_is_read_from_the_mode_of_arrival(mode: str, by_ambulance: float | None) -> None:
    assert read(replace(VISIT, mode=mode)).get("arrived_by_ambulance") == by_ambulance


def test_a_mode_of_arrival_of_another_type_is_as_if_it_were_not_there() -> None:
    for value in ("A", {"system": ARRIVAL_MODES, "code": 7}, None):
        reading = changed("Encounter", extension=[{"url": MODE_OF_ARRIVAL, "valueCoding": value}, 3])
        assert "arrived_by_ambulance" not in reading.record.static


@pytest.mark.parametrize(("earlier", "seen"), [(None, None), ([30.0], 0.0), ([2.9], 1.0), ([30.0, 1.0], 1.0)])
def test_a_return_within_72_h_is_known_only_when_earlier_visits_are_sent(earlier: list[float] | None, seen: float | None) -> None:
    assert read(replace(VISIT, earlier=earlier)).get("seen_within_72h") == seen


def test_known_diseases_are_counted_and_named_with_what_they_were_taken_from() -> None:
    reading = read_bundle(bundle(replace(VISIT, diseases=[(ICD10, "I50.1"), (ICD10, "I10"), (ICD10, "E11.9"), (ICD10, "Z00.0")])))
    found = reading.record.static
    assert (found["known_heart_failure"], found["known_copd"], found["chronic_conditions"]) == (1.0, 0.0, 3.0)
    assert [source for _, source in reading.references["known_heart_failure"]] == ["Condition/c1-0"]


def test_that_there_is_no_disease_must_be_said() -> None:
    assert read(replace(VISIT, diseases=[NO_DISEASE]))["chronic_conditions"] == 0.0
    assert "chronic_conditions" not in read(replace(VISIT, diseases=None))
    assert "chronic_conditions" not in read(replace(VISIT, diseases=[("http://example.org/own", "x")]))


@pytest.mark.parametrize(("field", "code", "counted"), [
    ("verificationStatus", "refuted", False), ("verificationStatus", "confirmed", True), ("clinicalStatus", "resolved", False),
])
def test_a_disease_that_is_over_or_refuted_does_not_count(field: str, code: str, counted: bool) -> None:
    content = bundle(replace(VISIT, diseases=[(ICD10, "I10"), NO_DISEASE]))
    condition = next(e["resource"] for e in content["entry"] if e["resource"]["resourceType"] == "Condition")
    condition[field] = {"coding": [{"code": code}]}
    assert read_bundle(content).record.static["chronic_conditions"] == float(counted)


def test_a_diagnosis_made_during_the_visit_is_not_known_at_the_door() -> None:
    content = bundle(replace(VISIT, diseases=[(ICD10, "I50.1"), NO_DISEASE]))
    condition = next(e["resource"] for e in content["entry"] if e["resource"]["resourceType"] == "Condition")
    condition["recordedDate"] = (ARRIVED + timedelta(hours=3)).astimezone(UTC).isoformat()
    moment = ARRIVED + timedelta(hours=6)
    assert read_bundle(content, moment=moment).record.static["known_heart_failure"] == 0.0
