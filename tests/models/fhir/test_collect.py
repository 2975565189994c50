"""Whatever a hospital wraps resources in, they come out once, in their latest version, and nothing that was taken back."""

import pytest

from models.errors import UnusableInput
from models.fhir.collect import collect
from tests.models.fhir.make import bundle, observation, patient


def ids(content: object) -> list[str]:
    return [str(one.resource.get("id")) for one in collect(content).held]


@pytest.mark.parametrize("kind", ["collection", "searchset", "transaction", "batch", "batch-response", "history", "message"])
def test_every_type_of_bundle_is_read(kind):
    assert ids(bundle(patient(), observation(), kind=kind)) == ["p1", "o1"]


def test_one_resource_is_a_record():
    assert ids(observation()) == ["o1"]


def test_a_prefetch_is_a_record():
    sent = {"patient": patient(), "labs": bundle(observation(), kind="searchset"), "weight": None}
    assert ids(sent) == ["p1", "o1"]
    assert collect(sent).ignored["prefetch", "null"] == 1


def test_answers_of_a_batch_are_read_through():
    sent = bundle(bundle(patient(), kind="searchset"), bundle(observation(), kind="searchset"), kind="batch-response")
    assert ids(sent) == ["p1", "o1"]


@pytest.mark.parametrize("content", [{}, [], None, 7, "x", {"a": 1}, {"resourceType": ""}, {"resourceType": "Bundle", "entry": {}}])
def test_what_holds_no_resources_is_refused(content):
    with pytest.raises(UnusableInput, match="Bundle"):
        collect(content)


def test_bundles_without_end_are_refused():
    deep = bundle(patient())
    for _ in range(5):
        deep = bundle(deep)
    with pytest.raises(UnusableInput, match="nest"):
        collect(deep)


def test_more_resources_than_a_stay_can_have_are_refused():
    many = [{"resourceType": "Observation"}] * 100
    report = {"resourceType": "DiagnosticReport", "contained": many}
    with pytest.raises(UnusableInput, match="at most"):
        collect(bundle(*([report] * 500)))


def test_a_failed_answer_and_an_empty_entry_are_counted():
    sent = bundle(patient())
    sent["entry"] += [{"response": {"status": "404 Not Found"}, "resource": {"resourceType": "OperationOutcome"}}, {}, None]
    found = collect(sent)
    assert len(found.held) == 1
    assert found.ignored == {("entry", "failed"): 1, ("entry", "no_resource"): 2}


@pytest.mark.parametrize("first", [0, 1])
def test_the_higher_version_counts_in_whatever_order_it_comes(first):
    old = observation(value=1.0, meta={"versionId": "9"})
    new = observation(value=2.0, meta={"versionId": "10"}, status="corrected")
    found = collect(bundle(*((old, new) if first == 0 else (new, old))))
    assert [one.resource["valueQuantity"]["value"] for one in found.held] == [2.0]
    assert found.ignored["Observation", "replaced"] == 1


def test_without_versions_the_later_update_counts():
    old = observation(value=1.0, meta={"lastUpdated": "2026-03-01T12:00:00+01:00"})
    new = observation(value=2.0, meta={"lastUpdated": "2026-03-01T11:30:00Z"})
    assert [one.resource["valueQuantity"]["value"] for one in collect(bundle(new, old)).held] == [2.0]


def test_without_any_sign_of_age_a_correction_counts_over_the_final():
    corrected = observation(value=2.0, status="corrected")
    assert [one.resource["valueQuantity"]["value"] for one in collect(bundle(corrected, observation())).held] == [2.0]


def test_what_was_entered_in_error_takes_earlier_versions_with_it():
    found = collect(bundle(observation(), observation(status="entered-in-error")))
    assert found.held == ()
    assert found.ignored["Observation", "entered_in_error"] == 1


def test_a_correction_under_another_id_is_known_by_its_identifier():
    same = [{"system": "urn:lab", "value": "77"}]
    old, new = observation("a", identifier=same), observation("b", value=2.0, identifier=same, status="corrected")
    assert ids(bundle(old, new)) == ["b"]


def test_an_order_number_shared_by_two_measurements_merges_nothing():
    order = [{"system": "urn:order", "value": "5"}]
    one = observation("a", identifier=order)
    assert ids(bundle(one, observation("b", code="8867-4", unit="/min", identifier=order))) == ["a", "b"]
    assert ids(bundle(one, observation("b", identifier=order, at="2026-03-01T11:00:00Z"))) == ["a", "b"]


def test_a_condition_entered_in_error_is_gone():
    wrong = {"resourceType": "Condition", "id": "c", "verificationStatus": {"coding": [{"code": "entered-in-error"}]}}
    assert ids(bundle(wrong)) == []


def test_what_a_model_asserted_is_no_measurement_for_the_next():
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "AIAST"}
    found = collect(bundle(observation(meta={"security": [label]}), observation("o2", meta={"security": [{"code": "R"}]})))
    assert [one.key for one in found.held] == ["Observation/o2"]
    assert found.ignored["Observation", "ai_asserted"] == 1


def test_what_was_deleted_is_gone():
    sent = bundle(observation(), kind="history")
    sent["entry"].append({"request": {"method": "DELETE", "url": "Observation/o1"}})
    assert ids(sent) == []


def test_contained_results_of_a_report_inherit_whose_and_when():
    inner = {"resourceType": "Observation", "id": "r", "code": {}}
    report = {
        "resourceType": "DiagnosticReport", "id": "d", "status": "final", "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-03-01T10:00:00Z", "contained": [inner, {"resourceType": "Specimen"}],
    }
    found = collect(bundle(report)).held[1]
    assert (found.resource["effectiveDateTime"], found.resource["status"]) == ("2026-03-01T10:00:00Z", "final")
    assert found.source == "DiagnosticReport/d"


def test_one_id_on_two_servers_is_two_resources():
    sent = bundle(observation(), observation(value=2.0), observation(value=3.0))
    for entry, home in zip(sent["entry"], ("a", "b", "a"), strict=True):
        entry["fullUrl"] = f"https://{home}.example/fhir/Observation/o1"
    found = collect(sent)
    assert [one.resource["valueQuantity"]["value"] for one in found.held] == [2.0, 3.0]


def test_references_by_fullurl_lead_to_the_resource():
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:1", "resource": patient()}, {"fullUrl": "https://a.example/fhir/Patient/9", "resource": patient("9")},
    ]}
    found = collect(sent)
    assert found.key_of("urn:uuid:1") == "Patient/p1"
    assert found.key_of("https://a.example/fhir/Patient/9/_history/3") == "Patient/9"
