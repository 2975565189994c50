"""The reports of a result once more, verified by a professional: the same content where it was accepted, corrected where not.

Each is a new document that names the one it replaces (Predecessor Documents, PS3.3 C.17.2.3) and keeps the tracking UIDs of
its findings. What AI gave and the reader did not accept stands there in words only: no figure of it can be taken for verified.
Regions the reader drew are in the report of regions, never in the one of findings of the whole image (see write_sr).
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from models.dicom_pixels import text
from service.assessment import Assessment, FindingAssessment, Region
from service.dicom import codes as words
from service.dicom.finish import SERIES_NUMBERS, encode
from service.dicom.inherit import character_set
from service.dicom.stamp import moment_of, observers, stamp, verify
from service.dicom.told import Kind, Written
from service.dicom.uids import uid_of
from service.site import Device

CONTAINS = RelationshipTypeValues.CONTAINS
GROUP, TRACKING, TRACKING_UID, FINDING, SITE = "125007", "112039", "112040", "121071", "363698007"
MEASUREMENTS, QUALITIES, NOTICE = "126010", "C0034375", "notice"
PRESENCE = {True: codes.SCT.Present, False: codes.SCT.Absent}  # PS3.16, CID 240


@dataclass(frozen=True)
class Report:
    """A report as it was sent: the file, and whether it is that of findings or that of regions."""

    kind: Kind  # sr | sr-roi
    data: bytes


@dataclass(frozen=True)
class Verified:
    """All that the verified reports are written from. ``number`` is the verdict's; ``replaced`` what an earlier one made."""

    assessment: Assessment
    number: int
    case_key: str
    model: str  # its name, without the version
    reason: CodedConcept | None
    reports: Sequence[Report]
    replaced: Sequence[Dataset]  # headers of verified reports that these take the place of
    device: Device


def write_verified(one: Verified) -> list[Written]:
    """Write the report of findings, and that of regions when any is left or drawn."""
    by_kind = {report.kind: _read(report.data) for report in one.reports}
    report, zones = by_kind.get("sr"), by_kind.get("sr-roi")
    if report is None:
        return []
    concepts = {uid: item for group in _groups(report)
                if (uid := _uid(group)) and (item := _item(group, FINDING)) is not None}
    written = [_finish(one, _revised(one, report, _findings(one, report)), "verified", report)]
    regions = _regions(one, zones or report, concepts)
    if regions:
        written.append(_finish(one, _revised(one, zones or report, regions), "verified-roi", zones or report))
    return written


def _read(data: bytes) -> Dataset:
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.decode()
    return dataset


def _revised(one: Verified, source: Dataset, groups: Sequence[Dataset]) -> Dataset:
    made = copy.deepcopy(source)
    _replace_groups(made, groups)
    _add_observers(made, one)
    _replace_notice(made, one)
    return made


# Groups of findings and of regions ------------------------------------------------------------------------------------


def _findings(one: Verified, source: Dataset) -> list[Dataset]:
    """Return each group as it was where the reader does not contradict it, else anew with what the reader says instead."""
    by_uid = {_tracked(one, finding.name): finding for finding in one.assessment.findings}
    made = []
    for group in _groups(source):
        said = by_uid.get(_uid(group))
        if said is None:
            made.append(group)
        else:
            made.append(_changed(one, group, said) if said.contradicts else _accepted(one, group, said))
    return made


def _accepted(one: Verified, group: Dataset, said: FindingAssessment) -> Dataset:
    kept = copy.deepcopy(group)
    kept.ContentSequence = [*kept.ContentSequence, *(item for told in _evaluations(one, said) for item in told)]
    return kept


def _changed(one: Verified, group: Dataset, said: FindingAssessment) -> Dataset:
    """Write a group with the reader's word: no certainty and no algorithm, for AI did not say this."""
    measured = []
    if said.value is not None and said.kind == "volume":
        measured = [Measurement(codes.SCT.Volume, round(said.value, 4), CodedConcept(said.unit, "UCUM", said.unit))]
    finding = _item(group, FINDING)
    anew = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(_uid(group), _label(group)), measurements=measured,
        finding_type=None if finding is None else _concept(finding), qualitative_evaluations=_evaluations(one, said),
    )[0]
    items = list(anew.ContentSequence)
    site = _item(group, SITE)
    if site is not None:
        items.insert(next(place for place, item in enumerate(items) if _name_of(item) == FINDING) + 1, copy.deepcopy(site))
    plain = Dataset()  # highdicom's own takes only items of its own
    plain.update({element.tag: element for element in anew})
    plain.ContentSequence = [*items, _text(words.ours("value-of-ai", one.device.language), _given_by_ai(one, said))]
    return plain


