"""What a report may say of a study: facts of its headers, and its results as the store keeps them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any, Literal

from pydicom.dataset import Dataset

from models.dicom_pixels import numbers, text
from models.manifest import Code
from service.assessment import FindingAssessment
from service.dicom.inherit import offset_of, side_of
from service.facts import facts_of
from service.identity import Person
from service.persons import person_of_dataset
from service.reporting.validated import Number
from service.words import Language

TERMS: dict[str, dict[str, dict[str, str]]] = json.loads(Path(__file__).with_name("terms.json").read_text("utf-8"))
_SCHEMES = {"LN": "http://loinc.org", "SCT": "http://snomed.info/sct", "CCAM": "urn:oid:1.2.250.1.215.300.1", "DCM":
            "http://dicom.nema.org/resources/ontology/DCM"}
Status = Literal["scored", "refused", "unfit", "unusable", "failed", "opposed", "not_live", "pending"]


@dataclass(frozen=True)
class StudyResult:
    """One result of the newest revision of a case; ``summary`` is the result as JSON. Status pending: not there yet.

    ``id`` is its row in the store, None when it has none.
    """

    id: int | None
    case: int  # number of the case in the study, from 1
    model: str  # release id, "none"
    status: Status
    summary: dict[str, Any] = field(default_factory=dict)
    made_at: float = 0.0
    corrected: tuple[FindingAssessment, ...] = ()  # as a professional left them, where one corrected the result


@dataclass(frozen=True)
class Acquisition:
    """How the images of one case were made, as their headers state it; "" and None are not stated."""

    modality: str
    body_part: str
    view: str
    side: str
    images: int
    spacing_mm: float | None  # between slices
    contrast: bool | None
    modality_code: str = ""


@dataclass(frozen=True)
class Study:
    """One study: who, what was asked, how it was made."""

    uid: str
    person: Person
    cases: tuple[Acquisition, ...]
    description: str = ""
    reason: str = ""
    history: str = ""
    referrer: str = ""
    studied_at: datetime | None = None
    accession: Number | None = None
    placer_order: Number | None = None
    procedures: tuple[Code, ...] = ()

    @property
    def modality(self) -> str:
        """The DICOM code of the first case."""
        return self.cases[0].modality_code if self.cases else ""


def study_of(uid: str, firsts: Sequence[Dataset], counts: Sequence[int], *, zone: tzinfo | None = None) -> Study:
    """Read a study from the header of the first image of each case; ``counts`` is how many images each case has.

    ``zone`` is that of times whose header states none.
    """
    if not firsts:
        return Study(uid, Person.nobody(), ())
    head = firsts[0]
    requests = _items(head, "RequestAttributesSequence")
    request = requests[0] if requests else Dataset()
    return Study(
        uid=uid, person=person_of_dataset(head),
        cases=tuple(_acquisition(one, count) for one, count in zip(firsts, counts, strict=True)),
        description=_one(request, "RequestedProcedureDescription") or _one(head, "RequestedProcedureDescription")
        or _one(head, "StudyDescription"),
        reason=_one(request, "ReasonForTheRequestedProcedure") or _one(head, "ReasonForTheRequestedProcedure")
        or _one(head, "ReasonForStudy") or _one(head, "AdmittingDiagnosesDescription"),
        history=_one(head, "AdditionalPatientHistory"),
        referrer=_person_name(_one(head, "ReferringPhysicianName")),
        studied_at=_studied_at(head, zone),
        accession=_number(head, "AccessionNumber", "IssuerOfAccessionNumberSequence"),
        placer_order=_number(request, "PlacerOrderNumberImagingServiceRequest", "OrderPlacerIdentifierSequence")
        or _number(head, "PlacerOrderNumberImagingServiceRequest", "OrderPlacerIdentifierSequence"),
        procedures=tuple(_codes(request, "RequestedProcedureCodeSequence") or _codes(head, "ProcedureCodeSequence")),
    )


def term(kind: str, word: str, language: Language) -> str:
    """Return what readers call a word of DICOM: "thorax" for CHEST; the word itself in small letters when it is not known."""
    known = TERMS[kind].get(word.upper())
    return known[language] if known else word.lower()


def _acquisition(header: Dataset, count: int) -> Acquisition:
    facts = facts_of([header], complete=False)
    words = {name: facts.words.get(name, ()) for name in ("modality", "body_part", "view")}
    spacing = numbers(header, "SpacingBetweenSlices") or numbers(header, "SliceThickness")
    frames = numbers(header, "NumberOfFrames")
    modality = text(header, "Modality").upper()
    return Acquisition(
        modality=modality, body_part=(words["body_part"] or ("",))[0].upper(), view=(words["view"] or ("",))[0].upper(),
        side=side_of(header), images=int(frames[0]) if count == 1 and frames and frames[0] >= 1 else count,
        spacing_mm=float(spacing[0]) if spacing and spacing[0] > 0 else None, contrast=facts.contrast, modality_code=modality,
    )


def _studied_at(header: Dataset, zone: tzinfo | None) -> datetime | None:
    day = text(header, "StudyDate")
    time = re.sub(r"[^0-9]", "", text(header, "StudyTime").partition(".")[0]).ljust(6, "0")[:6]
    offset: timedelta | None = offset_of(header)
    try:
        when = datetime.strptime(day + time, "%Y%m%d%H%M%S")
        stated = zone if offset is None else timezone(offset)
        return when.replace(tzinfo=stated) if stated else when.astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def _number(dataset: Dataset, keyword: str, issuers: str) -> Number | None:
    value = _one(dataset, keyword)
    if not value:
        return None
    issuer = next(iter(_items(dataset, issuers)), Dataset())
    oid = _one(issuer, "UniversalEntityID") if _one(issuer, "UniversalEntityIDType").upper() in ("ISO", "") else ""
    return Number(value, oid, _one(issuer, "LocalNamespaceEntityID"))


def _codes(dataset: Dataset, keyword: str) -> list[Code]:
    found = []
    for one in _items(dataset, keyword):
        value, scheme = _one(one, "CodeValue"), _one(one, "CodingSchemeDesignator")
        if value and scheme:
            found.append(Code(system=_SCHEMES.get(scheme, scheme), code=value, display=_one(one, "CodeMeaning")))
    return sorted(found, key=lambda code: code.system != _SCHEMES["LN"])


def _person_name(written: str) -> str:
    parts = [part.strip() for part in written.partition("=")[0].split("^")]
    return " ".join(filter(None, parts[:2]))


def _one(dataset: Dataset, keyword: str) -> str:
    return text(dataset, keyword).strip()


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    try:
        return list(dataset.get(keyword) or [])
    except Exception:  # lazily converted by pydicom: any class
        return []
