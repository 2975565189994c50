"""Resources are judged as the standard says: each fault names its element, good ones pass, and no value is repeated."""

import json
from copy import deepcopy
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.fhir import shapes
from service.fhir.judge import MAX_FAULTS, judge
from service.fhir.outcome import Fault, outcome, sound
from tests.make import data_root, needs_data

SAMPLES = data_root() / "interop/fhir-samples"
FR_CORE = data_root() / "interop/fr-core-2.2.0/package"
Json = dict[str, Any]

NAMED = {
    "bundle_dup_fullurl": "Bundle.entry[1].fullUrl", "bundle_no_request": "Bundle.entry[0].request",
    "device_type_string": "Device.type", "obs_bad_date": "Observation.effective", "obs_bad_status": "Observation.status",
    "obs_no_code": "Observation.code", "obs_ref_wrong_type": "Observation.subject.reference",
    "obs_string_number": "Observation.value.value", "obs_two_values": "Observation.value",
    "obs_unknown_field": "Observation.confidence", "obs_value_and_absent": "Observation.dataAbsentReason",
    "pat_bad_gender": "Patient.gender", "pat_ins_bad_key": "Patient.identifier[0].value",
    "pat_no_birthplace": "Patient.extension", "pat_no_ins": "Patient.identifier", "pat_no_official_name": "Patient.name",
    "pat_two_official": "Patient.identifier", "report_category_not_array": "DiagnosticReport.category",
    "report_issued_no_tz": "DiagnosticReport.issued", "risk_prob_gt_100": "RiskAssessment.prediction[0].probability",
    "risk_two_when": "RiskAssessment.prediction[0].when", "study_bad_uid": "ImagingStudy.series[0].uid",
}


def read(path: Any) -> Json:
    found: Json = json.loads(path.read_text("utf-8"))
    return found


def errors(resource: object) -> list[Fault]:
    return [fault for fault in judge(resource) if fault.severity == "error"]


def observation(**more: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}


@needs_data
@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_broken_sample_is_refused_naming_its_element(name):
    faults = errors(read(SAMPLES / f"bad/{name}.json"))
    assert {fault.expression for fault in faults} == {NAMED[name]}
    issue = outcome(faults)["issue"][0]
    assert (issue["severity"], issue["expression"]) == ("error", [NAMED[name]])
    assert judge(outcome(faults)) == []


@needs_data
def test_every_broken_sample_is_tried():
    assert {path.stem for path in (SAMPLES / "bad").glob("*.json")} == set(NAMED)


@needs_data
def test_good_samples_and_published_examples_raise_no_alarm():
    paths = [*SAMPLES.glob("ok/*.json"), *(data_root() / "fhir").glob("*_*/*.json"), *FR_CORE.glob("*.json")]
    alarms = {path.name: judge(read(path)) for path in paths if path.stem != "Patient-FRCorePatientExample"}
    assert len(alarms) >= 85
    assert {name: faults for name, faults in alarms.items() if faults} == {}


@needs_data
def test_the_published_french_patient_has_a_wrong_control_key_indeed():
    faults = judge(read(FR_CORE / "Patient-FRCorePatientExample.json"))
    assert [(fault.code, fault.expression) for fault in faults] == [("business-rule", "Patient.identifier[0].value")]


def test_without_a_fault_the_outcome_says_so():
    assert outcome([])["issue"][0]["severity"] == "information"


