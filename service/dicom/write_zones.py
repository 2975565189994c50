"""The zones that weighed most, as a report of planar regions (TID 1410): they explain a score and outline no lesion."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    GraphicTypeValues,
    ImageRegion,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from models.prediction import Finding, Prediction
from service.dicom import codes as words
from service.dicom.finish import tracking_uid
from service.dicom.report import algorithm, certainty, explained_by, label_of, notes, report
from service.dicom.source import frames
from service.dicom.told import Told, Written
from service.dicom.zone import Zone, zones


def write_zones(told: Told, written: Sequence[Written]) -> list[Written]:
    """Write one region for each heat map; nothing when there is none."""
    if not isinstance(told.result, Prediction):
        return []
    findings = {finding.name: finding for finding in told.result.findings}
    groups = [
        group for zone in zones(told) for group in _zone(told, told.result, findings[zone.finding], zone, written)
    ]
    return [report(told, written, groups, notes(told, told.result), "sr-roi")] if groups else []


def _zone(told: Told, result: Prediction, finding: Finding, zone: Zone, written: Sequence[Written]) -> list[Dataset]:
    language = told.device.language
    image = frames(told)[0]
    numbers = None if image.number is None else [image.number]
    source = SourceImageForRegion(SecondaryCaptureImageStorage, image.sop_uid, referenced_frame_numbers=numbers)
    region = ImageRegion(GraphicTypeValues.POLYLINE, zone.outline_px, source)
    # Its own class comes after: highdicom knows no retired ones.
    region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPClassUID = image.sop_class_uid
    name = words.say("tracking", "zone", language=language, label=label_of(finding, told))
    meaning = QualitativeEvaluation(words.ours("region-meaning", language), words.ours("zone-of-influence", language))
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(tracking_uid(told, f"{finding.name} zone"), name),
        referenced_region=region,
        finding_type=words.concept(finding.code, label_of(finding, told)),
        algorithm_id=algorithm(told, result, finding),
        measurements=[certainty(finding)],
        qualitative_evaluations=[meaning],
    )
    group[0].ContentSequence.extend(explained_by(finding, written))
    return list(group)
