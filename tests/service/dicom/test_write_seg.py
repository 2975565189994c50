"""Segments lie on the slices that were sent, voxel for voxel, whatever kind of object the slices came in."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from highdicom.color import CIELabColor
from highdicom.seg import segread
from numpy.typing import NDArray

from models.explain.picture import LABEL_STYLES
from models.model import Model
from models.prediction import Prediction
from models.read_dicom import read_dicom
from service.dicom.told import Told, Written
from service.dicom.write import write
from tests.make import ROOT, data_root, mr_series, mr_voxels, needs_data, read_back, tiny_release
from tests.service.dicom.tell import enhanced, told, told_of_files

FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.8.498.2026.9"


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("volumes"), "volume_segmentation"))


def _segmentation(one: Told) -> Written:
    return next(written for written in write(one) if written.kind == "seg")


def _mask(one: Told) -> NDArray[np.uint8]:
    assert isinstance(one.result, Prediction)
    assert one.result.explanation.mask is not None
    return one.result.explanation.mask.labels


def _label_at(written: Written, segments: int) -> dict[tuple[float, ...], NDArray[np.uint8]]:
    """Read each plane's labels by its position, as a stranger would: from the file alone."""
    made = read_back(written.data)
    pixels = made.pixel_array.reshape(made.NumberOfFrames, made.Rows, made.Columns)
    found: dict[tuple[float, ...], NDArray[np.uint8]] = {}
    for group, plane in zip(made.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        place = tuple(float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient)
        identification = (group.get("SegmentIdentificationSequence")
                          or made.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence)
        number = identification[0].ReferencedSegmentNumber
        assert 1 <= number <= segments
        found.setdefault(place, np.zeros(plane.shape, np.uint8))[plane > 0] = number
    return found


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.8, 0.6, 0, -0.6, 0.8, 0)])
def test_every_label_lies_on_the_slice_it_was_found_on(volumes: Model, orientation: tuple[float, ...]) -> None:
    series = mr_series(orientation=orientation, spacing_mm=(1.2, 0.9, 1.1), FrameOfReferenceUID=FRAME_OF_REFERENCE)
    one = told(volumes, series, writes=["seg"])
    written, mask = _segmentation(one), _mask(one)
    assert mask.any()
    assert one.volume is not None
    place_of = {str(d.SOPInstanceUID): tuple(float(v) for v in d.ImagePositionPatient) for d in series}
    expected = {place_of[uid]: plane for uid, plane in zip(one.volume.sop_uids, mask, strict=True) if plane.any()}
    found = _label_at(written, 2)
    assert expected.keys() == found.keys()
    for place, plane in expected.items():
        assert (plane == found[place]).all()
    assert FRAME_OF_REFERENCE == read_back(written.data).FrameOfReferenceUID


def test_each_frame_points_at_its_source_slice(volumes: Model) -> None:
    voxels = mr_voxels()
    voxels[5:8, 15:22, 5:15] = 120  # both labels on one slice
    series = mr_series(voxels)
    made = read_back(_segmentation(told(volumes, series[::-1], writes=["seg"])).data)
    place_of = {str(d.SOPInstanceUID): [float(v) for v in d.ImagePositionPatient] for d in series}
    for group in made.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert place_of[source.ReferencedSOPInstanceUID] == [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        assert "YES" == source.SpatialLocationsPreserved
    assert 7 == made.NumberOfFrames
    listed = {item.ReferencedSOPInstanceUID for item in made.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert set(place_of) == listed


def test_frames_of_a_multi_frame_source_are_named_by_their_number(volumes: Model) -> None:
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7, 11, 10]
    series = mr_series()
    one = told(volumes, [enhanced(series, order)], writes=["seg"])
    made = read_back(_segmentation(one).data)
    assert 6 == made.NumberOfFrames
    for group in made.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        z = order[int(source.ReferencedFrameNumber) - 1]
        assert [float(v) for v in series[z].ImagePositionPatient] == [
            float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient
        ]
    assert 1 == len(made.ReferencedSeriesSequence[0].ReferencedInstanceSequence)


def test_segments_say_what_they_are(volumes: Model) -> None:
    read = segread(io.BytesIO(_segmentation(told(volumes, mr_series(), writes=["seg"])).data))
    assert [1, 2] == list(read.segment_numbers)
    first = read.get_segment_description(1)
    assert ("Partie antérieure", "113289008", "AUTOMATIC", "tiny_volume") == (
        first.segment_label, first.segmented_property_type.value, first.algorithm_type.value,
        first.algorithm_identification[0].AlgorithmName,
    )
    assert "BINARY" == read.SegmentationType


def test_a_label_that_was_not_found_is_a_segment_without_frames(volumes: Model) -> None:
    voxels = np.full((12, 24, 20), 40, np.int16)
    voxels[3:6, 4:14, 5:15] = 200
    read = segread(io.BytesIO(_segmentation(told(volumes, mr_series(voxels), writes=["seg"])).data))
    assert (2, 3) == (read.number_of_segments, read.NumberOfFrames)


def test_an_empty_mask_is_written_too(volumes: Model) -> None:
    voxels = np.full((12, 24, 20), 40, np.int16)
    voxels[:, ::2] = 45
    one = told(volumes, mr_series(voxels), writes=["seg"])
    made = read_back(_segmentation(one).data)
    assert (False, False) == (_mask(one).any(), made.pixel_array.any())


@needs_data
@pytest.mark.parametrize("folder", sorted((data_root() / "hippocampus/dicom").glob("*"))[:2] or [None], ids=lambda p: p and p.name)
def test_real_contours_land_on_the_real_slices(folder: Any) -> None:
    model = Model(ROOT / "models/released/hippocampus_mr-1.0.0")
    files = [path.read_bytes() for path in sorted(folder.rglob("*.dcm"))]
    one = told_of_files(model, files, writes=["seg"])
    written, mask = _segmentation(one), _mask(one)
    assert mask.any()
    found, planes = _label_at(written, 2), {}
    for data in files:
        single = read_back(data)
        planes[str(single.SOPInstanceUID)] = tuple(float(v) for v in single.ImagePositionPatient)
    volume = read_dicom(files)
    for uid, plane in zip(volume.sop_uids, mask, strict=True):
        assert (plane == found.get(planes[uid], np.zeros_like(plane))).all()


def test_segments_have_the_colours_of_the_picture(volumes: Model) -> None:
    made = read_back(_segmentation(told(volumes, mr_series(), writes=["seg"])).data)
    shown = [CIELabColor.from_dicom_value(item.RecommendedDisplayCIELabValue).to_rgb() for item in made.SegmentSequence]
    wanted = [CIELabColor.from_string(colour).to_rgb() for colour, _ in LABEL_STYLES[:2]]
    assert np.abs(np.array(shown) - np.array(wanted)).max() <= 2  # a code of 16 bits
