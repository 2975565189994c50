"""Every form in which R4 lets a value come is read exactly, or left out with a reason that a program can act on."""

from datetime import UTC, datetime

import pytest

from models.codes import DESCRIBED
from models.fhir.mapping import NO_CODES
from models.fhir.measure import Measured, Unused, instant_of, measured_by
from tests.models.fhir.make import HEART_RATE, LOINC, UCUM, observation

SNOMED = "http://snomed.info/sct"
VENTILATED = {"coding": [{"system": SNOMED, "code": "40617009"}]}


def parts(**changes: object) -> list[Measured | Unused]:
    return list(measured_by(observation(**changes), NO_CODES))


def why(**changes: object) -> list[str]:
    return [one.why for one in parts(**changes) if isinstance(one, Unused)]


def value_of(**changes: object) -> list[float]:
    return [one.value for one in parts(**changes) if isinstance(one, Measured)]


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ({"value": 88.4, "unit": "µmol/l"}, 1.0), ({"value": 88.4, "unit": "UMOL/L"}, 1.0),
        ({"value": 88.4, "unit": "μmol / L"}, 1.0), ({"value": 1, "unit": "mg/dL{serum}"}, 1.0),
        ({"value": 1, "system": UCUM, "code": "mg/dL", "unit": "whatever"}, 1.0),
        ({"value": 1, "system": "urn:local", "code": "4711", "unit": "mg/dL"}, 1.0),
        ({"value": 1, "unit": "mg/100mL"}, 1.0), ({"value": 1, "unit": "mg%"}, 1.0),
    ],
)
def test_units_are_read_as_hospitals_spell_them(quantity, expected):
    assert value_of(valueQuantity=quantity) == [pytest.approx(expected, rel=2e-3)]


@pytest.mark.parametrize(
    ("quantity", "reason"),
    [
        ({"value": 1}, "no_unit"), ({"value": 1, "unit": "kg"}, "unknown_unit"),
        ({"value": 1, "system": UCUM, "code": "kg", "unit": "mg/dL"}, "unknown_unit"),
        ({"value": "1", "unit": "mg/dL"}, "bad_value"), ({"value": [1], "unit": "mg/dL"}, "bad_value"),
        ({"value": 1, "unit": "mg/dL" * 20}, "unknown_unit"), ({"value": 1e308, "unit": "mmol/L"}, "bad_value"),
        ({"value": 10**400, "unit": "mg/dL"}, "bad_value"), ({"unit": "mg/dL"}, "data_absent"), ({}, "data_absent"),
    ],
)
def test_a_quantity_that_cannot_be_read_says_why(quantity, reason):
    assert why(valueQuantity=quantity) == [reason]


def test_a_score_needs_no_unit():
    assert value_of(code="9269-2", valueQuantity={"value": 15}) == [15.0]
    assert value_of(code="9269-2", valueQuantity=None, valueInteger=15) == [15.0]


@pytest.mark.parametrize(
    ("said", "expected"), [("12.5 mg/dL", 12.5), (" 7 mg/dl", 7.0), ("-1mg/dL", -1.0), ("88.4 µmol/L", 1.0)]
)
def test_numerals_in_a_text_are_read(said, expected):
    assert value_of(valueQuantity=None, valueString=said) == [pytest.approx(expected, rel=2e-3)]


@pytest.mark.parametrize(
    ("said", "reason"),
    [("12,5 mg/dL", "decimal_comma"), ("1,200", "decimal_comma"), ("normal", "not_a_number"), ("1e5 mg/dL", "unknown_unit"),
     ("7", "no_unit"), ("", "not_a_number"), ("3 - 5 mg/dL", "unknown_unit"), ("1.2.3 mg/dL", "not_a_number")],
)
def test_a_text_that_could_mean_two_numbers_is_left_out(said, reason):
    assert why(valueQuantity=None, valueString=said) == [reason]


@pytest.mark.parametrize(
    "changes",
    [{"valueQuantity": {"value": 0.5, "unit": "mg/dL", "comparator": "<"}}, {"valueQuantity": None, "valueString": "<0.5 mg/dL"},
     {"valueQuantity": None, "valueString": "≤ 0.5 mg/dL"}],
)
def test_a_value_beyond_a_limit_is_the_limit_and_says_so(changes):
    assert parts(**changes) == [Measured("Creatinine", 0.5, True)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [((SNOMED, "373066001"), [1.0]), ((LOINC, "LA32-8"), [0.0]), (("urn:local", "maybe"), [])],
)
def test_yes_and_no_are_read_from_a_concept(answer, expected):
    said = {"coding": [{"system": answer[0], "code": answer[1]}]}
    one = observation(valueQuantity=None, valueCodeableConcept=said)
    found = list(measured_by({**one, "code": VENTILATED}, NO_CODES))
    assert [part.value for part in found if isinstance(part, Measured)] == expected
    assert [part.why for part in found if isinstance(part, Unused)] == ([] if expected else ["unknown_answer"])