def _regions(one: Verified, source: Dataset, concepts: Mapping[str, Dataset]) -> list[Dataset]:
    """Return the zones of accepted findings as they were, and the regions the reader drew; those of others are left out."""
    made = []
    zones = {_uid(group): group for group in _groups(source)}
    for finding in one.assessment.findings:
        zone = zones.get(_tracked(one, f"{finding.name} zone"))
        if finding.regions:
            concept = concepts.get(_tracked(one, finding.name))
            made += [_drawn(one, source, concept, finding, region, number) for number, region in enumerate(finding.regions)]
        elif zone is not None and finding.taken == "accepted":
            made.append(_accepted(one, zone, finding))
    return made


def _drawn(one: Verified, source: Dataset, concept: Dataset | None, said: FindingAssessment, region: Region, number: int) -> Dataset:
    language = one.device.language
    points = np.array([*region.points, region.points[0]], dtype=np.float64)
    frames = None if region.frame is None else [region.frame]
    image = SourceImageForRegion(SecondaryCaptureImageStorage, region.sop_uid, referenced_frame_numbers=frames)
    outline = ImageRegion(GraphicTypeValues.POLYLINE, points, image)
    # Its own class comes after: highdicom knows no retired ones.
    outline.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPClassUID = _class_of(source, region.sop_uid)
    part = f"{said.name} zone" if number == 0 else f"{said.name} region {number + 1}"
    label = said.name if concept is None else _concept(concept).meaning
    group: Dataset = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            _tracked(one, part), words.short(words.say("tracking", "region", language=language, label=label))),
        referenced_region=outline,
        finding_type=None if concept is None else _concept(concept),
        qualitative_evaluations=[
            QualitativeEvaluation(words.ours("region-meaning", language), words.ours("region-by-reader", language)),
            *_evaluations(one, said),
        ],
    )[0]
    return group


def _evaluations(one: Verified, said: FindingAssessment) -> list[QualitativeEvaluation]:
    language = one.device.language
    told = [QualitativeEvaluation(words.ours("reader-verdict", language), words.ours(said.taken, language))]
    if said.present is not None:
        told.append(QualitativeEvaluation(words.ours("reader-finding", language), PRESENCE[said.present]))
    return told


def _given_by_ai(one: Verified, said: FindingAssessment) -> str:
    if said.ai_value is None:
        return "-"
    shown = f"{100 * said.ai_value:.1f} %" if said.kind == "probability" else f"{said.ai_value:.2f} {said.unit}"
    if said.ai_present is None:
        return shown
    return f"{shown}, {words.say('phrases', 'present' if said.ai_present else 'absent', language=one.device.language)}"


# The rest of the document ---------------------------------------------------------------------------------------------


def _replace_groups(document: Dataset, groups: Sequence[Dataset]) -> None:
    container = _item(document, MEASUREMENTS)
    if container is not None and groups:
        container.ContentSequence = list(groups)
    elif container is not None:
        document.ContentSequence = [item for item in document.ContentSequence if item is not container]


def _add_observers(document: Dataset, one: Verified) -> None:
    """Put the people beside the device (TID 1001): it observed first, they after it."""
    items = list(document.ContentSequence)
    last = max(place for place, item in enumerate(items) if text(item, "RelationshipType") == "HAS OBS CONTEXT")
    people = [item for observer in observers(one.assessment.readers, one.device) for item in observer]
    document.ContentSequence = [*items[: last + 1], *people, *items[last + 1 :]]


