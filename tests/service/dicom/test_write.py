"""What all written objects have in common: same bytes again, same patient and order, our own names and dates."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from models.model import Model
from models.prediction import Prediction
from service.dicom.told import Told, Written
from service.dicom.write import write
from tests.make import dicom_bytes, mr_series, radiograph_dataset, radiograph_pixels, read_back, tiny_release
from tests.service.dicom.tell import FRENCH, hospital, not_assessed, told

IDENTIFYING = (
    "PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDsSequence", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "IssuerOfAccessionNumberSequence", "ReferringPhysicianName",
    "PatientWeight", "PatientComments", "BodyPartExamined",
)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("volumes"), "volume_segmentation"))


@pytest.fixture(scope="module")
def scored(chest: Model) -> Told:
    return told(chest, [hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))])


@pytest.fixture(scope="module")
def objects(scored: Told) -> list[Written]:
    return write(scored)


def test_what_a_report_refers_to_is_delivered_before_it(objects: list[Written], volumes: Model) -> None:
    assert ["capture", "map", "map", "sr", "sr-roi"] == [one.kind for one in objects]
    assert ["capture", "seg", "sr"] == [one.kind for one in write(told(volumes, mr_series()))]


def test_a_manifest_may_ask_for_less(scored: Told) -> None:
    assert scored.manifest is not None
    asked = scored.manifest.model_copy(update={"writes": ["sr"]})
    assert ["sr", "sr-roi"] == [one.kind for one in write(replace(scored, manifest=asked))]


def test_what_is_not_assessed_is_said_whatever_the_manifest_asks(chest: Model) -> None:
    refused = told(chest, [radiograph_dataset(Modality="MG")])
    assert refused.manifest is not None
    silent = replace(refused, manifest=refused.manifest.model_copy(update={"writes": []}))
    assert ["capture", "sr"] == [one.kind for one in write(refused)]
    assert ["sr"] == [one.kind for one in write(silent)]
    assert ["sr"] == [one.kind for one in write(not_assessed(radiograph_dataset()))]


def test_another_process_writes_the_same_bytes(
    chest: Model, volumes: Model, objects: list[Written], tmp_path: Path
) -> None:
    (tmp_path / "dx.dcm").write_bytes(dicom_bytes(hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))))
    for number, one in enumerate(mr_series()):
        (tmp_path / f"mr{number:02}.dcm").write_bytes(dicom_bytes(one))
    code = (
        "import sys, hashlib; from pathlib import Path; from models.model import Model\n"
        "from service.dicom.write import write; from tests.service.dicom.tell import told_of_files\n"
        "folder = Path(sys.argv[1])\n"
        "for release, files in ((sys.argv[2], 'dx*'), (sys.argv[3], 'mr*')):\n"
        "    told = told_of_files(Model(Path(release)), [p.read_bytes() for p in sorted(folder.glob(files))])\n"
        "    print(*(hashlib.sha256(one.data).hexdigest() for one in write(told)))\n"
    )
    command = [sys.executable, "-c", code, tmp_path, chest.folder, volumes.folder]
    there = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]).stdout.split()
    here = [hashlib.sha256(one.data).hexdigest() for one in (*objects, *write(told(volumes, mr_series())))]
    assert here == there


def test_another_revision_version_or_case_has_other_uids(chest: Model) -> None:
    kinds = ["sr", "map"]
    first = told(chest, [radiograph_dataset(radiograph_pixels(pneumonia=True))], writes=kinds)
    other = told(chest, [radiograph_dataset(radiograph_pixels(pneumonia=True), SOPInstanceUID="1.2.3")], writes=kinds)
    assert isinstance(first.result, Prediction)
    newer = replace(first.result, identity=replace(first.result.identity, version="1.0.1"))
    seen = [one for case in (first, replace(first, revision=2), replace(first, result=newer), other) for one in write(case)]
    assert (4 * 4, 4 * 3) == (len({one.sop_uid for one in seen}), len({one.series_uid for one in seen}))  # maps share one


def test_patient_study_and_order_are_those_of_the_source(objects: list[Written], scored: Told) -> None:
    source = scored.sources[0]
    for one in objects:
        made = read_back(one.data)
        assert {k: source[k].value for k in IDENTIFYING} == {k: made[k].value for k in IDENTIFYING}, one.kind


def test_the_national_identifier_keeps_its_qualifier(objects: list[Written]) -> None:
    for one in objects:
        item = read_back(one.data).OtherPatientIDsSequence[0]
        assert ("279035121518989", "1.2.250.1.213.1.4.10") == (
            item.PatientID, item.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID
        )


def test_images_name_their_order_and_reports_the_request_they_answer(objects: list[Written]) -> None:
    for one in objects:
        made = read_back(one.data)
        if one.kind.startswith("sr"):
            request = made.ReferencedRequestSequence[0]
            assert ("RP1", "ACC0001", "PLACER1", "36643-5") == (
                request.RequestedProcedureID, request.AccessionNumber, request.PlacerOrderNumberImagingServiceRequest,
                request.RequestedProcedureCodeSequence[0].CodeValue,
            )
        else:
            assert "RP1" == made.RequestAttributesSequence[0].RequestedProcedureID


def test_a_source_without_names_and_order_gives_empty_ones(chest: Model) -> None:
    bare = radiograph_dataset(PatientName=None, PatientID=None, PatientSex=None)
    for one in write(told(chest, [bare])):
        made = read_back(one.data)
        assert ("", "", "", "") == tuple(made.get(k, "absent") or "" for k in (
            "PatientName", "PatientID", "PatientBirthDate", "AccessionNumber"
        ))
        assert "ReferencedRequestSequence" not in made


@pytest.mark.parametrize(("stated", "kept"), [
    ("ISO_IR 100", "ISO_IR 100"), ("ISO_IR 192", "ISO_IR 192"), ("ISO_IR 144", "ISO_IR 192"), (None, "ISO_IR 192"),
])
def test_text_keeps_its_character_set_when_our_words_fit_in_it(chest: Model, stated: str | None, kept: str) -> None:
    name = "Иванов^Иван" if stated == "ISO_IR 144" else "CANARI^TEST" if stated is None else "NÉ^Élodie"
    source = radiograph_dataset(SpecificCharacterSet=stated, PatientName=name)
    made = read_back(write(told(chest, [source], writes=["sr"]))[-1].data)
    assert (kept, name) == (made.SpecificCharacterSet, str(made.PatientName))


def test_names_in_several_alphabets_survive(chest: Model) -> None:
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    source = radiograph_dataset(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)
    made = read_back(write(told(chest, [source], writes=["sr"]))[-1].data)
    assert ("ISO_IR 192", name) == (made.SpecificCharacterSet, str(made.PatientName))


def test_times_are_those_of_the_revision_in_the_zone_of_the_source(objects: list[Written], chest: Model) -> None:
    for one in objects:
        made = read_back(one.data)
        times = {str(made[k].value) for k in ("InstanceCreationTime", "SeriesTime", "ContentTime") if k in made}
        assert ({"233005"}, "+0100", "101500") == (times, made.TimezoneOffsetFromUTC, made.StudyTime)
    made = read_back(write(told(chest, [radiograph_dataset()], writes=["sr"]))[-1].data)
    assert ("223005", False) == (made.ContentTime, "TimezoneOffsetFromUTC" in made)


def test_a_later_revision_says_so(scored: Told) -> None:
    assert scored.manifest is not None
    reports = scored.manifest.model_copy(update={"writes": ["sr"]})
    later = write(replace(scored, manifest=reports, revision=2, made_at=scored.made_at + timedelta(hours=1)))
    assert {" (révision 2)"} == {read_back(one.data).SeriesDescription[-13:] for one in later}


def test_objects_say_what_made_them(objects: list[Written]) -> None:
    for one in objects:
        made = read_back(one.data)
        assert ("Diaphane", "tiny_chest", "CHU Exemple", "DIAPHANE") == (
            made.Manufacturer, made.ManufacturerModelName, made.InstitutionName, made.StationName
        )
        assert "tiny_chest 1.0.0" == made.SoftwareVersions[1]
        assert ("DIAPHANE", b"\0" * 128) == (made.file_meta.ImplementationVersionName, made.preamble)


def test_what_a_query_may_ask_is_told_beside_the_bytes(objects: list[Written]) -> None:
    for one in objects:
        made = read_back(one.data)
        assert (made.SOPInstanceUID, made.SOPClassUID, made.SeriesInstanceUID, made.StudyInstanceUID, made.Modality) == (
            one.sop_uid, one.sop_class_uid, one.series_uid, one.study_uid, one.modality
        )
        assert ("CANARI-0001", "CANARI-NÉ^Élodie", "20260301", "ACC0001") == (
            one.patient_id, one.patient_name, one.study_date, one.accession_number
        )
        assert one.study_uid == one.study_attributes["0020000D"]["Value"][0]
        assert one.series_uid == one.series_attributes["0020000E"]["Value"][0]
        assert one.sop_uid == one.instance_attributes["00080018"]["Value"][0]


def test_nothing_of_the_patient_is_in_our_own_words(objects: list[Written]) -> None:
    taken_over = set(IDENTIFYING) | {"OtherPatientIDsSequence", "RequestAttributesSequence", "ReferencedRequestSequence"}
    for one in objects:
        made = read_back(one.data)
        for keyword in taken_over & set(made.dir()):
            delattr(made, keyword)
        assert "CANARI" not in str(made), one.kind


def test_an_unreadable_attribute_is_left_out(chest: Model) -> None:
    source = told(chest, [radiograph_dataset(PatientBirthDate="20230301")], writes=["sr"])
    source.sources[0].add_new(0x00101010, "AS", "003Y")
    source.sources[0].add_new(0x00100032, "SQ", [])  # PatientBirthTime is no sequence
    made = read_back(write(source)[-1].data)
    assert ("20230301", False) == (made.PatientBirthDate, "PatientBirthTime" in made)


@pytest.mark.parametrize(("part", "side", "expected"), [
    ("CHEST", None, (None, None)), ("CHEST", "U", ("U", None)), ("KNEE", "R", ("R", None)), ("KNEE", None, (None, "")),
    (None, None, (None, "")), ("not a code!", None, (None, "")),
])
def test_a_side_is_stated_unknown_or_absent_as_the_part_asks(
    chest: Model, part: str | None, side: str | None, expected: tuple[str | None, str | None]
) -> None:
    source: Dataset = radiograph_dataset(BodyPartExamined=part, ImageLaterality=side)
    made = read_back(write(told(chest, [source], device=FRENCH))[0].data)
    assert expected == (made.get("ImageLaterality"), made.get("Laterality"))


def test_hashes_of_objects_differ_by_language_only_in_words(chest: Model) -> None:
    english = FRENCH.model_copy(update={"language": "en"})
    source = [radiograph_dataset()]
    both = [write(told(chest, source, device=device, writes=["sr"])) for device in (FRENCH, english)]
    assert [one.sop_uid for one in both[0]] == [one.sop_uid for one in both[1]]
    assert [hashlib.sha256(one.data).digest() for one in both[0]] != [hashlib.sha256(one.data).digest() for one in both[1]]