def test_an_answer_means_the_number_that_the_table_says(monkeypatch):
    answers = {"answers": {"urn:severity|high": 3}}
    monkeypatch.setitem(DESCRIBED, "Creatinine", {**DESCRIBED["Creatinine"], **answers})
    said = {"coding": [{"system": "urn:severity", "code": "high"}]}
    assert value_of(valueQuantity=None, valueCodeableConcept=said) == [3.0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "preliminary"}, "preliminary"), ({"status": "registered"}, "registered"), ({"status": 7}, "no_status"),
        ({"status": "Mrs Martin"}, "no_status"), ({"valueQuantity": None}, "no_value"),
        ({"valueQuantity": None, "dataAbsentReason": {"text": "clotted"}}, "data_absent"),
        ({"dataAbsentReason": {"text": "clotted"}}, "data_absent"),
        ({"valueString": "1 mg/dL"}, "several_values"),
        ({"modifierExtension": [{"url": "urn:x"}]}, "modifier_extension"),
        ({"valueQuantity": None, "valueRatio": {}}, "value_type"), ({"focus": [{"reference": "Patient/unborn"}]}, "other_focus"),
        ({"valueQuantity": {"value": True, "unit": "mg/dL"}}, "bad_value"),
        ({"valueQuantity": None, "valueInteger": 1.5}, "bad_value"), ({"valueQuantity": None, "valueBoolean": 1}, "bad_value"),
        ({"valueQuantity": None, "valueString": " " * 10**6}, "not_a_number"),
        ({"code": "2160-0", "valueQuantity": None, "valueBoolean": True}, "unknown_unit"),
    ],
)
def test_what_does_not_stand_is_left_out_with_its_reason(changes, reason):
    assert why(**changes) == [reason]


def test_codes_nobody_asked_about_are_no_business_of_ours():
    assert parts(code="99999-9") == []


def test_two_codings_that_mean_two_things_are_ambiguous():
    both = {"coding": [{"system": LOINC, "code": "2160-0"}, {"system": LOINC, "code": HEART_RATE}]}
    assert [part.why for part in measured_by({**observation(), "code": both}, NO_CODES) if isinstance(part, Unused)] == [
        "ambiguous_code"
    ]


def test_urea_coded_as_urea_nitrogen_too_is_not_guessed():
    both = {"coding": [{"system": LOINC, "code": "3094-0"}, {"system": LOINC, "code": "3091-6"}]}
    found = list(measured_by({**observation(value=20.0), "code": both}, NO_CODES))
    assert [part.why for part in found if isinstance(part, Unused)] == ["ambiguous_code"]


def test_a_panel_gives_what_its_components_measure():
    pressures = [observation(code="8480-6", value=120, unit="mm[Hg]"), observation(code="8462-4", value=80, unit="mm[Hg]")]
    absent = {"code": {"coding": [{"system": LOINC, "code": "8478-0"}]}, "dataAbsentReason": {"text": "x"}}
    found = list(measured_by(observation(code="85354-9", valueQuantity=None, component=[*pressures, absent]), NO_CODES))
    assert found == [Measured("NISysABP", 120.0), Measured("NIDiasABP", 80.0), Unused("NIMAP", "data_absent")]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"effectiveDateTime": "2026-03-01T11:00:00+01:00"}, (10, 0)), ({"effectiveInstant": "2026-03-01T10:00:00.000Z"}, (10, 0)),
        ({"effectivePeriod": {"start": "2026-03-01T08:00:00Z", "end": "2026-03-01T10:00:00Z"}}, (10, 0)),
        ({"effectivePeriod": {"start": "2026-03-01T08:00:00Z"}}, (8, 0)), ({"effectiveDateTime": "2026-03-01"}, (23, 59)),
        ({"effectiveTiming": {"event": ["2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z"]}}, (9, 0)),
        ({"issued": "2026-03-01T12:00:00Z"}, (12, 0)),
    ],
)
def test_a_value_counts_from_when_it_was_surely_known(stated, expected):
    at = instant_of(stated, UTC)
    assert at is not None
    assert (at.astimezone(UTC).hour, at.minute) == expected


@pytest.mark.parametrize("stated", ["2026-03-01T10:00:00", "yesterday", 7, None, "2026-02-30", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_says_no_instant_is_none(stated):
    assert instant_of({"effectiveDateTime": stated}, UTC) is None


def test_leap_seconds_and_long_fractions_are_times():
    at = instant_of({"effectiveInstant": "2016-12-31T23:59:60.123456789Z"}, UTC)
    assert at is not None
    assert at.replace(microsecond=0) == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
