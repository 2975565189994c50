"""Untrusted DICOM bytes → Arrival: a file as it will be kept, and the facts needed to keep it, checked before it is acknowledged.

Nothing is decoded and only the attributes below are read. The same dataset in the same transfer syntax gives the same
bytes whichever way it came: the preamble and the file meta information are ours.
"""

from __future__ import annotations

import hashlib
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

from models.dicom_bytes import DEFLATED, Outline, check_pixel_claims, outline, whole_number
from models.dicom_pixels import PIXEL_KEYWORDS
from models.errors import UnusableInput
from service.dicom.storage import IMAGE_CLASSES, TRANSFER_SYNTAXES
from service.dicom.values import Json, Values

# Ours for good: a version in it would make the same dataset another file after an update, and a new revision of its case.
IMPLEMENTATION_CLASS_UID = "2.25.151896203829302617043371286532106423189"
IMPLEMENTATION_VERSION = "DIAPHANE"

# PS3.18 tables 10.6.3-3, -4 and -5, without what the server itself says, and what a worklist shows beside them.
STUDY = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "TimezoneOffsetFromUTC", "PatientName",
    "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence", "PatientBirthDate",
    "PatientSex", "StudyInstanceUID", "StudyID", "StudyDescription",
)
SERIES = (
    "Modality", "TimezoneOffsetFromUTC", "SeriesDescription", "BodyPartExamined", "SeriesInstanceUID", "SeriesNumber",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "RequestAttributesSequence",
)
INSTANCE = (
    "SOPClassUID", "SOPInstanceUID", "TimezoneOffsetFromUTC", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
    "NumberOfFrames",
)
_PIXELS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", *PIXEL_KEYWORDS)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)  # PS3.5, 9.1; real devices do pad components with zeros
_MAX_UID = 64
_DEFLATED, _INFLATING = DEFLATED.encode(), threading.Lock()

@dataclass(frozen=True)
class Arrival:
    """One image that arrived whole. Its strings are cut to the lengths of their VR (PS3.5, 6.2)."""

    data: bytes  # the file as kept, PS3.10
    sha256: str  # of data
    sop_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    transfer_syntax: str
    modality: str
    kind: Literal["slices", "image"]
    case_key: str  # SeriesInstanceUID of a slice, SOPInstanceUID of an image that is a case of its own
    patient_id: str
    patient_name: str
    study_date: str
    accession_number: str
    study_attributes: Json  # DICOM JSON (PS3.18, annex F), as the two below
    series_attributes: Json
    instance_attributes: Json
    priority: int = 0  # 2 urgent, 1 high, 0 medium, -1 low
    calling_ae: str = ""
    called_ae: str = ""
    association: str = ""  # a random name made here


@dataclass(frozen=True)
class Way:
    """How an image came."""

    priority: int = 0
    calling_ae: str = ""
    called_ae: str = ""
    association: str = ""


def front(sop_class_uid: str, sop_uid: str, transfer_syntax: str) -> bytes:
    """Return what a kept file starts with: preamble, prefix and file meta information (PS3.10, 7.1).

    Raises UnusableInput when a UID has not the form of one, or the transfer syntax is none we decode.
    """
    _check_uid("SOP Class UID", sop_class_uid)
    _check_uid("SOP Instance UID", sop_uid)
    if transfer_syntax not in TRANSFER_SYNTAXES:
        raise UnusableInput(
            "The transfer syntax must be one whose pixels Diaphane decodes, found another. Send the image uncompressed.",
            code="unsupported_transfer_syntax",
        )
    return _front(sop_class_uid, sop_uid, transfer_syntax)


def arrive_dataset(
    dataset: bytes, transfer_syntax: str, *, sop_class_uid: str, sop_uid: str, priority: int = 0,
    calling_ae: str = "", called_ae: str = "", association: str = "",
) -> Arrival:
    """Check a dataset that came without file meta information, under the UIDs it was announced by. Raises UnusableInput."""
    start = front(sop_class_uid, sop_uid, transfer_syntax)
    return arrive_behind_front(
        b"".join((start, dataset)), len(start),
        Way(priority=priority, calling_ae=calling_ae, called_ae=called_ae, association=association),
    )


def arrive_behind_front(data: bytes, start: int, way: Way) -> Arrival:
    """Check a dataset that was put behind ``front``, of ``start`` bytes, as it came: so that it is copied once.

    Raises UnusableInput; code sop_mismatch when the dataset is of another class or instance than the front says.
    """
    with _outlined(data) as found:
        if found.start != start:
            raise UnusableInput(
                "A dataset must begin after group 0002 (PS3.7, 6.3.1), found file meta information. Send the dataset alone.",
                code="damaged_dicom",
            )
        values = Values(found)
        if _front(values.text("SOPClassUID"), values.text("SOPInstanceUID"), found.syntax) != data[:start]:
            raise UnusableInput(
                "SOPClassUID and SOPInstanceUID must be those the image was announced by, found others. Send it again.",
                code="sop_mismatch",
            )
        return _arrival(data, found.syntax, values, way)


