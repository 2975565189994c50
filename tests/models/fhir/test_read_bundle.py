"""What a hospital has on one person becomes a record as it was known at a moment, and what was left out is said."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.codes import DESCRIBED
from models.errors import UnusableInput
from models.fhir.collect import collect
from models.fhir.facts import FACTS
from models.fhir.known import known_at
from models.model import Model
from models.prediction import Prediction, Refusal
from models.read_fhir import Reading, read_bundle
from models.shelf import RELEASED, release_folders
from tests.make import data_root, icu_bundle, needs_data
from tests.models.fhir.make import HEIGHT, bundle, encounter, observation, patient

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def why(found: Reading) -> dict[tuple[str, str], int]:
    return {(one.what, one.why): one.count for one in found.ignored}


def minutes(found: Reading, code: str = "Creatinine") -> list[float]:
    return found.record.up_to(10**7).series(code).minutes.tolist()


def test_every_value_knows_the_observation_it_came_from():
    found = read_bundle(bundle(patient(), encounter(), observation("a"), observation("b", at="2026-03-01T09:00:00Z")))
    assert found.references["Creatinine"] == ((60.0, "Observation/b"), (120.0, "Observation/a"))
    assert found.references["male"] == ((0.0, "Patient/p1"),)
    assert (found.subject, found.encounter, found.patient) == ("Patient/p1", "Encounter/e1", patient())


def test_a_value_sent_by_two_feeds_is_counted_once():
    twice = observation("other", value=88.4, unit="umol/L", at="2026-03-01T11:00:00+01:00")
    once = observation("a", value=1.0)
    exact = observation("b", value=1.0, at="2026-03-01T11:00:00+01:00")
    found = read_bundle(bundle(encounter(), once, exact))
    assert (len(found.record), why(found)) == (1, {("Creatinine", "duplicate"): 1})
    assert len(read_bundle(bundle(encounter(), once, twice)).record) == 2  # 88.4 umol/L is 0.99995 mg/dL: another figure


def test_a_value_beyond_a_limit_is_used_and_remarked():
    found = read_bundle(bundle(encounter(), observation(valueQuantity={"value": 0.3, "unit": "mg/dL", "comparator": "<"})))
    assert (found.record.up_to(999).series("Creatinine").values.tolist(), why(found)) == ([0.3], {("Creatinine", "comparator"): 1})


def test_two_values_at_one_time_are_both_kept():
    assert len(read_bundle(bundle(encounter(), observation("a"), observation("b", value=2.0))).record) == 2


def test_what_was_measured_or_issued_after_the_moment_is_not_known():
    sent = bundle(
        encounter(), observation("a"), observation("b", at="2026-03-01T12:00:01Z"),
        observation("c", value=3.0, issued="2026-03-01T15:00:00Z"),
    )
    found = read_bundle(sent, moment=NOON)
    assert (minutes(found), why(found)) == ([120.0], {("Creatinine", "after_moment"): 2})
    assert len(read_bundle(sent).record) == 3


def test_after_its_end_nothing_of_an_encounter_is_known():
    sent = bundle(encounter(end="2026-03-01T11:00:00Z"), observation("a"), observation("b", at="2026-03-02T09:00:00Z"))
    assert minutes(read_bundle(sent)) == [120.0]


def test_a_moment_after_the_end_shows_no_more_than_the_end():
    sent = bundle(encounter(end="2026-03-01T11:00:00Z"), observation("a"), observation("b", at="2026-03-02T09:00:00Z"))
    assert minutes(read_bundle(sent, moment=datetime(2026, 3, 3, tzinfo=UTC))) == [120.0]


def test_a_moment_without_zone_is_refused():
    with pytest.raises(UnusableInput, match="zone"):
        read_bundle(bundle(observation()), moment=datetime(2026, 3, 1))


def test_a_day_without_clock_time_counts_at_its_end():
    sent = bundle(encounter(), observation(at="2026-03-01"))
    assert minutes(read_bundle(sent)) == [pytest.approx(960, abs=0.1)]
    assert minutes(read_bundle(sent, moment=NOON)) == []


@given(st.datetimes(datetime(2026, 3, 1, 9), datetime(2026, 3, 20)), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_later_resources_change_nothing_that_was_known(at: datetime, hours: int):
    moment = datetime(2026, 3, 1, 8, tzinfo=UTC) + timedelta(hours=hours)
    later = (moment + (at - datetime(2026, 3, 1, 8))).isoformat()
    early = icu_bundle(hours=6)
    more = deepcopy(early)
    more["entry"] += [{"resource": observation("x", value=9.0, at=later)}, {"resource": {
        "resourceType": "Condition", "subject": {"reference": "Patient/p1"}, "recordedDate": later}}]
    one, two = (read_bundle(each, moment=moment) for each in (early, more))
    assert dict(one.record.static) == pytest.approx(dict(two.record.static), nan_ok=True)
    for code in ("Creatinine", "HR", "GCS"):
        assert one.record.up_to(9999).series(code).values.tolist() == two.record.up_to(9999).series(code).values.tolist()


def test_resources_in_any_order_give_the_same_record():
    sent = icu_bundle(hours=6)
    turned = {**sent, "entry": sent["entry"][::-1]}
    one, two = (read_bundle(each) for each in (sent, turned))
    assert one.references == two.references
    assert dict(one.record.static) == pytest.approx(dict(two.record.static), nan_ok=True)


def test_the_height_nearest_to_admission_counts_even_from_before():
    heights = [observation(f"h{i}", code=HEIGHT, value=value, unit="cm", at=at)
               for i, (value, at) in enumerate([(150, "2020-01-01"), (170, "2026-02-28T09:00:00Z"), (180, "2026-03-09T09:00:00Z")])]
    found = read_bundle(bundle(encounter(), *heights))
    assert (found.record.static["height_cm"], found.references["height_cm"]) == (170.0, ((0.0, "Observation/h1"),))


def test_of_two_heights_at_one_time_the_order_of_sending_picks_none():
    two = [observation(f"h{value}", code=HEIGHT, value=value, unit="cm") for value in (180, 170)]
    assert {read_bundle(bundle(encounter(), *rows)).record.static["height_cm"] for rows in (two, two[::-1])} == {170.0}


def test_without_an_encounter_the_age_is_that_of_the_moment():
    sent = bundle(patient(), observation(at="2006-03-03T09:00:00Z"), observation("o2", at="2026-03-03T09:00:00Z"))
    assert read_bundle(sent).record.static["age_years"] == 70.0


def test_a_patient_alone_has_a_sex_and_no_age():
    static = read_bundle(patient()).record.static
    assert static["male"] == 0.0
    assert static["age_years"] != static["age_years"]


def test_a_patient_alone_has_an_age_at_the_moment_asked_for():
    assert read_bundle(patient(), moment=NOON).record.static["age_years"] == 69.0


@pytest.mark.parametrize(
    "other",
    [
        patient("secret"), observation("x", subject={"reference": "Patient/secret"}),
        {"resourceType": "Condition", "subject": {"reference": "Patient/secret"}},
        {"resourceType": "AllergyIntolerance", "patient": {"reference": "https://ehr.example/Patient/secret"}},
        {"resourceType": "Encounter", "subject": {"identifier": {"system": "urn:ins", "value": "secret"}}},
    ],
)
def test_what_is_about_somebody_else_is_refused_without_saying_who(other):
    with pytest.raises(UnusableInput, match="one patient") as error:
        read_bundle(bundle(patient(), observation(), other))
    assert error.value.code == "several_subjects"
    assert "secret" not in str(error.value)


def test_two_people_with_one_id_on_two_servers_are_two():
    sent = bundle(patient(), patient())
    for entry, home in zip(sent["entry"], "ab", strict=True):
        entry["fullUrl"] = f"https://{home}.example/fhir/Patient/p1"
    with pytest.raises(UnusableInput, match="one patient"):
        read_bundle(sent)


def test_a_patient_known_by_an_identifier_is_the_same():
    known = patient(identifier=[{"system": "urn:ipp", "value": "12"}])
    sent = bundle(known, encounter(), observation(subject={"identifier": {"system": "urn:ipp", "value": "12"}}))
    assert len(read_bundle(sent).record) == 1


def test_what_is_measured_on_a_device_is_not_the_patients():
    found = read_bundle(bundle(patient(), observation(subject={"reference": "Device/d"})))
    assert (len(found.record), why(found)) == (0, {("Observation", "subject_not_patient"): 1})


def test_null_is_taken_for_absent():
    nulls = dict.fromkeys(("component", "meta", "identifier", "issued", "dataAbsentReason", "valueString", "contained"))
    sent = bundle({**patient(), "deceasedBoolean": None}, encounter(location=None), {**observation(), **nulls}, None)
    assert len(read_bundle(sent).record) == 1


def test_references_inside_a_transaction_are_followed():
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:p", "resource": patient()},
        {"fullUrl": "urn:uuid:e", "resource": encounter(subject={"reference": "urn:uuid:p"})},
        {"fullUrl": "urn:uuid:o", "resource": observation(subject={"reference": "urn:uuid:p"})},
    ]}
    found = read_bundle(sent, encounter="urn:uuid:e")
    assert (found.subject, found.encounter, len(found.record)) == ("Patient/p1", "Encounter/e1", 1)


def test_unreadable_values_cost_themselves_and_not_the_record():
    sent = bundle(encounter(), observation("a"), observation("b", unit="kg"), observation("c", at="yesterday"),
                  observation("d", status="preliminary"), observation("e", valueQuantity=None, valueString="1,5 mg/dL"))
    assert why(read_bundle(sent)) == {
        ("Creatinine", "unknown_unit"): 1, ("Creatinine", "bad_time"): 1, ("Creatinine", "preliminary"): 1,
        ("Creatinine", "decimal_comma"): 1,
    }


def test_what_was_left_out_never_says_whose_or_what():
    name = "Martin-Dupont"
    sent = bundle(patient(), encounter(), observation(valueQuantity={"value": 1, "unit": name}, status="final"),
                  observation("b", status=name), observation("c", at=name))
    assert name not in repr(read_bundle(sent))


def models() -> list[Model]:
    folders = [one for one in release_folders(RELEASED) if json.loads((one / "manifest.json").read_text("utf-8"))["task"] == "risk"]
    return [Model(folder) for folder in folders]


@needs_data
def test_every_published_example_gets_a_prediction_or_a_refusal_from_every_risk_model():
    shelf = models()
    paths = sorted((data_root() / "fhir").glob("*_*/*.json"))
    assert len(paths) >= 36
    results = 0
    for path in paths:
        found = read_bundle(json.loads(path.read_text("utf-8")))
        for model in shelf:
            result = model.predict(found.record)
            results += 1
            assert isinstance(result, Prediction | Refusal), path.name
            if isinstance(result, Refusal):
                assert result.message, path.name
                assert result.advice, path.name
    assert results == len(paths) * len(shelf)


@needs_data
def test_a_synthetic_persons_last_visit_is_found_with_what_was_measured_in_it():
    for path in (data_root() / "fhir/synthea_r4").glob("*.json"):
        found = read_bundle(json.loads(path.read_text("utf-8")))
        assert found.stay, path.name
        assert 18 <= found.record.static["age_years"] <= 100, path.name
        assert found.subject.startswith("Patient/")
        usual = {"before_start", "earlier_encounter", "other_encounter", "after_moment"}
        assert {one.why for one in found.ignored} <= usual, path.name


KEYS = ("resourceType", "status", "code", "coding", "system", "value", "valueQuantity", "valueString", "component", "entry",
        "subject", "reference", "effectiveDateTime", "effectivePeriod", "period", "start", "end", "birthDate", "resource",
        "identifier", "meta", "versionId", "contained", "fullUrl", "partOf", "request", "method", "url", "issued", "type")
WORDS = ("Bundle", "Observation", "Encounter", "Patient", "final", "http://loinc.org", "2160-0", "mg/dL", "DELETE", "1,5",
         "2026-03-01T10:00:00Z", "2026-03-01", "Patient/p1", "Encounter/e1", "urn:uuid:1", "9" * 20, "Martin-Dupont")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
STEPS = st.lists(st.integers(0, 40), min_size=1, max_size=7)


def changed(value: Any, steps: list[int], junk: Any) -> Any:
    """Put junk somewhere inside: each step picks one of the children."""
    if not steps or not isinstance(value, dict | list) or not value:
        return junk
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[steps[0] % len(keys)]
    value[key] = changed(value[key], steps[1:], junk)
    return value


def whole() -> dict[str, Any]:
    whose = {"subject": {"reference": "Patient/p1"}}
    icd = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "I50.0"}]}
    warfarin = {"coding": [{"system": "http://www.whocc.no/atc", "code": "B01AA03"}], "text": "warfarin"}
    gene = {"coding": [{"system": "http://loinc.org", "code": "84413-4"}]}
    star = {"code": {"coding": [{"system": "http://loinc.org", "code": "48018-6"}]}, "valueCodeableConcept": {"text": "CYP2C9"}}
    return bundle(
        patient(), encounter(reasonCode=[icd], hospitalization={"admitSource": icd}, type=[icd]),
        observation("h", code=HEIGHT, value=170, unit="cm", identifier=[{"system": "urn:x", "value": "1"}]),
        observation(meta={"versionId": "1"}), observation(issued="2026-03-01T10:00:00Z"),
        {**observation("g", valueQuantity=None, valueCodeableConcept={"text": "*1/*2"}, component=[star]), "code": gene},
        {"resourceType": "Condition", "code": icd, "recordedDate": "2026-03-01", "clinicalStatus": icd, **whose},
        {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "medicationCodeableConcept": warfarin,
         "authoredOn": "2026-03-01", "dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 5}}]}], **whose},
        {"resourceType": "Procedure", "status": "completed", "code": icd, "performedDateTime": "2026-03-01", **whose},
    )


@settings(max_examples=200, deadline=None)
@given(STEPS, JSON, st.sampled_from(["", "Encounter/e1", None]), st.sampled_from([None, NOON]))
def test_hostile_json_gives_a_reading_or_unusable_input_and_no_name(steps, junk, asked, moment):
    said = ""
    try:
        found = read_bundle(changed(whole(), steps, junk), encounter=asked, moment=moment)
        said = repr(found)
    except UnusableInput as error:
        said = str(error)
    assert "Martin" not in said


def test_every_fact_is_described_in_a_table():
    assert [name for name in read_bundle(whole()).record.static if name not in DESCRIBED] == []


def test_no_two_areas_state_one_fact():
    sent = collect(whole())
    view = known_at(sent, NOON, UTC, NOON, sent.of("Patient")[0], None, sent.ignored)
    names = [name for area in FACTS for name in area(view)]
    assert sorted(names) == sorted(set(names))