def _replace_notice(document: Dataset, one: Verified) -> None:
    """Say that a person verified it, where it said that nobody had; then why, and what they add."""
    language, said = one.device.language, one.assessment
    verdict = words.say("phrases", said.decision, language=language)
    notice = words.ours("notice", language)
    told = [_text(notice, words.say("phrases", "verified", language=language, verdict=verdict))]
    if one.reason is not None:
        told.append(CodeContentItem(words.ours("reason-of-reader", language), one.reason, relationship_type=CONTAINS))
    if said.comment:
        told.append(_text(CodedConcept(codes.DCM.Comment.value, "DCM", codes.DCM.Comment.meaning), said.comment))
    container = _item(document, QUALITIES)
    if container is not None:
        container.ContentSequence = [*told, *(item for item in container.ContentSequence if _name_of(item) != NOTICE)]


def _finish(one: Verified, document: Dataset, kind: Kind, source: Dataset) -> Written:
    moment = moment_of(one.assessment, one.device, source)
    verify(document, one.assessment, one.device, moment)
    before = [header for header in one.replaced if text(header, "SeriesInstanceUID") == _series(one, source, kind)]
    document.PredecessorDocumentsSequence = _predecessors([source, *before])
    stamp(
        document, one.device, moment, series_uid=_series(one, source, kind), number=one.number, series=SERIES_NUMBERS[kind],
        sop_uid=uid_of(one.device.uid_root, text(source, "SOPInstanceUID"), kind, "instance", one.number),
        description=words.short(words.say("series", kind, language=one.device.language) + one.model, most=words.LONGEST_TEXT),
    )
    document.SpecificCharacterSet = character_set(document, source)
    return encode(document, kind)


def _series(one: Verified, source: Dataset, kind: Kind) -> str:
    """Return the series of one kind of verified report of a result: its later versions lie beside it."""
    return uid_of(one.device.uid_root, text(source, "SOPInstanceUID"), kind, "series")


def _predecessors(documents: Sequence[Dataset]) -> list[Dataset]:
    """Refer to documents as PS3.3 table C.17-2 does; those of one study are in one item."""
    study = Dataset()
    study.StudyInstanceUID = text(documents[0], "StudyInstanceUID")
    series: dict[str, Dataset] = {}
    for document in documents:
        item = series.setdefault(text(document, "SeriesInstanceUID"), Dataset())
        item.SeriesInstanceUID = text(document, "SeriesInstanceUID")
        referenced = Dataset()
        referenced.ReferencedSOPClassUID = text(document, "SOPClassUID")
        referenced.ReferencedSOPInstanceUID = text(document, "SOPInstanceUID")
        item.ReferencedSOPSequence = [*item.get("ReferencedSOPSequence", ()), referenced]
    study.ReferencedSeriesSequence = list(series.values())
    return [study]


# Reading a report of ours ---------------------------------------------------------------------------------------------


def _groups(document: Dataset) -> list[Dataset]:
    container = _item(document, MEASUREMENTS)
    return [] if container is None else [item for item in container.get("ContentSequence", ()) if _name_of(item) == GROUP]


def _item(parent: Dataset, name: str) -> Dataset | None:
    return next((item for item in parent.get("ContentSequence", ()) if _name_of(item) == name), None)


def _name_of(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence") or []
    return text(names[0], "CodeValue") if names else ""


def _uid(group: Dataset) -> str:
    item = _item(group, TRACKING_UID)
    return "" if item is None else text(item, "UID")


def _label(group: Dataset) -> str:
    item = _item(group, TRACKING)
    return "-" if item is None else text(item, "TextValue")


def _concept(item: Dataset) -> CodedConcept:
    found: CodedConcept = CodedConcept.from_dataset(item.ConceptCodeSequence[0])
    return found


def _class_of(document: Dataset, sop_uid: str) -> str:
    """Return the class of an image the report names, as the report says it."""
    for study in document.get("CurrentRequestedProcedureEvidenceSequence", ()):
        for series in study.ReferencedSeriesSequence:
            for item in series.ReferencedSOPSequence:
                if sop_uid == item.ReferencedSOPInstanceUID:
                    return text(item, "ReferencedSOPClassUID")
    raise ValueError("a region must lie on an image of the report")


def _tracked(one: Verified, part: str) -> str:
    """Return what the writers track a finding by (service.dicom.finish.tracking_uid)."""
    return uid_of(one.device.uid_root, one.case_key, one.model, "tracking", part)


def _text(name: CodedConcept, value: str) -> TextContentItem:
    return TextContentItem(name, value or "-", relationship_type=CONTAINS)
