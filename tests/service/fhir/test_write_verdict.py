"""What was sent, after a verdict: valid resources with another status, the professional's word for AI's, and a verifier."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from models.model import Model
from models.prediction import Prediction, to_json
from service.assessment import Assessment, Decision, FindingAssessment, Reader
from service.fhir.datatypes import coding
from service.fhir.judge import judge
from service.fhir.push import as_transaction
from service.fhir.write_report import report_bundle
from service.fhir.write_risk import risk_bundle
from service.fhir.write_verdict import Verdict, revised
from tests.make import mr_series, tiny_release
from tests.service.dicom.tell import hospital, told
from tests.service.fhir.test_write_risk import assess

READER = Reader("rpps:1", "DOCTEUR-TEST", "Camille", "99700000001", "10", "CHU Exemple")
AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def risk(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("released"), "risk"))


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("released"), "volume_segmentation"))


def verdict(result: Any, decision: Decision, *findings: FindingAssessment, language: Any = "en") -> Verdict:
    said = Assessment(decision, "wrong-data", "", findings, READER, "first", AT.timestamp())
    reason = None if decision == "agree" else coding("urn:diaphane:override-reasons", "wrong-data")
    return Verdict(said, "key", to_json(result)["findings"], reason, "Rests on wrong data" if reason else "", AT, language)


def entries(bundle: dict[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """Return the entries by type, once the transaction they become is found to be without fault."""
    assert bundle is not None
    assert [] == judge({**as_transaction(bundle), "id": "x"})
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in bundle["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry)
    return found


@pytest.mark.parametrize(("decision", "status"), [("agree", "final"), ("correct", "corrected"), ("reject", "entered-in-error")])
def test_a_risk_has_the_status_of_its_verdict_and_is_updated_where_it_is(risk: Model, decision: Decision, status: str) -> None:
    assessed = assess(risk, gcs=6.0)
    found = entries(revised(risk_bundle(assessed), verdict(assessed.result, decision)))
    [entry] = found["RiskAssessment"]
    assert (status, "PUT") == (entry["resource"]["status"], entry["request"]["method"])
    assert "Patient/p1" == entry["resource"]["subject"]["reference"]
    assert "request" not in found["Device"][0]  # what made it stays as it was
    whys = {one["resource"]["status"] for one in found["Observation"]}
    assert {"final" if decision == "correct" else status} == whys


def test_the_provenance_names_the_verifier_beside_the_device_and_on_whose_behalf(risk: Model) -> None:
    assessed = assess(risk, gcs=6.0)
    sent = risk_bundle(assessed)
    made = entries(revised(sent, verdict(assessed.result, "reject")))["Provenance"][-1]["resource"]
    assert ["verifier", "assembler"] == [one["type"]["coding"][0]["code"] for one in made["agent"]]
    assert "CHU Exemple" == made["agent"][0]["onBehalfOf"]["display"]
    assert ("NULLIFY", "wrong-data") == (made["activity"]["coding"][0]["code"], made["reason"][0]["coding"][0]["code"])
    assert "signature" not in made


def test_a_corrected_volume_stands_where_ai_had_given_another_which_is_kept_beside_it(volume: Model) -> None:
    one = told(volume, [hospital(each) for each in mr_series(BodyPartExamined="BRAIN")])
    assert isinstance(one.result, Prediction)
    first = one.result.findings[0]
    given = FindingAssessment(first.name, "modified", "volume", first.unit, first.value, None, None, 1.25)
    found = entries(revised(report_bundle(one), verdict(one.result, "correct", given, language="fr")))
    observation = found["Observation"][0]["resource"]
    assert (1.25, "corrected") == (observation["valueQuantity"]["value"], observation["status"])
    assert pytest.approx(first.value, rel=1e-5) == observation["component"][0]["valueQuantity"]["value"]
    report = found["DiagnosticReport"][0]["resource"]
    assert "99700000001" == report["resultsInterpreter"][0]["identifier"]["value"]
    assert "1,25" in report["conclusion"]


def test_an_alert_that_was_agreed_with_is_not_raised_again(risk: Model) -> None:
    assessed = assess(risk, gcs=6.0)
    bundle = risk_bundle(assessed)
    flag = {"resourceType": "Flag", "id": "f", "status": "active", "code": {"text": "x"}, "subject": {"reference": "Patient/p1"},
            "identifier": [{"system": "urn:diaphane:result", "value": "f"}]}
    bundle["entry"].append({"fullUrl": "urn:uuid:5e6d1c4a-0a51-4f0e-8f3e-3a52d1d7a3c1", "resource": flag})
    agreed = entries(revised(bundle, verdict(assessed.result, "agree")))["Flag"][0]
    rejected = entries(revised(bundle, verdict(assessed.result, "reject")))["Flag"][0]
    assert ("active", False, "entered-in-error", True) == (
        agreed["resource"]["status"], "request" in agreed, rejected["resource"]["status"], "request" in rejected)


def test_where_nothing_has_a_status_nothing_is_sent(risk: Model) -> None:
    declined = assess(risk, gcs=6.0)
    bundle = risk_bundle(declined)
    bundle["entry"] = [one for one in bundle["entry"] if one["resource"]["resourceType"] == "Device"]
    assert revised(bundle, verdict(declined.result, "agree")) is None


def test_a_corrected_risk_keeps_no_figure_that_its_reader_contradicts(risk: Model) -> None:
    assessed = assess(risk, gcs=6.0)
    assert isinstance(assessed.result, Prediction)
    first = assessed.result.findings[0]
    expected = not first.above_threshold
    said = FindingAssessment(first.name, "modified", ai_value=first.value, ai_present=not expected, present=expected)
    resource = entries(revised(risk_bundle(assessed), verdict(assessed.result, "correct", said)))["RiskAssessment"][0]["resource"]
    told = resource["prediction"][0]
    assert not {"probabilityDecimal", "qualitativeRisk"} & told.keys()
    assert "according to the professional (AI: " in told["rationale"]
    kept = entries(revised(risk_bundle(assessed), verdict(assessed.result, "agree")))["RiskAssessment"][0]["resource"]
    assert "probabilityDecimal" in kept["prediction"][0]
