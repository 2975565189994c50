"""Arrival: bytes of a peer become the file that is kept and the facts it is kept by, or are refused with a code."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from models.dicom_bytes import outline
from models.errors import UnusableInput
from service.dicom.arrival import Arrival, arrive_dataset, arrive_file, levels
from service.dicom.storage import IMAGE_CLASSES
from service.dicom.values import Values
from tests.make import dicom_bytes, mr_series, radiograph_dataset, radiograph_pixels

SMALL = radiograph_pixels(16, 16)
UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def radiograph(**changes: Any) -> Dataset:
    return radiograph_dataset(SMALL, **changes)


def by_dimse(file: bytes, **announced: str) -> Arrival:
    """Hand over a file's dataset as C-STORE does."""
    found = outline(file)
    whole = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)
    named = {"sop_class_uid": str(whole.get("SOPClassUID", "")), "sop_uid": str(whole.get("SOPInstanceUID", "")), **announced}
    return arrive_dataset(file[found.start :], found.syntax, **named)


def refusal(dataset: Dataset | bytes) -> str:
    """Return the code a file is refused with, "taken" when it is not."""
    try:
        arrive_file(dataset if isinstance(dataset, bytes) else dicom_bytes(dataset))
    except UnusableInput as error:
        return error.code
    return "taken"


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda uid: uid.name)
def test_the_same_dataset_is_the_same_file_whichever_way_it_came(syntax: pydicom.uid.UID) -> None:
    file = dicom_bytes(radiograph(), syntax=syntax)
    stowed, stored = arrive_file(file), by_dimse(file)
    assert stowed == stored
    assert arrive_file(stowed.data) == stowed


def test_the_kept_file_is_whole_and_names_no_maker_but_us() -> None:
    data = arrive_file(dicom_bytes(radiograph())).data
    kept = pydicom.dcmread(io.BytesIO(data))
    assert kept.file_meta.ImplementationVersionName == "DIAPHANE"
    assert kept.file_meta.MediaStorageSOPInstanceUID == kept.SOPInstanceUID
    assert kept.file_meta.FileMetaInformationGroupLength == outline(data).start - 144
    assert kept.preamble == bytes(128)
    assert kept.PixelData == SMALL.tobytes()


def test_slices_are_a_case_by_series_and_other_images_by_themselves() -> None:
    slice_ = mr_series(np.zeros((1, 8, 8), dtype=np.int16))[0]
    cine = mr_series(np.zeros((1, 8, 8), dtype=np.int16), NumberOfFrames=2, PixelData=bytes(256))[0]
    found = [arrive_file(dicom_bytes(one)) for one in (slice_, cine, radiograph())]
    assert [(one.kind, one.case_key == one.series_uid, one.case_key == one.sop_uid) for one in found] == [
        ("slices", True, False), ("image", False, True), ("image", False, True),
    ]


def test_facts_are_those_of_the_header() -> None:
    dataset = radiograph(
        StudyDate="20260102", AccessionNumber=" A-17 ", PatientName="Müller^Ännchen", SpecificCharacterSet="ISO_IR 192",
    )
    found = arrive_file(dicom_bytes(dataset), priority=2, calling_ae="CT1", called_ae="DIAPHANE", association="f00d")
    assert (found.patient_name, found.patient_id, found.study_date, found.accession_number, found.modality) == (
        "Müller^Ännchen", "CANARI-0001", "20260102", "A-17", "DX",
    )
    assert (found.priority, found.calling_ae, found.called_ae, found.association) == (2, "CT1", "DIAPHANE", "f00d")
    assert found.study_attributes["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Ännchen"}]}
    assert found.study_attributes["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found.instance_attributes["00280010"] == {"vr": "US", "Value": [16]}
    assert "7FE00010" not in found.instance_attributes


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda uid: uid.name)
def test_dicom_json_is_what_pydicom_makes_of_it(syntax: pydicom.uid.UID) -> None:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = "S1", "R1"
    dataset = radiograph(
        RequestAttributesSequence=[item], SeriesNumber=7, InstanceNumber=3, StudyDate="20260102", StudyTime="101112.5",
        ReferringPhysicianName="Roe^Jane=Kanji=Kana", BodyPartExamined="CHEST", StudyID="", NumberOfFrames=1,
    )
    made = pydicom.dcmread(io.BytesIO(dicom_bytes(dataset, syntax=syntax))).to_json_dict()
    for level in levels(Values(outline(dicom_bytes(dataset, syntax=syntax)))):
        assert {tag: made[tag] for tag in level} == level


