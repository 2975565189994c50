"""QIDO-RS: what is held is found by its attributes, and nothing that was not asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset

from service.dicom.matching import Condition, path_of
from tests.make import mr_series, radiograph_dataset
from tests.service.dicom.web_house import WebHouse, opened

FIRST, SECOND, THIRD = "1.2.3.1", "1.2.3.2", "1.2.3.3"


def datasets() -> list[Dataset]:
    """Three studies: an MR series with a radiograph, a radiograph of a patient in two scripts, a radiograph of few facts."""
    request = Dataset()
    insurance = Dataset()
    insurance.PatientID, insurance.IssuerOfPatientID = "279035121518989", "ASIP-SANTE-INS-NIR"
    issuer = Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.250.1.213.1.4.10", "ISO"
    insurance.IssuerOfPatientIDQualifiersSequence = [issuer]
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "STEP7", "REQ7"
    head = {"StudyInstanceUID": FIRST, "StudyDate": "20260301", "StudyTime": "081500", "PatientID": "P_1%", "StudyID": "S1",
            "PatientName": "Durand^Anne", "AccessionNumber": "A1", "ReferringPhysicianName": "House^G",
            "OtherPatientIDsSequence": [insurance]}
    second = {"StudyInstanceUID": SECOND, "SeriesInstanceUID": "1.2.4.2", "SOPInstanceUID": "1.2.5.2", "StudyDate": "20260415",
              "PatientID": "P2", "PatientName": "Yamada^Tarou=山田^太郎",
              "SpecificCharacterSet": "ISO_IR 192", "AccessionNumber": "A2"}
    third = {"StudyInstanceUID": THIRD, "SeriesInstanceUID": "1.2.4.3", "SOPInstanceUID": "1.2.5.3", "PatientID": "PX1X",
             "PatientName": None}
    return [
        *mr_series(**head, SeriesNumber=4, SeriesDescription="T1", PerformedProcedureStepStartDate="20260301",
                   RequestAttributesSequence=[request]),
        radiograph_dataset(**head, SeriesNumber=5),
        radiograph_dataset(**second), radiograph_dataset(**third),
    ]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebHouse]:
    with opened(tmp_path_factory.mktemp("qido")) as house:
        house.send(datasets())
        yield house


def found(web: WebHouse, address: str, tag: str = "0020000D") -> list[str]:
    """The values of one attribute of what an address finds."""
    answer = web.client.get(f"/dicom-web/{address}", headers={"accept": "application/dicom+json"})
    assert answer.status_code in (200, 204), answer.text
    return [one[tag]["Value"][0] for one in answer.json()] if answer.status_code == 200 else []


@pytest.mark.parametrize(("query", "expected"), [
    ("", [FIRST, SECOND, THIRD]),
    ("StudyInstanceUID=1.2.3.1", [FIRST]),
    ("StudyInstanceUID=1.2.3.1,1.2.3.3", [FIRST, THIRD]),
    ("0020000D=1.2.3.2", [SECOND]),
    ("StudyDate=20260301", [FIRST]), ("StudyDate=20260301-20260415", [FIRST, SECOND]), ("StudyDate=20260302-", [SECOND]),
    ("StudyDate=-20260331", [FIRST]), ("StudyTime=08", [FIRST]), ("StudyTime=0800-0900", [FIRST]), ("StudyTime=0900-", []),
    ("PatientID=P_1%25", [FIRST]), ("PatientID=P?1?", [FIRST, THIRD]), ("PatientID=P*", [FIRST, SECOND, THIRD]), ("PatientID=p2", []),
    ("PatientName=durand*", [FIRST]), ("PatientName=DURAND%5EANNE", [FIRST]), ("PatientName=*山田*", [SECOND]),
    ("PatientName=", [FIRST, SECOND, THIRD]), ("PatientName=*", [FIRST, SECOND, THIRD]),
    ("AccessionNumber=A1", [FIRST]), ("ReferringPhysicianName=house*", [FIRST]), ("StudyID=S1", [FIRST]),
    ("ModalitiesInStudy=MR", [FIRST]), ("ModalitiesInStudy=DX", [FIRST, SECOND, THIRD]), ("ModalitiesInStudy=CT", []),
    ("SeriesInstanceUID=1.2.4.3", [THIRD]), ("SOPInstanceUID=1.2.5.2", [SECOND]),
    ("PatientID=P2&AccessionNumber=A1", []), ("limit=2&offset=2", None), ("limit=0", []),
])
def test_studies_are_found_by(web: WebHouse, query: str, expected: list[str] | None) -> None:
    studies = found(web, f"studies?{query}")

    if expected is None:
        assert 1 == len(studies)
    else:
        assert expected == sorted(studies)


@pytest.mark.parametrize(("address", "expected"), [
    ("series", 4), (f"studies/{FIRST}/series", 2), (f"studies/{FIRST}/series?Modality=MR", 1), ("series?Modality=DX", 3),
    ("series?SeriesNumber=4", 1), ("series?SeriesNumber=04", 1), ("series?PerformedProcedureStepStartDate=20260201-20260401", 1),
    ("series?RequestAttributesSequence.ScheduledProcedureStepID=STEP7", 1), ("series?00400275.00401001=REQ*", 1),
    ("series?RequestAttributesSequence.RequestedProcedureID=OTHER", 0), (f"studies/{FIRST}/series?StudyInstanceUID={SECOND}", 0),
    ("instances", 15), (f"studies/{FIRST}/instances", 13), ("instances?InstanceNumber=3", 1),
    (f"studies/{SECOND}/series/1.2.4.2/instances", 1), ("instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.4", 12),
    ("instances?Rows=24&limit=5", 5), ("instances?PatientID=P2", 1), ("studies/1.2.9/series", 0),
])
def test_series_and_instances_are_found_by(web: WebHouse, address: str, expected: int) -> None:
    assert expected == len(found(web, address))


def test_a_study_says_what_it_holds(web: WebHouse) -> None:
    (study,) = web.client.get(f"/dicom-web/studies?StudyInstanceUID={FIRST}").json()

    assert {"vr": "CS", "Value": ["DX", "MR"]} == study["00080061"]
    assert ([2], [13]) == (study["00201206"]["Value"], study["00201208"]["Value"])
    assert [f"http://testserver/dicom-web/studies/{FIRST}"] == study["00081190"]["Value"]
    assert {"vr": "DA"} == study["00100030"]
    assert list(study) == sorted(study)


def test_series_and_instances_say_where_they_are(web: WebHouse) -> None:
    (series,) = web.client.get(f"/dicom-web/studies/{SECOND}/series").json()
    (instance,) = web.client.get(f"/dicom-web/studies/{SECOND}/instances").json()

    assert ([1], "DX") == (series["00201209"]["Value"], series["00080060"]["Value"][0])
    assert series["00081190"]["Value"][0].endswith(f"/studies/{SECOND}/series/1.2.4.2")
    assert instance["00081190"]["Value"][0].endswith(f"/studies/{SECOND}/series/1.2.4.2/instances/1.2.5.2")
    assert [256] == instance["00280010"]["Value"]


def test_a_name_in_two_scripts_comes_back_in_both(web: WebHouse) -> None:
    (study,) = web.client.get(f"/dicom-web/studies?StudyInstanceUID={SECOND}").json()

    assert [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}] == study["00100010"]["Value"]


def test_a_field_that_is_not_kept_for_queries_is_read_from_the_file(web: WebHouse) -> None:
    (study,) = web.client.get(f"/dicom-web/studies?StudyInstanceUID={FIRST}&includefield=OtherPatientIDsSequence").json()
    instances = web.client.get(f"/dicom-web/studies/{FIRST}/instances?includefield=00200032,PixelSpacing&Modality=MR").json()

    assert "279035121518989" == study["00101002"]["Value"][0]["00100020"]["Value"][0]
    assert {(-50.0, -30.0, 10.0 + z) for z in range(12)} == {tuple(one["00200032"]["Value"]) for one in instances}
    assert [1.0, 1.0] == instances[0]["00280030"]["Value"]


def test_other_identifiers_are_kept_with_who_issued_them(web: WebHouse) -> None:
    """Whoever is known by one of them is found when they oppose, or are erased."""
    (study,) = web.client.get(f"/dicom-web/studies?StudyInstanceUID={FIRST}").json()
    (other,) = study["00101002"]["Value"]

    assert {"00400032": {"vr": "UT", "Value": ["1.2.250.1.213.1.4.10"]}, "00400033": {"vr": "CS", "Value": ["ISO"]}} == (
        other["00100024"]["Value"][0])


def test_nothing_found_is_said_without_a_body(web: WebHouse) -> None:
    answer = web.client.get("/dicom-web/studies?PatientID=nobody")

    assert (204, b"") == (answer.status_code, answer.content)


@pytest.mark.parametrize(("accept", "status"), [
    ("application/dicom+json", 200), ("application/json", 200), ("*/*", 200), ("application/*", 200), ("", 200),
    ("application/dicom+json, application/json", 200),
    ('multipart/related; type="application/dicom+xml", application/json;q=0.5', 200),
    ('multipart/related; type="application/dicom+xml"', 406), ("text/html", 406), ("application/json;q=0", 200),
])
def test_lists_of_accepted_types_are_read(web: WebHouse, accept: str, status: int) -> None:
    answer = web.client.get("/dicom-web/studies", headers={"accept": accept})

    assert status == answer.status_code
    assert status != 200 or answer.headers["content-type"] == "application/dicom+json"


def test_what_is_asked_but_not_done_is_warned_of(web: WebHouse) -> None:
    fuzzy = web.client.get("/dicom-web/studies?fuzzymatching=true&PatientName=Durand*")
    cut = web.client.get("/dicom-web/studies?limit=1")
    whole = web.client.get("/dicom-web/studies?limit=3&includefield=all&includefield=PatientAge,00081030")

    assert "299" in fuzzy.headers["warning"]
    assert "fuzzymatching" in fuzzy.headers["warning"]
    assert "additional results" in cut.headers["warning"]
    assert "warning" not in whole.headers


@pytest.mark.parametrize("query", [
    "limit=-1", "limit=x", "offset=1e9", "fuzzymatching=maybe", "includefield=Nonsense", "Nonsense=CANARY", "PatientAge=003Y",
    "SeriesNumber=4", "00100020.00100020=CANARY", "PatientID=a&PatientID=b", "StudyDate=yesterday", "PixelData=x", "0=1",
    "PatientID=" + "x" * 5000, "&".join(f"{name:08X}=" for name in range(0x00100000, 0x00100200)),
])
def test_what_cannot_be_asked_is_refused_and_not_left_out(web: WebHouse, query: str) -> None:
    answer = web.client.get(f"/dicom-web/studies?{query}")

    assert (400, "bad_query") == (answer.status_code, answer.json()["code"])
    assert "CANARY" not in answer.text


@pytest.mark.parametrize(("attribute", "asked", "value", "expected"), [
    ("ScheduledProcedureStepStartDateTime", "20260301-20260302", "20260302173000", True),
    ("ScheduledProcedureStepStartDateTime", "20260301-20260302", "20260303000000", False),
    ("ScheduledProcedureStepStartDateTime", "2026", "20260303000000", True),
    ("SOPInstanceUID", "1.2\\1.3", "1.3", True), ("SOPInstanceUID", "1.*", "1.3", False),
    ("InstanceNumber", "3", 3, True), ("InstanceNumber", "x", 3, False), ("PatientID", "a[bc]*", "a[bc]d", True),
    ("PatientID", "a[bc]*", "ab", False), ("Modality", "CT\\MR", "MR", True),
])
def test_values_match(attribute: str, asked: str, value: Any, expected: bool) -> None:
    (tag,) = path_of(attribute)
    vr = {"ScheduledProcedureStepStartDateTime": "DT", "SOPInstanceUID": "UI", "InstanceNumber": "IS", "PatientID": "LO",
          "Modality": "CS"}[attribute]

    assert expected == Condition((tag,), vr, asked).holds({tag: {"vr": vr, "Value": [value]}})
