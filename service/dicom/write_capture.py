"""The picture of a result as Secondary Capture, for viewers that show nothing else: source, overlay, words, notice."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence

import numpy as np
from highdicom.sc import SCImage
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from models.dicom_pixels import text
from models.explain import picture
from models.prediction import Prediction, Refusal
from service.dicom.finish import MANUFACTURER, SERIES_NUMBERS, finish, series_uid, sop_uid
from service.dicom.source import evidence, first
from service.dicom.told import Told, Written

_DRAWING = threading.Lock()  # matplotlib's font cache is shared by all figures


def write_capture(told: Told, written: Sequence[Written]) -> list[Written]:  # noqa: ARG001  one signature for all writers
    """Write what a physician sees: a score with its explanation, or a refusal with its reason. Nothing identifies."""
    if not isinstance(told.result, Prediction | Refusal):
        return []
    with _DRAWING:
        png = picture.draw(told.result, told.volume, language=told.device.language, dark=True)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    capture = SCImage(
        pixel_array=pixels, photometric_interpretation="RGB", bits_allocated=8, coordinate_system="PATIENT",
        patient_orientation=("L", "F"), study_instance_uid=text(first(told), "StudyInstanceUID"),
        series_instance_uid=series_uid(told, "capture"), series_number=SERIES_NUMBERS["capture"],
        sop_instance_uid=sop_uid(told, "capture"), instance_number=1, manufacturer=MANUFACTURER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    capture["PatientOrientation"].value = ""  # a picture with words has none
    capture.BurnedInAnnotation = "NO"  # the words name model and finding, nobody
    capture.ConversionType = "WSD"
    capture.SourceImageSequence = [_referenced(one) for one in evidence(told)]
    return [finish(capture, told, "capture")]


def _referenced(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item
