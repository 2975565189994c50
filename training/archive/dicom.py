"""DICOM objects of an archive: told by their heads, gathered into cases as serving gathers them, and opened."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from models.deidentify.words import echoes_of, is_maker, names
from models.dicom_bytes import DEFLATED, parse, whole_number
from models.dicom_pixels import text
from models.errors import UnusableInput
from models.read_dicom import header_of, read_dicom
from training.archive.cases import Found, Json, Opened
from training.archive.scored import Names
from training.archive.table import told_age

HEAD_BYTES = 1 << 20  # a header is in the first MiB, or the whole file is read
_TAGS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber", "PatientID", "Modality",
         "Rows", "NumberOfFrames", "ImagePositionPatient", "StudyDate"]
MADE_BY_PROGRAMS = ("1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.11", "1.2.840.10008.5.1.4.1.1.30")  # SEG, GSPS, maps
LONGEST_NAME = 64


@dataclass(frozen=True)
class Head:
    """What gathering needs of one object."""

    place: str = field(repr=False)
    ids: dict[str, str] = field(repr=False)
    series: str = field(repr=False)
    modality: str
    day: str  # of the study, YYYYMMDD
    is_image: bool
    sliced: bool  # one slice of a series


def read_head(data: bytes, place: str, whole: Callable[[], bytes]) -> Head | None:
    """Return the head of a DICOM file from its first bytes; None when it cannot be read, which opening will explain.

    ``whole`` is asked for all bytes when the first do not do.
    """
    dataset = _dataset(data, whole)
    if dataset is None:
        return None
    ids = {"sop": text(dataset, "SOPInstanceUID"), "study": text(dataset, "StudyInstanceUID"),
           "accession": text(dataset, "AccessionNumber"), "patient": text(dataset, "PatientID")}
    try:
        sliced = "ImagePositionPatient" in dataset and whole_number(dataset, "NumberOfFrames", 1) == 1
    except UnusableInput:
        sliced = False
    is_image = "Rows" in dataset and not text(dataset, "SOPClassUID").startswith(MADE_BY_PROGRAMS)
    return Head(place, ids, text(dataset, "SeriesInstanceUID"), text(dataset, "Modality").upper(), text(dataset, "StudyDate"),
                is_image, sliced)


def gather(heads: Sequence[Head], read: Callable[[str], bytes], left_out: Counter[str]) -> Iterator[Found]:
    """Yield cases: the slices of a series together, every other image alone, as models.read_dicom.group_instances does.

    An object that lies there twice is taken once. Two objects that differ under one SOP Instance UID make their case fail:
    nobody can tell which of them was meant.
    """
    cases: dict[str, list[Head]] = {}
    for head in heads:
        cases.setdefault(head.series if head.sliced and head.series else head.ids["sop"] or head.place, []).append(head)
    for name, group in cases.items():
        kept, bad = _once(group, read, left_out)
        first = kept[0]
        ids = {kind: one for kind, one in first.ids.items() if kind != "sop" or len(kept) == 1}
        if len(kept) == 1:
            ids["file"] = first.place
        yield Found(name, {"files": [one.place for one in kept]}, ids, _facts(first), bad, len(group))


def open_case(parts: Sequence[Path | bytes], naming: Names) -> Opened:
    """Read the files of one case. Raises UnusableInput as read_dicom does."""
    volume = read_dicom(parts)
    dataset = parse(parts[0])
    ids = {"study": text(dataset, "StudyInstanceUID"), "accession": text(dataset, "AccessionNumber"),
           "patient": text(dataset, "PatientID")}
    if len(parts) == 1:
        ids["sop"] = text(dataset, "SOPInstanceUID")
    return Opened(volume, ids, attributes_of(dataset, naming), tuple(parts))


def attributes_of(dataset: Dataset, naming: Names) -> Json:
    """Return what figures may be broken down by. Names of places become words of the key, which only the site can read back."""
    header = header_of(dataset)
    known = echoes_of([text(dataset, "PatientName"), text(dataset, "PatientID")])
    maker, device = header.manufacturer, text(dataset, "ManufacturerModelName")
    found: dict[str, Any] = {
        "sex": header.sex if header.sex in ("M", "F", "O") else "", "age_years": told_age(header.age_years),
        "view": _term(header.view), "modality": _term(header.modality), "body_part": _term(header.body_part),
        "manufacturer": maker if is_maker(maker) else coded("maker", maker, naming),
        "device": device if device.isascii() and len(device) <= LONGEST_NAME and not names(device, known) else "",
        "station": coded("station", text(dataset, "StationName"), naming),
        "institution": coded("institution", text(dataset, "InstitutionName"), naming),
        "year": _year(text(dataset, "StudyDate")),
    }
    return {name: value for name, value in found.items() if value not in ("", None)}


def coded(kind: str, name: str, naming: Names) -> str:
    """Return a short word for the name of a place, such as station-3f9a1c; "" of an empty one."""
    code = naming.hash(kind, name)
    return f"{kind}-{code[:6]}" if code else ""


def _dataset(data: bytes, whole: Callable[[], bytes]) -> Dataset | None:
    with suppress(Exception), warnings.catch_warnings():  # pydicom raises many unrelated classes on damaged files
        warnings.simplefilter("ignore")
        if DEFLATED.encode() in data:  # what it unpacks to is bounded there
            return parse(whole())
        return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=_TAGS)
    if len(data) >= HEAD_BYTES:
        with suppress(Exception):
            return parse(whole())
    return None


def _once(group: list[Head], read: Callable[[str], bytes], left_out: Counter[str]) -> tuple[list[Head], str]:
    """Return each object of a case once, and a code when two differ that say they are one."""
    seen: dict[str, tuple[Head, str]] = {}
    bad = ""
    for head in group:
        uid = head.ids["sop"] or head.place
        if uid not in seen:
            seen[uid] = head, ""
            continue
        first, known = seen[uid]
        known = known or hashlib.sha256(read(first.place)).hexdigest()
        seen[uid] = first, known
        if hashlib.sha256(read(head.place)).hexdigest() == known:
            left_out["duplicate"] += 1
        else:
            bad = "uid_of_two_objects"
    return [head for head, _ in seen.values()], bad


def _facts(head: Head) -> Json:
    """Return the attributes a case has even when it cannot be opened."""
    facts = {"modality": _term(head.modality), "year": _year(head.day)}
    return {name: value for name, value in facts.items() if value not in ("", None)}


def _term(word: str) -> str:
    """Return a coded string; "" of one that is none (PS3.5, VR CS): it could be anything."""
    return word if len(word) <= 16 and all(one.isascii() and (one.isalnum() or one in " _") for one in word) else ""


def _year(day: str) -> int | None:
    return int(day[:4]) if len(day) >= 4 and day[:4].isdecimal() else None
