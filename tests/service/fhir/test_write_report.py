"""An imaging result as FHIR: from the same Told as the DICOM objects, with nothing left unsaid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.model import Model
from models.prediction import Prediction
from service.dicom.told import Told
from service.dicom.write import write
from service.fhir.judge import judge
from service.fhir.write_report import report_bundle
from service.site import Device
from tests.make import mr_series, radiograph_dataset, radiograph_pixels, tiny_release
from tests.service.dicom.tell import hospital, not_assessed, told

ENGLISH = Device(language="en")


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("released"), "image_classification"))


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("released"), "volume_segmentation"))


def resources(one: Told, **more: Any) -> dict[str, list[dict[str, Any]]]:
    bundle = report_bundle(one, **more)
    assert [] == judge(bundle)
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in bundle["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


def positive(chest: Model) -> Told:
    return told(chest, [hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))], device=ENGLISH)


def test_a_report_is_preliminary_and_holds_an_observation_a_finding(chest: Model) -> None:
    one = positive(chest)
    found = resources(one)
    (report,) = found["DiagnosticReport"]
    assert ("preliminary", "18748-4") == (report["status"], report["code"]["coding"][0]["code"])
    assert isinstance(one.result, Prediction)
    names = [output.code.code for output in chest.manifest.outputs]
    assert names == [item["code"]["coding"][0]["code"] for item in found["Observation"]]
    assert [f"urn:uuid:{item['id']}" for item in found["Observation"]] == [item["reference"] for item in report["result"]]
    main = found["Observation"][0]
    assert main["valueQuantity"]["value"] == pytest.approx(one.result.main.value, rel=1e-5)
    assert "imaging" == main["category"][0]["coding"][0]["code"]


def test_what_is_below_the_threshold_is_not_called_normal_and_what_is_not_given_is_said_so(chest: Model) -> None:
    found = resources(told(chest, [hospital(radiograph_dataset())], device=ENGLISH))
    (report,) = found["DiagnosticReport"]
    assert "That does not mean that the image is normal." in report["conclusion"]
    absent = [item for item in found["Observation"] if "dataAbsentReason" in item]
    shown_only_if = [output.name for output in chest.manifest.outputs if output.shown_only_if]
    assert len(shown_only_if) == len(absent)
    assert all("valueQuantity" not in item and "not given" in item["dataAbsentReason"]["text"] for item in absent)


def test_a_volume_is_in_millilitres(volume: Model) -> None:
    one = told(volume, mr_series(), device=ENGLISH)
    assert isinstance(one.result, Prediction)
    units = {item["valueQuantity"]["code"] for item in resources(one)["Observation"]}
    assert {"mL"} == units


def test_a_refusal_says_not_assessed_with_its_reason_and_gives_no_figure(chest: Model) -> None:
    one = told(chest, [hospital(radiograph_dataset(PatientAge="070Y"))], device=ENGLISH)
    found = resources(one)
    (report,), (item,) = found["DiagnosticReport"], found["Observation"]
    assert report["conclusion"].startswith("Not assessed.")
    assert ["not-performed", "wrong_age"] == [coding["code"] for coding in item["dataAbsentReason"]["coding"]]
    assert "valueQuantity" not in item


def test_images_no_model_takes_are_reported_with_every_models_reason() -> None:
    found = resources(not_assessed(hospital(radiograph_dataset(Modality="MR")), device=ENGLISH))
    assert "A brain model" in found["DiagnosticReport"][0]["conclusion"]
    assert "Diaphane" == found["Device"][0]["manufacturer"]


def test_the_person_is_named_by_an_identifier_and_never_by_name(chest: Model) -> None:
    one = positive(chest)
    found = resources(one, accept="test")
    subject = found["DiagnosticReport"][0]["subject"]
    assert ("urn:oid:1.2.250.1.213.1.4.10", "279035121518989") == (subject["identifier"]["system"], subject["identifier"]["value"])
    assert "CANARI-NÉ" not in str(found)
    local = resources(one, accept="production")["DiagnosticReport"][0]["subject"]  # a test identity is nobody's in production
    assert ("CANARI-0001", "CHU") == (local["identifier"]["value"], local["identifier"]["assigner"]["display"])
    assert {"reference": "Patient/9"} == resources(one, patient="Patient/9")["DiagnosticReport"][0]["subject"]


def test_the_study_is_named_by_its_uid_first_then_by_its_accession_number(chest: Model) -> None:
    one = positive(chest)
    (study,) = resources(one)["ImagingStudy"]
    uid, accession = study["identifier"]
    assert ("urn:dicom:uid", f"urn:oid:{one.sources[0].StudyInstanceUID}") == (uid["system"], uid["value"])
    assert ("ACSN", "ACC0001") == (accession["type"]["coding"][0]["code"], accession["value"])
    assert "2026-03-01T10:15:00+01:00" == study["started"]


def test_the_objects_that_were_made_are_series_of_the_study(chest: Model) -> None:
    one = positive(chest)
    written = write(one)
    made = [entry["resource"] for entry in report_bundle(one, written)["entry"]]
    study = next(resource for resource in made if resource["resourceType"] == "ImagingStudy")
    assert [] == judge(study)
    instances = {instance["uid"] for series in study["series"] for instance in series["instance"]}
    assert {each.sop_uid for each in written} | {str(one.sources[0].SOPInstanceUID)} == instances


def test_a_report_takes_the_draft_along(chest: Model) -> None:
    attachment = {"contentType": "application/pdf", "data": "JVBERg==", "title": "Draft"}
    assert [attachment] == resources(positive(chest), presented=[attachment])["DiagnosticReport"][0]["presentedForm"]


def test_the_same_result_is_the_same_bundle_and_a_revision_another(chest: Model) -> None:
    one = positive(chest)
    assert report_bundle(one) == report_bundle(one)
    again = replace(one, revision=2)
    ids = [{entry["resource"]["id"] for entry in report_bundle(told_of)["entry"]
            if entry["resource"]["resourceType"] in ("DiagnosticReport", "Observation")} for told_of in (one, again)]
    assert set() == ids[0] & ids[1]


@pytest.mark.parametrize("attributes", [
    {"StudyDate": "2026"}, {"StudyDate": "20261399"}, {"StudyTime": "99"}, {"AccessionNumber": None}, {"PatientID": None},
    {"Modality": "dx"}, {"StudyTime": None}, {"IssuerOfPatientID": "2.25.1\\x"},
])
def test_odd_headers_make_no_faulty_resource(chest: Model, attributes: dict[str, Any]) -> None:
    dataset = radiograph_dataset(radiograph_pixels(pneumonia=True), **attributes)
    resources(told(chest, [dataset], device=ENGLISH))
