"""FHIR Bundles become Records in our units, or are refused without a word about the patient."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.codes import MEASURED
from models.errors import UnusableInput
from models.features import FEATURES
from models.read_fhir import read_fhir, record_of
from models.record import Record
from tests.make import icu_bundle

LOINC = "http://loinc.org"


def bundle(*observations: dict[str, Any], **encounter: Any) -> dict[str, Any]:
    whole = icu_bundle()
    kept = [e["resource"] for e in whole["entry"] if e["resource"]["resourceType"] != "Observation"]
    for resource in kept:
        if resource["resourceType"] == "Encounter":
            resource.update(encounter)
    return {**whole, "entry": [{"resource": one} for one in (*kept, *observations)]}


def observation(code: str = "2160-0", value: float = 1.0, unit: str = "mg/dL", **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": LOINC, "code": code}]}, "effectiveDateTime": "2026-03-01T10:00:00Z",
        "valueQuantity": {"value": value, "code": unit, "system": "http://unitsofmeasure.org"}, **changes,
    }


def values(record: Record, code: str) -> list[float]:
    return record.up_to(2880).series(code).values.tolist()


@pytest.mark.parametrize(
    ("code", "value", "unit", "ours", "expected"),
    [
        ("2160-0", 88.4, "umol/L", "Creatinine", 1.0), ("14682-9", 176.8, "µmol/L", "Creatinine", 2.0),
        ("22664-7", 10.0, "mmol/L", "BUN", 28.01), ("3094-0", 20.0, "mg/dL", "BUN", 20.0),
        ("3091-6", 60.0, "mg/dL", "BUN", 27.99), ("14749-6", 5.55, "mmol/L", "Glucose", 100.0),
        ("2345-7", 1.0, "g/L", "Glucose", 100.0), ("1975-2", 17.1, "umol/L", "Bilirubin", 1.0),
        ("32693-4", 18.0, "mg/dL", "Lactate", 2.0), ("8310-5", 98.6, "[degF]", "Temp", 37.0),
        ("2703-7", 13.33, "kPa", "PaO2", 100.0), ("1751-7", 35.0, "g/L", "Albumin", 3.5),
        ("3150-6", 40.0, "%", "FiO2", 0.4), ("2601-3", 1.0, "mmol/L", "Mg", 2.43),
        ("6598-7", 50.0, "ng/L", "TroponinT", 0.05),
        ("777-3", 150.0, "G/L", "Platelets", 150.0), ("4544-3", 0.4, "L/L", "HCT", 40.0),
    ],
)
def test_units_of_two_continents_come_out_in_ours(code, value, unit, ours, expected):
    assert values(record_of(bundle(observation(code, value, unit))), ours) == [pytest.approx(expected, rel=2e-3)]


def test_an_unknown_unit_is_refused_by_code_and_unit():
    with pytest.raises(UnusableInput, match=r"Creatinine .* 'kg'"):
        record_of(bundle(observation(unit="kg")))


def test_a_unit_that_is_free_text_is_not_repeated():
    with pytest.raises(UnusableInput) as error:
        record_of(bundle(observation(unit="Mrs Martin, room 12")))
    assert "Martin" not in str(error.value)


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled", "preliminary", "registered", None])
def test_only_observations_that_stand_are_counted(status):
    assert values(record_of(bundle(observation(status=status))), "Creatinine") == []


@pytest.mark.parametrize("status", ["final", "amended", "corrected"])
def test_corrected_observations_are_counted(status):
    assert values(record_of(bundle(observation(status=status))), "Creatinine") == [1.0]


def test_a_blood_pressure_panel_gives_both_pressures_at_one_time():
    parts = [observation("8480-6", 120, "mm[Hg]"), observation("8462-4", 80, "mm[Hg]")]
    panel = observation("85354-9", component=parts)
    del panel["valueQuantity"]
    record = record_of(bundle(panel))
    assert (values(record, "NISysABP"), values(record, "NIDiasABP")) == ([120.0], [80.0])


@pytest.mark.parametrize(
    "time",
    [
        {"effectiveDateTime": "2026-03-01T11:00:00+01:00"}, {"effectiveInstant": "2026-03-01T10:00:00.000Z"},
        {"effectivePeriod": {"start": "2026-03-01T08:00:00Z", "end": "2026-03-01T10:00:00Z"}},
        {"effectivePeriod": {"start": "2026-03-01T10:00:00Z"}},
    ],
)
def test_times_with_their_zone_count_from_admission(time):
    one = observation()
    del one["effectiveDateTime"]
    assert record_of(bundle({**one, **time})).up_to(2880).series("Creatinine").minutes.tolist() == [120.0]


@pytest.mark.parametrize("time", ["2026-02-30", "2026-03-01T10:00:00", "yesterday", 7, None])
def test_a_time_without_zone_is_refused(time):
    with pytest.raises(UnusableInput, match="zone"):
        record_of(bundle(observation(effectiveDateTime=time)))


def test_events_after_48_hours_are_not_seen_and_before_admission_not_kept():
    early, late = "2026-03-01T07:59:00Z", "2026-03-03T08:01:00Z"
    record = record_of(bundle(*(observation(effectiveDateTime=time) for time in (early, late))))
    assert values(record, "Creatinine") == []
    assert len(record) == 1


def test_adding_later_events_changes_no_feature():
    whole = icu_bundle(hours=48)
    longer = icu_bundle(hours=48)
    longer["entry"].append({"resource": observation(value=9.0, effectiveDateTime="2026-03-03T08:00:01Z")})
    a, b = (record_of(one).up_to(2880) for one in (whole, longer))
    for name in ("last", "highest", "mean", "count"):
        assert FEATURES[name](a, "Creatinine") == FEATURES[name](b, "Creatinine")


def test_age_and_sex_come_from_the_patient():
    static = record_of(icu_bundle(birth_date="1956-03-02")).static
    assert (static["age_years"], static["male"]) == (69.0, 0.0)


@pytest.mark.parametrize(("born", "age"), [("1956", 70.0), ("1956-05", 69.0)])
def test_a_birth_date_without_day_is_enough(born, age):
    assert record_of(icu_bundle(birth_date=born)).static["age_years"] == age


@pytest.mark.parametrize("born", ["56", "1956-13-01", "2027-01-01", "x", "1-1-1-1"])
def test_a_birth_date_that_cannot_be_is_refused(born):
    with pytest.raises(UnusableInput, match="birthDate"):
        record_of(icu_bundle(birth_date=born))


def test_the_kind_of_unit_and_the_height_are_read():
    system = "https://www.cdc.gov/nhsn/cdaportal/terminology/codesystem/hsloc.html"
    medical = {"coding": [{"system": system, "code": "1027-2"}]}
    found = record_of(bundle(observation("8302-2", 1.8, "m"), serviceType=medical))
    assert (found.static["icu_type"], found.static["height_cm"]) == (3.0, 180.0)


def test_ventilation_is_read_from_a_yes():
    yes = observation("40617009", valueBoolean=True)
    yes["code"]["coding"][0]["system"] = "http://snomed.info/sct"
    del yes["valueQuantity"]
    assert values(record_of(bundle(yes)), "MechVent") == [1.0]


def test_two_patients_are_refused_without_their_names():
    with pytest.raises(UnusableInput, match="one patient") as error:
        record_of(bundle(observation(), observation(subject={"reference": "Patient/secret"})))
    assert "secret" not in str(error.value)


def test_the_stay_in_the_unit_is_chosen_over_the_stay_in_hospital():
    outer = {"resourceType": "Encounter", "id": "e0", "status": "finished", "period": {"start": "2026-02-01T00:00:00Z"}}
    whole = bundle(observation(), partOf={"reference": "Encounter/e0"})
    whole["entry"].append({"resource": outer})
    assert values(record_of(whole), "Creatinine") == [1.0]


def test_two_stays_are_refused():
    other = {"resourceType": "Encounter", "id": "e9", "period": {"start": "2026-01-01T00:00:00Z"}}
    whole = bundle()
    whole["entry"].append({"resource": other})
    with pytest.raises(UnusableInput, match="one Encounter"):
        record_of(whole)


@pytest.mark.parametrize("value", [10**400, "1", None, [1]])
def test_a_value_that_is_no_number_is_refused(value):
    with pytest.raises(UnusableInput, match="finite number"):
        record_of(bundle(observation(value=value)))


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", '{"resourceType": "Bundle", "entry": NaN}', "[" * 200_000, b"\xff\xfe",
        '{"resourceType": "Patient"}',
    ],
)
def test_text_that_is_no_bundle_is_refused(text):
    with pytest.raises(UnusableInput):
        read_fhir(text)


def test_a_text_larger_than_any_stay_is_refused():
    with pytest.raises(UnusableInput, match="MiB"):
        read_fhir(" " * (32 * 2**20 + 1))


def test_too_many_resources_are_refused():
    with pytest.raises(UnusableInput, match="at most"):
        record_of({"resourceType": "Bundle", "type": "collection", "entry": [{}] * 50_001})


def test_every_code_of_the_table_takes_its_own_unit():
    for name, row in MEASURED.items():
        for code in row["meaning"]:
            one = observation(code, row["plausible"][1], row["unit"])
            one["code"]["coding"][0]["system"] = row["system"]
            assert len(record_of(bundle(one))) == 1, (name, code)


KEYS = (
    "resourceType", "status", "code", "coding", "system", "value", "valueQuantity", "component", "entry", "subject",
    "reference", "effectiveDateTime", "period", "start", "birthDate",
)
WORDS = ("Bundle", "Observation", "Encounter", "Patient", "final", LOINC, "2160-0", "mg/dL", "2026-03-01T10:00:00Z")
NUMBERS = st.integers() | st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
PLACES = ("resource", "code", "valueQuantity", "effectiveDateTime", "component", "subject", "status")


@settings(max_examples=120, deadline=None)
@given(JSON, st.sampled_from(PLACES))
def test_hostile_json_gives_a_record_or_unusable_input(junk, place):
    whole = deepcopy(bundle(observation()))
    if place == "resource":
        whole["entry"].append({"resource": junk})
    else:
        whole["entry"][-1]["resource"][place] = junk
    try:
        found = read_fhir(json.dumps(whole))
    except UnusableInput:
        return
    assert isinstance(found, Record)
