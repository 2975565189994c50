"""Two FHIR clients nobody here wrote, fhirpy and fhirclient, ask our /fhir over a socket, as an EHR team would."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from tests.make import icu_bundle, tiny_release
from tests.service.fhir.ehr_house import fhir_room, serving

with warnings.catch_warnings():  # it names a member of another library that is deprecated
    warnings.simplefilter("ignore")
    from fhirclient import client as fhirclient
    from fhirclient.models.bundle import Bundle
    from fhirclient.models.operationdefinition import OperationDefinition
    from fhirclient.models.parameters import Parameters
    from fhirclient.server import FHIRNotFoundException


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("released")
    tiny_release(folder, "risk")
    with fhir_room(folder, tmp_path_factory.mktemp("store")) as room, serving(room) as address:
        yield address


def parameters() -> dict[str, object]:
    return {"resourceType": "Parameters", "parameter": [
        {"name": "model", "valueString": "tiny_risk"}, {"name": "subject", "resource": icu_bundle(hours=6, gcs=5.0)}]}


def test_fhirpy_asks_predict_and_reads_the_risk(url: str) -> None:
    client = SyncFHIRClient(url)
    told = client.execute("$predict", method="POST", data=parameters())
    assert "RiskAssessment" == told["entry"][0]["resource"]["resourceType"]
    assert 0 < told["entry"][0]["resource"]["prediction"][0]["probabilityDecimal"] < 1


def test_fhirpy_finds_and_reads_our_definitions(url: str) -> None:
    client = SyncFHIRClient(url)
    found = client.resources("OperationDefinition").search(name="Predict").fetch_all()
    assert ["predict"] == [one["code"] for one in found]
    assert "urn:diaphane:codes" == client.reference("CodeSystem", "diaphane").to_resource()["url"]


def test_fhirpy_understands_our_errors(url: str) -> None:
    client = SyncFHIRClient(url)
    with pytest.raises(ResourceNotFound):
        client.reference("CodeSystem", "other").to_resource()
    wrong = {"resourceType": "Parameters", "parameter": [{"name": "colour", "valueString": "x"}]}
    with pytest.raises(OperationOutcome) as refused:
        client.execute("$predict", method="POST", data=wrong)
    assert "Parameters.parameter[0].name" in str(refused.value.resource)


def test_fhirclient_reads_the_capability_statement_and_asks_predict(url: str) -> None:
    server = fhirclient.FHIRClient(settings={"app_id": "tests", "api_base": url}).server
    definition = OperationDefinition.read("predict", server)
    assert ("predict", True) == (definition.code, definition.system)
    bundle = Bundle(server.post_json("$predict", Parameters(parameters()).as_json()).json())
    risk = bundle.entry[0].resource
    assert ("RiskAssessment", "preliminary", "Patient/p1") == (risk.resource_type, risk.status, risk.subject.reference)
    assert {"RiskAssessment", "Observation", "Device", "Provenance"} == {entry.resource.resource_type for entry in bundle.entry}


def test_fhirclient_understands_our_errors(url: str) -> None:
    server = fhirclient.FHIRClient(settings={"app_id": "tests", "api_base": url}).server
    with pytest.raises(FHIRNotFoundException):
        OperationDefinition.read("nothing", server)