@pytest.mark.parametrize(
    ("more", "expression"),
    [
        ({"valueQuantity": {"value": 1, "code": "kg"}}, "Observation.value.code"),
        ({"valueQuantity": {"value": True}}, "Observation.value.value"),
        ({"valueQuantity": {"value": 1, "comparator": "~"}}, "Observation.value.comparator"),
        ({"valueInteger": 1.5}, "Observation.value"), ({"valueInteger": 2**31}, "Observation.value"),
        ({"valueBoolean": "true"}, "Observation.value"), ({"valueString": ""}, "Observation.value"),
        ({"valuePeriod": {"start": "2026-03-02", "end": "2026-03-01"}}, "Observation.value"),
        ({"valuePeriod": {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T10:00:00+01:00"}}, "Observation.value"),
        ({"valueRange": {"low": {"value": 2}, "high": {"value": 1}}}, "Observation.value"),
        ({"effectiveDateTime": "2026-02-29"}, "Observation.effective"),
        ({"effectiveDateTime": "2026-03-01T10:00:00"}, "Observation.effective"),
        ({"effectiveDateTime": "2026-03-01T10:00Z"}, "Observation.effective"),
        ({"effectiveInstant": "2026-03-01"}, "Observation.effective"), ({"id": "a b"}, "Observation.id"),
        ({"id": "x" * 65}, "Observation.id"), ({"category": []}, "Observation.category"),
        ({"category": [{}]}, "Observation.category[0]"), ({"category": [None]}, "Observation.category[0]"),
        ({"method": []}, "Observation.method"),
        ({"method": {"resourceType": "x"}}, "Observation.method.resourceType"),
        ({"status": ["final"]}, "Observation.status"),
        ({"referenceRange": [{"type": {"text": "x"}}]}, "Observation.referenceRange[0]"),
        ({"extension": [{"url": "urn:x"}]}, "Observation.extension[0]"),
        ({"extension": [{"url": "urn:x", "valueCode": "a", "extension": [{"url": "urn:y", "valueCode": "b"}]}]},
         "Observation.extension[0]"),
        ({"extension": [{"valueCode": "a"}]}, "Observation.extension[0].url"),
        ({"_code": {"id": "x"}}, "Observation._code"), ({"_status": []}, "Observation.status"),
        ({"_issued": {}}, "Observation.issued"), ({"_issued": "x"}, "Observation.issued"), ({"Martin!": 1}, "Observation"),
        ({"code": 5}, "Observation.code"), ({"category": ["x"]}, "Observation.category[0]"),
        ({"specimen": {"reference": "#s"}}, "Observation.specimen.reference"),
        ({"contained": [{"resourceType": "Specimen", "contained": []}]}, "Observation.contained[0].contained"),
        ({"contained": [{"resourceType": "Nothing"}]}, "Observation.contained[0].resourceType"),
        ({"hasMember": [{"reference": "Patient/1"}]}, "Observation.hasMember[0].reference"),
        ({"subject": {"reference": "https://a.example/fhir/Medication/1"}}, "Observation.subject.reference"),
        ({"subject": {"reference": "#d"}, "contained": [{"resourceType": "Medication", "id": "d"}]},
         "Observation.subject.reference"),
        ({"text": {"status": "generated", "div": "<p>x</p>"}}, "Observation.text.div"),
        ({"text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>1</script></div>'}},
         "Observation.text.div"),
        ({"identifier": [{"system": "urn:oid:1.02", "value": "x"}]}, "Observation.identifier[0].system"),
        ({"identifier": [{"system": "urn:ietf:rfc:3986", "value": "x"}]}, "Observation.identifier[0].value"),
        ({"code": {"coding": [{"system": "s", "code": "a"}]}, "valueString": "x",
          "component": [{"code": {"coding": [{"system": "s", "code": "a"}]}}]}, "Observation.value"),
        ({"note": [{"text": "x", "time": "2026"}, {"time": "2026"}]}, "Observation.note[1].text"),
    ],
)
def test_a_fault_in_an_observation_names_its_element(more, expression):
    assert expression in [fault.expression for fault in errors(observation(**more))]


@pytest.mark.parametrize(
    "more",
    [
        {"valueQuantity": {"value": -0.0, "unit": "x"}}, {"valueQuantity": {"value": 10**30}},
        {"effectiveDateTime": "2024-02-29"}, {"effectiveInstant": "2016-12-31T23:59:60Z"}, {"effectiveDateTime": "2026"},
        {"_status": {"extension": [{"url": "urn:x", "valueCode": "masked"}]}},
        {"subject": {"reference": "urn:uuid:0b4a3f2e-9c1d-4a57-8f0a-1f2e3d4c5b6a"}},
        {"subject": {"reference": "Patient?identifier=a|b"}},
        {"subject": {"reference": "#"}}, {"subject": {"display": "the patient"}}, {"valueString": "à\u00a0jeun"},
        {"device": {"reference": "#d"}, "contained": [{"resourceType": "Device", "id": "d"}]},
        {"valueSampledData": {"origin": {"value": 0}, "period": 10, "dimensions": 1, "data": "1 2 E"}},
    ],
)
def test_what_r4_allows_is_not_refused(more):
    assert judge(observation(**more)) == []


def test_a_required_element_may_be_an_extension_that_says_why_it_is_absent():
    absent = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    assert judge({"resourceType": "Observation", "code": {"text": "x"}, "_status": {"extension": [absent]}}) == []


def test_null_is_a_warning_and_counts_as_absent():
    assert [(fault.severity, fault.expression) for fault in judge(observation(issued=None))] == [("warning", "Observation.issued")]
    assert [fault.expression for fault in errors(observation(status=None))] == ["Observation.status"]


@pytest.mark.parametrize(
    "resource", [None, [], 1, "x", {}, {"resourceType": 1}, {"resourceType": "Quantity"}, {"resourceType": "Martin"}]
)
def test_what_is_no_resource_is_one_fault(resource):
    assert [fault.code for fault in judge(resource)] == ["structure"]


def test_a_reference_inside_a_bundle_is_followed_to_its_type():
    entry = {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Medication"}}
    other = {"fullUrl": "urn:uuid:2", "resource": observation(subject={"reference": "urn:uuid:1"})}
    faults = errors({"resourceType": "Bundle", "type": "collection", "entry": [entry, other]})
    assert [fault.expression for fault in faults] == ["Bundle.entry[1].resource.subject.reference"]


@pytest.mark.parametrize(
    ("bundle", "expression"),
    [
        ({"type": "collection", "total": 1}, "Bundle.total"), ({"type": "searchset", "entry": [{}]}, "Bundle.entry[0]"),
        ({"type": "collection", "entry": [{"search": {"mode": "match"}, "link": []}]}, "Bundle.entry[0].search"),
        ({"type": "document"}, "Bundle.entry[0].resource"), ({"type": "message"}, "Bundle.entry[0].resource"), ({}, "Bundle.type"),
        ({"type": "batch-response", "entry": [{"resource": {"resourceType": "Basic"}}]}, "Bundle.entry[0].response"),
    ],
)
def test_a_bundle_holds_what_its_type_says(bundle, expression):
    assert expression in [fault.expression for fault in errors({"resourceType": "Bundle", **bundle})]


def test_a_parameter_is_one_thing():
    both = {"name": "model", "valueCode": "x", "resource": {"resourceType": "Basic", "code": {"text": "x"}}}
    assert [fault.message[:5] for fault in errors({"resourceType": "Parameters", "parameter": [both]})] == ["inv-1"]


def test_a_wrong_ins_key_of_somebody_not_validated_is_a_warning():
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.8", "value": "123456789012244"}]}
    assert [fault.severity for fault in judge(patient)] == ["warning"]


def test_faults_are_listed_up_to_a_limit():
    faults = judge(observation(note=[{"x": 1}] * 500))
    assert (len(faults), faults[-1].code) == (MAX_FAULTS + 1, "too-costly")


def test_depth_without_end_is_a_fault():
    deep: Json = {"url": "urn:x", "valueCode": "y"}
    for _ in range(200):
        deep = {"url": "urn:x", "extension": [deep]}
    assert [fault.code for fault in judge(observation(extension=[deep]))] == ["too-costly"]


GOOD: tuple[Json, ...] = (
    observation(valueQuantity={"value": 1.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
                effectiveDateTime="2026-03-01T10:00:00Z", subject={"reference": "Patient/1"}, category=[{"text": "lab"}]),
    {"resourceType": "Patient", "gender": "female", "birthDate": "1979-03-28", "name": [{"use": "official", "family": "TEST"}],
     "identifier": [{"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.10", "value": "279035121518989"}]},
    {"resourceType": "RiskAssessment", "status": "preliminary", "subject": {"reference": "Patient/1"},
     "prediction": [{"probabilityDecimal": 0.3, "whenRange": {"low": {"value": 0}, "high": {"value": 48}}}]},
    {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:0b4a3f2e-9c1d-4a57-8f0a-1f2e3d4c5b6a", "resource": {"resourceType": "Device"},
         "request": {"method": "POST", "url": "Device"}}]},
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(("Zorglub-Martin", "", " x", "2026-02-30", "urn:x")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(("value", "extension", "url", "coding", "reference", "_status", "valueString", "resourceType", "entry")),
        inner, max_size=3),
    max_leaves=6,
)


def changed(value: Any, steps: list[int], junk: Any, name: str) -> Any:
    """Put junk in place of something inside, or beside it under another name."""
    if not steps or not isinstance(value, dict | list) or not value:
        return junk
    if len(steps) == 1 and isinstance(value, dict) and name:
        return {**value, name: junk}
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[steps[0] % len(keys)]
    value[key] = changed(value[key], steps[1:], junk, name)
    return value


def taken(resource: Json) -> bool:
    """Tell whether fhir.resources can read a resource."""
    kind = resource["resourceType"]
    try:
        getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind).model_validate(resource)
    except ValueError:
        return False
    return True


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(GOOD), st.lists(st.integers(0, 20), min_size=1, max_size=6), JUNK,
       st.sampled_from(("", "", "valueString", "extension", "contained", "_status", "id")))
def test_changed_at_random_a_resource_is_judged_at_least_as_strictly_as_by_fhir_resources(good, steps, junk, name):
    resource = changed(deepcopy(good), steps, junk, name)
    faults = judge(resource)
    said = json.dumps(outcome(faults)) + repr(faults)
    assert "Zorglub" not in said
    plain = isinstance(resource, dict) and resource.get("resourceType") == good["resourceType"]
    if plain and not faults:
        assert taken(resource)


def test_what_was_loaded_is_not_loaded_again():
    shapes.load(("Observation",))
    before = shapes.shape_of.cache_info().misses
    judge(GOOD[0])
    assert shapes.shape_of.cache_info().misses == before


def test_the_good_ones_above_are_good():
    assert [judge(one) for one in GOOD] == [[], [], [], []]
    assert sound([])
