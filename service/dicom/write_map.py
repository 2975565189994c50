"""A heat map as Parametric Map of 32-bit numbers: what each place added to the score (PS3.3 A.75)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from models.prediction import Heatmap, Prediction
from models.volume import Volume
from service.dicom import codes as words
from service.dicom.finish import MANUFACTURER, SERIES_NUMBERS, finish, model_name, series_uid, software, sop_uid
from service.dicom.report import label_of
from service.dicom.source import point_at_sources, positioned, references
from service.dicom.told import Told, Written
from service.dicom.uids import uid_of
from service.dicom.write_seg import name_dimensions
from service.dicom.zone import draw


def write_map(told: Told, written: Sequence[Written]) -> list[Written]:  # noqa: ARG001  one signature for all writers
    """Write each heat map of a prediction; nothing when it has none: no finding is above its threshold."""
    if not isinstance(told.result, Prediction) or told.volume is None:
        return []
    findings = {finding.name: finding for finding in told.result.findings}
    return [
        _map(told, told.volume, heatmap, label_of(findings[heatmap.finding], told), number)
        for number, heatmap in enumerate(told.result.explanation.heatmaps, start=1)
    ]


def _map(told: Told, volume: Volume, heatmap: Heatmap, label: str, number: int) -> Written:
    drawn = draw(heatmap, volume)
    low, high = float(drawn.min()), float(drawn.max())
    meaning = RealWorldValueMapping(
        lut_label="contribution",
        lut_explanation=words.say("concepts", "influence", language=told.device.language),
        unit=codes.UCUM.NoUnits,
        value_range=(low, max(high, low + 1e-6)),
        slope=1.0,
        intercept=0.0,
        quantity_definition=codes.DCM.ClassActivation,
    )
    top = max(high, 1e-6)
    made = ParametricMap(
        source_images=references(told, *drawn.shape),
        pixel_array=drawn[None],
        series_instance_uid=series_uid(told, "map"),
        series_number=SERIES_NUMBERS["map"],
        sop_instance_uid=sop_uid(told, "map", heatmap.finding),
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=model_name(told),
        software_versions=software(told)[-1],
        device_serial_number=told.device.station,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[meaning],
        voi_lut_transformations=[VOILUTTransformation(window_center=top / 2, window_width=top)],
        content_label="AI_HEAT_MAP",
        content_description=words.short(words.say("tracking", "zone", language=told.device.language, label=label)),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    point_at_sources(made, told, same_grid=drawn.shape == volume.shape[1:])
    if not positioned(told):
        made.ImageComments = words.say("phrases", "own-plane", language=told.device.language)
    name_dimensions(made, uid_of(told.device.uid_root, made.SOPInstanceUID, "dimensions"))
    return replace(finish(made, told, "map", number=number), part=heatmap.finding)
