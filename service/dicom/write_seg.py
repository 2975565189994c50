"""A segmentation as SEG: one binary segment a label, on the slices that were sent (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from models.explain.picture import LABEL_STYLES
from models.prediction import Prediction
from service.dicom import codes as words
from service.dicom.finish import (
    MANUFACTURER,
    SERIES_NUMBERS,
    finish,
    model_name,
    series_uid,
    software,
    sop_uid,
    tracking_uid,
)
from service.dicom.report import label_of
from service.dicom.source import point_at_sources, positioned, references
from service.dicom.told import Told, Written
from service.dicom.uids import uid_of


def write_seg(told: Told, written: Sequence[Written]) -> list[Written]:  # noqa: ARG001  one signature for all writers
    """Write the mask of a prediction; nothing when it has none."""
    if not isinstance(told.result, Prediction) or told.result.explanation.mask is None or told.volume is None:
        return []
    result, mask = told.result, told.result.explanation.mask
    findings = {finding.name: finding for finding in result.findings}
    algorithm = AlgorithmIdentificationSequence(
        name=result.identity.model, family=codes.DCM.ArtificialIntelligence, version=result.identity.version
    )
    segments = []
    for number, name in enumerate(mask.names, start=1):
        finding = findings[name]
        label = words.short(label_of(finding, told))
        segments.append(SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=words.category(finding.code),
            segmented_property_type=words.concept(finding.code),
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=tracking_uid(told, name),
            tracking_id=label,
            display_color=CIELabColor.from_string(LABEL_STYLES[(number - 1) % len(LABEL_STYLES)][0]),
        ))
    _, rows, columns = told.volume.shape
    segmentation = Segmentation(
        source_images=references(told, rows, columns),
        pixel_array=mask.labels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=series_uid(told, "seg"),
        series_number=SERIES_NUMBERS["seg"],
        sop_instance_uid=sop_uid(told, "seg"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=model_name(told),
        software_versions=software(told)[-1],
        device_serial_number=told.device.station,
        content_label="AI_CONTOURS",
        content_description=words.say("phrases", "contours", language=told.device.language),
        coding_schemes=[words.coding_scheme()],
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    point_at_sources(segmentation, told, same_grid=True)
    if not positioned(told):
        segmentation.ImageComments = words.say("phrases", "own-plane", language=told.device.language)
    name_dimensions(segmentation, uid_of(told.device.uid_root, segmentation.SOPInstanceUID, "dimensions"))
    return [finish(segmentation, told, "seg")]


def name_dimensions(dataset: object, uid: str) -> None:
    """Put a derived UID where highdicom drew a random one."""
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in getattr(dataset, sequence, ()):
            item.DimensionOrganizationUID = uid