def arrive_file(
    data: bytes, *, priority: int = 0, calling_ae: str = "", called_ae: str = "", association: str = ""
) -> Arrival:
    """Check a whole DICOM file (PS3.10). Raises UnusableInput."""
    way = Way(priority=priority, calling_ae=calling_ae, called_ae=called_ae, association=association)
    with _outlined(data) as found:
        values = Values(found)
        start = front(values.text("SOPClassUID"), values.text("SOPInstanceUID"), found.syntax)
        return _arrival(b"".join((start, memoryview(data)[found.start :])), found.syntax, values, way)


def levels(values: Values) -> tuple[Json, Json, Json]:
    """Return what QIDO-RS shows of study, series and instance, as DICOM JSON."""
    return values.json(STUDY), values.json(SERIES), values.json(INSTANCE)


@contextmanager
def _outlined(data: bytes) -> Iterator[Outline]:
    """Outline a file; what is deflated one at a time, for it may grow fifty times while it is looked at."""
    with _INFLATING if _DEFLATED in data else nullcontext():
        yield outline(data)


def _arrival(data: bytes, syntax: str, values: Values, way: Way) -> Arrival:
    sop_class_uid, sop_uid = values.text("SOPClassUID"), values.text("SOPInstanceUID")
    if sop_class_uid not in IMAGE_CLASSES or not any(keyword in values for keyword in PIXEL_KEYWORDS):
        raise UnusableInput(
            "The object must be an image with pixels (an image storage class of PS3.4, B.5), found another. "
            "Send the images of the study.",
            code="not_an_image",
        )
    series_uid, study_uid = values.text("SeriesInstanceUID"), values.text("StudyInstanceUID")
    _check_uid("SeriesInstanceUID", series_uid)
    _check_uid("StudyInstanceUID", study_uid)
    pixels = values.dataset(_PIXELS)
    check_pixel_claims(pixels)
    sliced = "ImagePositionPatient" in values and whole_number(pixels, "NumberOfFrames", 1) == 1
    study, series, instance = levels(values)
    return Arrival(
        data=data, sha256=hashlib.sha256(data).hexdigest(), sop_uid=sop_uid, sop_class_uid=sop_class_uid,
        series_uid=series_uid, study_uid=study_uid, transfer_syntax=syntax, modality=values.text("Modality").upper(),
        kind="slices" if sliced else "image", case_key=series_uid if sliced else sop_uid,
        patient_id=values.text("PatientID"), patient_name=values.text("PatientName"),
        study_date=_date(values.text("StudyDate")), accession_number=values.text("AccessionNumber"),
        study_attributes=study, series_attributes=series, instance_attributes=instance,
        priority=way.priority, calling_ae=way.calling_ae, called_ae=way.called_ae, association=way.association,
    )


def _front(sop_class_uid: str, sop_uid: str, syntax: str) -> bytes:
    meta = _element(0x01, b"OB", b"\0\1") + b"".join(
        _element(number, b"SH" if number == 0x13 else b"UI", value.encode("ascii", "replace"))
        for number, value in (
            (0x02, sop_class_uid), (0x03, sop_uid), (0x10, syntax), (0x12, IMPLEMENTATION_CLASS_UID),
            (0x13, IMPLEMENTATION_VERSION),
        )
    )
    return b"\0" * 128 + b"DICM" + _element(0x00, b"UL", struct.pack("<I", len(meta))) + meta


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    length = struct.pack("<HI", 0, len(value)) if vr == b"OB" else struct.pack("<H", len(value))
    return struct.pack("<HH", 2, number) + vr + length + value


def _check_uid(name: str, uid: str) -> None:
    if not uid:
        raise UnusableInput(f"{name} must be there, found none. Send the image as its maker wrote it.", code="no_identifiers")
    if len(uid) > _MAX_UID or not _UID.fullmatch(uid):
        raise UnusableInput(
            f"{name} must be digits and dots, at most {_MAX_UID} characters (PS3.5, 9.1), found another form. Correct the header.",
            code="bad_uid",
        )


def _date(text: str) -> str:
    """Return YYYYMMDD, also of the older YYYY.MM.DD (PS3.5, 6.2), "" of anything else."""
    digits = text.replace(".", "")
    return digits if len(digits) == 8 and digits.isascii() and digits.isdigit() else ""
