"""Results as Comprehensive 3D SR: what was found with which certainty, or why nothing was assessed.

Findings of the whole image and volumes are in this report, zones drawn on the image in another (write_zones): viewers
that draw the zones of a report cannot show one that also holds findings without any.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContentItem,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from models.dicom_pixels import text
from models.explain.picture import advice_in
from models.prediction import Finding, Prediction, Refusal
from service.dicom import codes as words
from service.dicom.finish import title, tracking_uid
from service.dicom.inherit import side_of
from service.dicom.report import CONTAINS, algorithm, certainty, explained_by, label_of, notes, report, say_text
from service.dicom.source import first, frames
from service.dicom.told import Decline, NotAssessed, Told, Written

SIDES = {"R": codes.SCT.Right, "L": codes.SCT.Left, "B": codes.SCT.Bilateral}


def write_sr(told: Told, written: Sequence[Written]) -> list[Written]:
    """Write the report of the findings, or of why there are none."""
    if not isinstance(told.result, Prediction):
        return [report(told, written, [], _declines(told, told.result), "sr")]
    groups = [group for finding in told.result.findings for group in _finding(told, told.result, finding, written)]
    return [report(told, written, groups, _remarks(told, told.result), "sr")]


def _finding(told: Told, result: Prediction, finding: Finding, written: Sequence[Written]) -> list[Dataset]:
    if finding.kind == "volume":
        return _volume(told, result, finding, written)
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking_uid(told, finding.name), label_of(finding, told)),
        finding_type=words.concept(finding.code, label_of(finding, told)),
        algorithm_id=algorithm(told, result, finding),
        measurements=[certainty(finding)],
        qualitative_evaluations=_against_threshold(told, finding),
        source_images=[SourceImageForMeasurementGroup(*one) for one in _instances(told)],
    )
    if any(heatmap.finding == finding.name for heatmap in result.explanation.heatmaps):
        group[0].ContentSequence.extend(explained_by(finding, written))
    return list(group)


def _volume(told: Told, result: Prediction, finding: Finding, written: Sequence[Written]) -> list[Dataset]:
    """Return a volume with the segment it was counted in (TID 1411), or without when none was written (TID 1501)."""
    tracking = TrackingIdentifier(tracking_uid(told, finding.name), label_of(finding, told))
    unit = CodedConcept(finding.unit, "UCUM", finding.unit)
    made_by = algorithm(told, result, finding)
    measured = Measurement(codes.SCT.Volume, round(finding.value, 4), unit, algorithm_id=made_by)
    site = FindingSite(words.concept(finding.code), laterality=SIDES.get(side_of(first(told))))
    mask = result.explanation.mask
    segmentation = next((one for one in written if one.kind == "seg"), None)
    if mask is None or segmentation is None or finding.name not in mask.names:
        return list(MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking, finding_type=words.concept(finding.code), finding_sites=[site],
            measurements=[measured],
        ))
    number, images = mask.names.index(finding.name) + 1, _instances(told)
    if len(images) > 1:
        series = SourceSeriesForSegmentation(text(first(told), "SeriesInstanceUID"))
        segment = ReferencedSegment(segmentation.sop_class_uid, segmentation.sop_uid, number, source_series=series)
    else:
        source = SourceImageForSegmentation(*images[0])
        segment = ReferencedSegment(segmentation.sop_class_uid, segmentation.sop_uid, number, source_images=[source])
    return list(VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking, referenced_segment=segment, finding_type=words.concept(finding.code),
        finding_sites=[site], measurements=[measured],
    ))


def _against_threshold(told: Told, finding: Finding) -> list[QualitativeEvaluation]:
    if finding.above_threshold is None:
        return []
    language = told.device.language
    place = "above-threshold" if finding.above_threshold else "below-threshold"
    return [QualitativeEvaluation(words.ours("threshold-result", language), words.ours(place, language))]


def _remarks(told: Told, result: Prediction) -> list[ContentItem]:
    """Say how to read the explanation, what lowers trust, and what the result must not be used for."""
    must_not = told.manifest.intended_use.must_not if told.manifest else []
    return [
        *notes(told, result),
        *(say_text("remark", flag, told) for flag in result.flags),
        *(say_text("must-not", sentence, told) for sentence in must_not),
    ]


def _declines(told: Told, result: Refusal | NotAssessed) -> list[ContentItem]:
    """Say that nothing was assessed, and for each model why and what can be done."""
    language = told.device.language
    if isinstance(result, Refusal):
        name = f"{result.identity.model} {result.identity.version}"
        reasons: tuple[Decline, ...] = (Decline(name, title(told), str(result.reason), result.message, result.advice),)
        flags = result.flags
    else:
        reasons, flags = result.reasons, ()
    items: list[ContentItem] = [_coded("assessment", words.ours("not-assessed", language), told)]
    for one in reasons:
        named = f"{one.title} ({one.model}): " if one.model else ""
        items.append(_coded("reason", words.reason_concept(one.reason, language), told))
        items.append(say_text("reason-in-words", named + one.message, told))
        if one.advice:
            items.append(say_text("advice", advice_in(one.reason, one.advice, language), told))
    return [*items, *(say_text("remark", flag, told) for flag in flags)]


def _coded(name: str, value: CodedConcept, told: Told) -> CodeContentItem:
    return CodeContentItem(words.ours(name, told.device.language), value, relationship_type=CONTAINS)


def _instances(told: Told) -> list[tuple[str, str]]:
    """Return class and UID of every instance that was looked at, once."""
    return list(dict.fromkeys((frame.sop_class_uid, frame.sop_uid) for frame in frames(told)))
