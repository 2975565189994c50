"""No source that the reader accepts makes a writer fail: odd headers, missing ones, and every image of the DICOM zoo."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from models.errors import UnusableInput
from models.model import Model
from models.prediction import Explanation, Finding, Heatmap, Mask, Prediction
from models.read_dicom import read_dicom
from models.volume import Volume
from service.dicom.told import Told
from service.dicom.write import write
from tests.make import data_root, dicom_bytes, mr_series, needs_data, radiograph_dataset, read_back, tiny_release
from tests.service.dicom.tell import FRENCH, MADE_AT, header

ODD_TEXT = st.text(max_size=80) | st.sampled_from(("", " ", "\\", "a\\b", "^", "=^=", "\x00", "\x1b$B", "é" * 70))
ODD_KEYWORDS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "StudyDescription", "ReferringPhysicianName", "BodyPartExamined", "Laterality", "ImageLaterality",
    "TimezoneOffsetFromUTC", "PatientOrientation", "FrameOfReferenceUID", "PositionReferenceIndicator", "PatientWeight",
)
CHARACTER_SETS = st.sampled_from(
    ("", "ISO_IR 100", "ISO_IR 192", "ISO_IR 144", "GB18030", "nonsense", ["", "ISO 2022 IR 87"], ["ISO 2022 IR 149", "x"])
)
ODD = st.fixed_dictionaries({}, optional={"SpecificCharacterSet": CHARACTER_SETS, **dict.fromkeys(ODD_KEYWORDS, ODD_TEXT)})


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("volumes"), "volume_segmentation"))


def _predicted(model: Model, volume: Volume, headers: list[Dataset]) -> Told:
    """Tell of a score with an explanation, whatever the image: no gate stands between it and the writers."""
    outputs = model.manifest.outputs
    findings = tuple(
        Finding(o.name, o.label, o.label_fr, o.code, o.kind, 0.7, o.unit, o.threshold, None if o.threshold is None else True)
        for o in outputs
    )
    if model.manifest.task == "volume_segmentation":
        labels = (volume.voxels > np.percentile(volume.voxels, 90)).astype(np.uint8)
        labels[:, : labels.shape[1] // 2] *= 2
        explanation = Explanation("segmentation", "", mask=Mask(labels, tuple(o.name for o in outputs)))
    else:
        y, x = np.mgrid[:12, :12]
        bump = (4 * np.exp(-((x - 4) ** 2 + (y - 7) ** 2) / 6) - 1).astype(np.float32)
        explanation = Explanation("class_activation_map", "", heatmaps=(Heatmap("pneumonia", bump, 16.0, (7.5, 7.5), (192, 192)),))
    result = Prediction(model._identity, findings, explanation)
    manifest = model.manifest.model_copy(update={"writes": ["map", "seg", "sr"]})
    return Told(tuple(headers), volume, manifest, result, 1, MADE_AT, FRENCH)


def _raw(dataset: Dataset, changes: dict[str, Any]) -> bytes:
    """Encode a dataset with values that pydicom would rather not write."""
    for keyword, value in changes.items():
        try:
            setattr(dataset, keyword, value)
            dicom_bytes(dataset)
        except Exception:
            if keyword in dataset:
                delattr(dataset, keyword)
    return dicom_bytes(dataset)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ODD)
@pytest.mark.filterwarnings("ignore")  # pydicom remarks on the values that are made odd here
def test_no_header_makes_a_writer_fail(chest: Model, changes: dict[str, Any]) -> None:
    data = _raw(radiograph_dataset(), changes)
    try:
        volume = read_dicom([data])
    except UnusableInput:
        return
    made = write(_predicted(chest, volume, [header(data)]))
    assert ["map", "sr", "sr-roi"] == [one.kind for one in made]
    assert [one.sop_uid for one in made] == [read_back(one.data).SOPInstanceUID for one in made]


@pytest.mark.parametrize("changes", [
    {"ImageOrientationPatient": None, "ImagePositionPatient": None, "PixelSpacing": None, "SliceThickness": None},
    {"PixelSpacing": None}, {"SliceThickness": None}, {"FrameOfReferenceUID": ""},
], ids=lambda changes: "no " + ", ".join(changes))
def test_a_lone_slice_of_any_geometry_is_written_about(volumes: Model, changes: dict[str, Any]) -> None:
    data = dicom_bytes(mr_series(**changes)[3])
    made = write(_predicted(volumes, read_dicom([data]), [header(data)]))
    assert ["seg", "sr"] == [one.kind for one in made]


def test_frames_without_positions_are_stacked_in_a_frame_of_their_own(volumes: Model) -> None:
    cine = radiograph_dataset(np.arange(24 * 30 * 20, dtype=np.uint8).reshape(24 * 30, 20))
    cine.Rows, cine.NumberOfFrames, cine.SOPClassUID = 30, 24, "1.2.840.10008.5.1.4.1.1.6"  # a retired class
    cine.file_meta.MediaStorageSOPClassUID = cine.SOPClassUID
    data = dicom_bytes(cine)
    made = read_back(write(_predicted(volumes, read_dicom([data]), [header(data)]))[0].data)
    sources = [g.DerivationImageSequence[0].SourceImageSequence[0] for g in made.PerFrameFunctionalGroupsSequence]
    assert {cine.SOPClassUID} == {one.ReferencedSOPClassUID for one in sources}
    places = [float(g.PlanePositionSequence[0].ImagePositionPatient[1]) for g in made.PerFrameFunctionalGroupsSequence]
    frames = [int(one.ReferencedFrameNumber) for one in sources]
    assert sorted(zip(places, frames, strict=True)) == sorted(zip(places, frames, strict=True), key=lambda pair: pair[1])
    assert "n'est pas indiquée" in made.ImageComments


@needs_data
@pytest.mark.slow
def test_every_image_of_the_zoo_that_is_read_is_written_about(chest: Model, volumes: Model) -> None:
    written = 0
    for path in sorted(path for path in (data_root() / "dicom-zoo").rglob("*") if path.is_file()):
        data = Path(path).read_bytes()
        try:
            volume = read_dicom([data])
        except UnusableInput:
            continue
        model = chest if volume.shape[0] == 1 else volumes
        one = _predicted(model, volume, [header(data)])
        made = write(one)
        assert 2 <= len(made), path.name
        if written % 10 == 0:  # again, and to the byte
            assert [hashlib.sha256(o.data).digest() for o in made] == [hashlib.sha256(o.data).digest() for o in write(one)]
        written += 1
    assert written >= 35