@pytest.mark.parametrize(("declared", "encoded", "expected"), [
    ("ISO_IR 100", "Göthe^J".encode("latin-1"), "Göthe^J"),
    (r"\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada^Tarou=山田^太郎"),
    ("ISO_IR 144", "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
    ("GB18030", "王^小东".encode("gb18030"), "王^小东"),
    ("NO SUCH SET", b"Roe^J", "Roe^J"),
    ("", b"Roe\x00\x07^J", "Roe^J"),
])
def test_names_are_read_in_the_character_set_they_declare(declared: str, encoded: bytes, expected: str) -> None:
    dataset = radiograph(PatientName="@" * 60)
    file = dicom_bytes(dataset)
    name = struct.pack("<HH2sH", 0x10, 0x10, b"PN", 60)
    file = file.replace(name + b"@" * 60, name + encoded.ljust(60))
    sets = declared.encode() + b" " * (len(declared) % 2)
    tag = struct.pack("<HH2sH", 8, 5, b"CS", len(sets)) + sets
    start = outline(file).start
    assert expected == arrive_file(file[:start] + tag + file[start:]).patient_name


REFUSED = {
    "sop class that is no image": (radiograph(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"), "not_an_image"),
    "image without pixels": (radiograph(PixelData=None), "not_an_image"),
    "no series": (radiograph(SeriesInstanceUID=None), "no_identifiers"),
    "empty instance uid": (radiograph(SOPInstanceUID=""), "no_identifiers"),
    "no study": (radiograph(StudyInstanceUID=None), "no_identifiers"),
    "no rows": (radiograph(Rows=0), "bad_pixel_description"),
    "frames that cannot be": (radiograph(NumberOfFrames=100_000, Rows=65535, Columns=65535), "too_many_pixels"),
    "text": (b"hello" * 100, "not_dicom"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_end_in_a_result_is_refused(name: str) -> None:
    dataset, code = REFUSED[name]
    assert code == refusal(dataset)


@pytest.mark.parametrize("uid", ["../evil", "1.2.3\\4", "1..2", ".1", "1.", "1" * 65, "١.٢", "1.2;rm"])
def test_a_uid_is_digits_and_dots(uid: str) -> None:
    value = uid.encode()
    value += b"\0" * (len(value) % 2)
    for keyword, tag in (("SOPInstanceUID", 0x00080018), ("SeriesInstanceUID", 0x0020000E), ("StudyInstanceUID", 0x0020000D)):
        dataset = radiograph()
        del dataset[keyword]
        file = dicom_bytes(dataset)
        start = outline(file).start
        element = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"UI", len(value)) + value
        assert "bad_uid" == refusal(file[:start] + element + file[start:])


def test_components_padded_with_zeros_are_taken_as_real_devices_send_them() -> None:
    assert "taken" == refusal(radiograph(SeriesInstanceUID="1.2.003.4"))


def test_a_dataset_must_be_the_announced_one() -> None:
    with pytest.raises(UnusableInput) as raised:
        by_dimse(dicom_bytes(radiograph()), sop_uid="1.2.3")
    assert "sop_mismatch" == raised.value.code
    with pytest.raises(UnusableInput) as raised:
        by_dimse(dicom_bytes(radiograph()), sop_class_uid=next(iter(IMAGE_CLASSES)))
    assert "sop_mismatch" == raised.value.code


def test_a_dataset_brings_no_file_meta_of_its_own() -> None:
    file = dicom_bytes(radiograph())
    smuggled = struct.pack("<HH2sH", 2, 0x100, b"UI", 6) + b"1.2.3\0"
    dataset = smuggled + file[outline(file).start :]
    with pytest.raises(UnusableInput) as raised:
        arrive_dataset(
            dataset, str(ExplicitVRLittleEndian), sop_class_uid=str(radiograph().SOPClassUID),
            sop_uid=str(radiograph().SOPInstanceUID),
        )
    assert "damaged_dicom" == raised.value.code


def test_a_syntax_we_do_not_decode_is_refused() -> None:
    file = dicom_bytes(radiograph()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.100\0")
    with pytest.raises(UnusableInput) as raised:
        arrive_dataset(
            file[outline(dicom_bytes(radiograph())).start :], "1.2.840.10008.1.2.4.100",
            sop_class_uid="1.2.3", sop_uid="1.2.3",
        )
    assert "unsupported_transfer_syntax" == raised.value.code


def test_a_deflated_bomb_is_refused_before_it_is_unpacked() -> None:
    file = dicom_bytes(radiograph(), syntax=DeflatedExplicitVRLittleEndian)
    start = outline(file).start
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = file[:start] + b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    began = time.process_time()
    assert "too_large" == refusal(bomb)
    assert time.process_time() - began < 2


def test_values_no_maker_may_write_cost_their_attribute_and_not_the_image() -> None:
    file = dicom_bytes(radiograph(SeriesNumber="123456", StudyDate="19990101"))
    broken = file.replace(b"123456", b"abcdef").replace(b"19990101", b"tomorrow")
    found = arrive_file(broken)
    assert found.series_attributes["00200011"] == {"vr": "IS"}
    assert found.study_date == ""


def test_long_texts_are_cut_to_what_their_vr_holds() -> None:
    dataset = radiograph()
    dataset["PatientID"].VR = "UT"
    dataset.PatientID = "9" * 5000
    assert len(arrive_file(dicom_bytes(dataset)).patient_id) == 64


def test_no_message_quotes_the_header() -> None:
    for dataset, _ in REFUSED.values():
        with pytest.raises(UnusableInput) as raised:
            arrive_file(dataset if isinstance(dataset, bytes) else dicom_bytes(dataset))
        assert "CANARI" not in str(raised.value)
