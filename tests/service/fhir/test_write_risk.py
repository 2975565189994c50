"""What is written of a score, a dose and a refusal: complete, exact, traceable, and never a stranger's markup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from math import exp
from typing import Any

import pytest

from models.model import Model
from models.prediction import Finding, Prediction
from models.read_fhir import Ignored, read_bundle
from service.fhir.assessed import Assessed
from service.fhir.codes import code_system
from service.fhir.datatypes import CONTRIBUTION, OURS, SECURITY, narrative, paragraph, table
from service.fhir.judge import judge
from service.fhir.write_risk import risk_bundle
from service.site import Device
from tests.make import icu_bundle, tiny_release

MADE_AT = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("released"), "risk"))


def assess(model: Model, *, language: Any = "en", **bundle: Any) -> Assessed:
    reading = read_bundle(icu_bundle(**bundle))
    return Assessed(model.manifest, model.predict(reading.record), reading, MADE_AT, language, Device())


def resources(assessed: Assessed) -> dict[str, list[dict[str, Any]]]:
    """Return what was written by type, once it is found to be without fault and closed in itself."""
    told = risk_bundle(assessed)
    assert [] == judge(told)
    names = {entry["fullUrl"] for entry in told["entry"]}
    assert {one for one in _references(told) if one.startswith("urn:uuid:")} <= names
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in told["entry"]:
        assert SECURITY == entry["resource"]["meta"]["security"]
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return here + [one for inner in value.values() for one in _references(inner)]
    return [one for inner in value for one in _references(inner)] if isinstance(value, list) else []


def test_a_score_is_a_preliminary_risk_assessment_between_0_and_1(model: Model) -> None:
    assessed = assess(model, gcs=6.0)
    (risk,) = resources(assessed)["RiskAssessment"]
    assert ("preliminary", "Patient/p1", "Encounter/e1") == (
        risk["status"], risk["subject"]["reference"], risk["encounter"]["reference"])
    assert isinstance(assessed.result, Prediction)
    assert risk["prediction"][0]["probabilityDecimal"] == pytest.approx(assessed.result.main.value, rel=1e-5)
    assert "2026-03-03T08:00:00+00:00" == risk["prediction"][0]["whenPeriod"]["start"]
    assert "419099009" == risk["prediction"][0]["outcome"]["coding"][0]["code"]


def test_the_basis_is_every_observation_the_features_look_at_and_no_other(model: Model) -> None:
    (risk,) = resources(assess(model, hours=60))["RiskAssessment"]
    basis = [one["reference"] for one in risk["basis"]]
    assert len(basis) == len(set(basis))
    hours_seen = [*range(49), *range(0, 49, 6), *range(0, 49, 6)]  # HR hourly, GCS and creatinine each six hours, up to hour 48
    assert len(hours_seen) == len([one for one in basis if one.startswith("Observation/")])


def test_the_contributions_and_the_starting_point_sum_to_the_score(model: Model) -> None:
    assessed = assess(model, gcs=6.0, creatinine_mg_dl=None)
    (why,) = resources(assessed)["Observation"]
    start, *parts, score = why["component"]
    assert ["starting-point", "score"] == [one["code"]["coding"][0]["code"] for one in (start, score)]
    told = [{one["url"]: one.get("valueDecimal") for one in part["extension"][0]["extension"]} for part in parts]
    assert {CONTRIBUTION} == {part["extension"][0]["url"] for part in parts}
    total = start["valueQuantity"]["value"] + sum(one["log"] for one in told)
    assert total == pytest.approx(score["valueQuantity"]["value"], abs=1e-4)
    assert all(one["multiplier"] == pytest.approx(exp(one["log"]), rel=1e-4) for one in told)
    (risk,) = resources(assessed)["RiskAssessment"]
    assert 1 / (1 + exp(-score["valueQuantity"]["value"])) == pytest.approx(risk["prediction"][0]["probabilityDecimal"], abs=1e-4)


def test_a_component_has_value_unit_range_and_flag(model: Model) -> None:
    (why,) = resources(assess(model, heart_rate=120.0, creatinine_mg_dl=None))["Observation"]
    parts = {part["extension"][0]["extension"][2]["valueString"]: part for part in why["component"][1:-1]}
    heart = parts["HR"]
    assert ("/min", "H") == (heart["valueQuantity"]["code"], heart["interpretation"][0]["coding"][0]["code"])
    assert (60, 100) == (heart["referenceRange"][0]["low"]["value"], heart["referenceRange"][0]["high"]["value"])
    assert "unknown" == parts["Creatinine"]["dataAbsentReason"]["coding"][0]["code"]
    assert "valueQuantity" not in parts["Creatinine"]


def test_the_device_is_the_release_with_the_hash_of_its_graph(model: Model) -> None:
    (device,) = resources(assess(model))["Device"]
    versions = {one["type"]["coding"][0]["code"]: one["value"] for one in device["version"]}
    assert ("1.0.0", model.manifest.files["model.onnx"]) == (versions["release"], versions["onnx-sha256"])
    assert "udiCarrier" not in device


def test_provenance_names_the_device_the_inputs_and_the_hash_of_what_the_graph_was_given(model: Model) -> None:
    assessed = assess(model)
    found = resources(assessed)
    (provenance,) = found["Provenance"]
    assert [f"urn:uuid:{found['Device'][0]['id']}"] == [one["who"]["reference"] for one in provenance["agent"]]
    hashes = [one["what"]["identifier"]["value"] for one in provenance["entity"] if "identifier" in one["what"]]
    assert [assessed.result.identity.input_sha256] == hashes


def test_a_refusal_is_no_risk_assessment_but_says_what_is_missing(model: Model) -> None:
    found = resources(assess(model, gcs=None, creatinine_mg_dl=None))
    assert "RiskAssessment" not in found
    (guidance,) = found["GuidanceResponse"]
    assert "data-required" == guidance["status"]
    assert "too_few_measurements" == guidance["reasonCode"][0]["coding"][0]["code"]
    assert {"2160-0", "9269-2"} == {one["codeFilter"][0]["code"][0]["code"] for one in guidance["dataRequirement"]}


def test_another_refusal_is_a_failure_that_asks_for_no_data(model: Model) -> None:
    (guidance,) = resources(assess(model, birth_date="2020-01-01"))["GuidanceResponse"]
    assert ("failure", False) == (guidance["status"], "dataRequirement" in guidance)


def test_what_was_not_used_is_told(model: Model) -> None:
    assessed = assess(model)
    ignored = (Ignored("Observation", "entered_in_error", 3),)
    for gcs in (15.0, None):
        other = assess(model, gcs=gcs, creatinine_mg_dl=gcs)
        told = resources(replace(other, reading=replace(other.reading, ignored=ignored)))
        assert "3 × Observation (entered in error)" in str(told)
    assert "Not used" not in str(risk_bundle(assessed))


def test_a_dose_is_an_observation_with_its_interval_and_never_an_order(model: Model) -> None:
    assessed = assess(model)
    assert isinstance(assessed.result, Prediction)
    dose = Finding("dose", "Weekly dose", "Dose hebdomadaire", assessed.result.main.code, "quantity", 32.5, "mg/wk",
                   low=20.0, high=45.0, interval_level=0.9, logit=3.48)
    output = assessed.manifest.outputs[0].model_copy(update={"name": "dose", "kind": "quantity"})
    manifest = assessed.manifest.model_copy(update={"outputs": [output]})
    parts = tuple(replace(part, finding="dose") for part in assessed.result.explanation.measurements)
    result = replace(assessed.result, findings=(dose,), explanation=replace(assessed.result.explanation, measurements=parts))
    found = resources(replace(assessed, result=result, manifest=manifest))
    assert {"Observation", "Device", "Provenance"} == set(found)
    written = next(one for one in found["Observation"] if "valueQuantity" in one)
    assert (32.5, "mg/wk") == (written["valueQuantity"]["value"], written["valueQuantity"]["code"])
    ends = {one["code"]["coding"][0]["code"]: one["valueQuantity"]["value"] for one in written["component"]}
    assert {"interval-low": 20, "interval-high": 45, "interval-level": 0.9} == ends


def test_a_band_is_told_as_a_qualitative_risk(model: Model) -> None:
    assessed = assess(model)
    assert isinstance(assessed.result, Prediction)
    result = replace(assessed.result, findings=(replace(assessed.result.main, risk="high"),))
    (risk,) = resources(replace(assessed, result=result))["RiskAssessment"]
    assert "high" == risk["prediction"][0]["qualitativeRisk"]["coding"][0]["code"]


def test_an_unknown_subject_is_said_to_be_unknown(model: Model) -> None:
    assessed = assess(model)
    found = resources(replace(assessed, reading=replace(assessed.reading, subject="", encounter="")))
    assert "unknown" == found["RiskAssessment"][0]["subject"]["extension"][0]["valueCode"]


def test_the_same_assessment_is_the_same_bundle_and_another_person_another(model: Model) -> None:
    assessed = assess(model)
    assert risk_bundle(assessed) == risk_bundle(assessed)
    other = replace(assessed, reading=replace(assessed.reading, subject="Patient/p2"))
    assert {e["fullUrl"] for e in risk_bundle(assessed)["entry"]} & {e["fullUrl"] for e in risk_bundle(other)["entry"]} == {
        f"urn:uuid:{resources(assessed)['Device'][0]['id']}"}


def test_a_later_answer_about_the_same_input_keeps_its_ids(model: Model) -> None:
    assessed = assess(model)
    later = replace(assessed, made_at=datetime(2026, 3, 4, tzinfo=UTC), language="fr")
    assert [one["fullUrl"] for one in risk_bundle(assessed)["entry"]] == [one["fullUrl"] for one in risk_bundle(later)["entry"]]


def test_nothing_in_a_narrative_is_markup_but_ours() -> None:
    hostile = '<script>alert("1")</script>&\x00\ud800'
    told = narrative("en", paragraph(hostile), table([hostile], [[hostile]]))["div"]
    assert "<script" not in told
    assert told.encode()
    assert 3 == told.count("&lt;script&gt;")


def test_own_codes_are_all_in_the_table(model: Model) -> None:
    known = {one["code"] for one in code_system([model.manifest])["concept"]}
    for assessed in (assess(model), assess(model, gcs=None, creatinine_mg_dl=None)):
        used = {one["code"] for one in _codings(risk_bundle(assessed)) if one["system"] == OURS}
        assert used
        assert used <= known


def _codings(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        here = [value] if {"system", "code"} <= set(value) and "value" not in value else []
        return here + [one for inner in value.values() for one in _codings(inner)]
    return [one for inner in value for one in _codings(inner)] if isinstance(value, list) else []


def test_text_outside_the_narrative_has_no_blanks_that_fhir_does_not_know(model: Model) -> None:
    told = risk_bundle(assess(model, language="fr", gcs=6.0))
    for entry in told["entry"]:
        text = {key: value for key, value in entry["resource"].items() if key != "text"}
        assert not {"\u00a0", "\u202f"} & set(str(text))


def test_a_stay_that_is_still_short_is_not_said_to_be_scored_in_the_future(model: Model) -> None:
    early = replace(assess(model, hours=10), made_at=datetime(2026, 3, 1, 18, 0, tzinfo=UTC))
    (risk,) = resources(early)["RiskAssessment"]
    assert "2026-03-01T18:00:00+00:00" == risk["prediction"][0]["whenPeriod"]["start"]
    later = replace(early, made_at=datetime(2026, 3, 1, 18, 5, tzinfo=UTC))
    assert risk["id"] == resources(later)["RiskAssessment"][0]["id"]
