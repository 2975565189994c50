"""No name, identifier, date or file name that was sent comes out again: not in logs, counts, errors or answers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.make import dicom_bytes, icu_bundle, radiograph_dataset
from tests.service.house import DICOM, FHIR, House, build
from tests.service.test_intake import zipped

CANARIES = ("CANARYNAME", "CANARYID", "19870613", "1987-06-13", "CANARYTEXT", "CANARYFILE", "CANARYPATH")
TAGS: dict[str, Any] = {
    "PatientName": "CANARYNAME^X", "PatientID": "CANARYID", "PatientBirthDate": "19870613", "StudyDate": "19870613",
    "OtherPatientNames": "CANARYNAME", "AccessionNumber": "CANARYID", "ReferringPhysicianName": "CANARYNAME",
    "PatientComments": "CANARYTEXT", "StudyDescription": "CANARYTEXT", "InstitutionName": "CANARYTEXT",
    "StudyID": "CANARYID", "ImageComments": "CANARYTEXT", "PatientAddress": "CANARYTEXT",
    "DeviceSerialNumber": "CANARYID",
}


def marked_bundle(**observation: Any) -> dict[str, Any]:
    bundle = icu_bundle(hours=3)
    patient = bundle["entry"][0]["resource"]
    patient |= {
        "id": "CANARYID", "name": [{"family": "CANARYNAME", "text": "CANARYNAME"}],
        "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "CANARYID"}],
        "birthDate": "1987-06-13", "address": [{"text": "CANARYTEXT"}],
    }
    for entry in bundle["entry"][1:]:
        entry["resource"]["subject"] = {"reference": "Patient/CANARYID", "display": "CANARYNAME"}
        entry["resource"]["note"] = [{"text": "CANARYTEXT"}]
    bundle["entry"][2]["resource"] |= observation
    return bundle


def image_requests() -> list[dict[str, Any]]:
    good = dicom_bytes(radiograph_dataset(**TAGS))
    changed: list[dict[str, Any]] = [{"Rows": 65535, "Columns": 65535}, {"PixelData": None}, {"Modality": "US"}]
    bodies = [
        good, good[:700], good[:300], good.replace(b"CHEST", b"CANAR"), good.replace(b"003Y", b"CAN\0"),
        *(dicom_bytes(radiograph_dataset(**{**TAGS, **one})) for one in changed),
    ]
    named = [
        ("CANARYTEXT", ("CANARYFILE.dcm", good, "application/dicom")),
        ("f", ("CANARYFILE.txt", b"CANARYTEXT", "text/plain")),
    ]
    as_zip = {"content-type": "application/zip"}
    strange = {**DICOM, "x-patient": "CANARYID", "referer": "CANARYID"}
    return [
        *({"url": "/v1/images", "content": body, "headers": DICOM} for body in bodies),
        {"url": "/v1/images", "files": named}, {"url": "/v1/images", "files": named[1:]},
        {"url": "/v1/images", "content": zipped({"CANARYFILE/1.dcm": good}), "headers": as_zip},
        {"url": "/v1/images", "content": zipped({"../CANARYFILE.dcm": good}), "headers": as_zip},
        {"url": "/v1/images?CANARYTEXT=CANARYID", "content": good, "headers": DICOM},
        {"url": "/v1/images?model=CANARYID", "content": good, "headers": DICOM},
        {"url": "/v1/images", "content": good, "headers": {"content-type": "CANARYTEXT/CANARYID"}},
        {"url": "/CANARYPATH/CANARYID", "content": b"CANARYTEXT", "headers": strange},
        {"url": "/v1/models/CANARYPATH/card"},
    ]


def record_requests() -> list[dict[str, Any]]:
    spoiled = [
        {}, {"valueQuantity": {"value": "CANARYTEXT"}}, {"effectiveDateTime": "CANARYTEXT"}, {"status": "CANARYTEXT"},
        {"valueQuantity": {"value": 1, "unit": "CANARYTEXT", "code": "furlong"}},  # the code of a unit is named
        {"subject": {"reference": "Patient/CANARYNAME"}}, {"code": "CANARYTEXT"},
    ]
    bodies = [json.dumps(marked_bundle(**one)).encode() for one in spoiled]
    bodies += [bodies[0][:900], bodies[0].replace(b"1987-06-13", b"CANARYTEXT"), b'"CANARYNAME"']
    return [{"url": "/v1/records", "content": body, "headers": FHIR} for body in bodies] + [
        {"url": "/v1/records?moment=CANARYTEXT", "content": bodies[0], "headers": FHIR},
    ]


def leaks(text: str) -> list[str]:
    return [canary for canary in CANARIES if canary in text]


@pytest.fixture
def fresh(released: Path) -> House:
    return build(released)


def test_nothing_that_identifies_is_logged_counted_or_answered(
    fresh: House, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        answers = [
            fresh.client.request("GET" if "models" in one["url"] else "POST", **one)
            for one in (*image_requests(), *record_requests())
        ]
    counts = fresh.client.get("/metrics").text
    written = capfd.readouterr()

    assert max(answer.status_code for answer in answers) < 500
    # What the client of this test says of its own requests is not said by the service.
    assert [] == leaks("\n".join(one.getMessage() for one in caplog.records if not one.name.startswith("httpx")))
    assert [] == leaks(written.out + written.err)
    assert [] == leaks(counts)
    assert [] == [(answer.status_code, found, answer.text[:300]) for answer in answers if (found := leaks(answer.text))]
    fresh.scoring.stop()
