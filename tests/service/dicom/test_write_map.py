"""The heat map holds what the graph gave, in the place of the image it explains."""

from __future__ import annotations

import io

import numpy as np
import pytest
from highdicom.pm.sop import pmread

from models.explain.cam import peak, upsample
from models.model import Model
from models.prediction import Prediction
from service.dicom.told import Told, Written
from service.dicom.write import write
from tests.make import radiograph_dataset, radiograph_pixels, read_back, tiny_release
from tests.service.dicom.tell import told

PLANE = {
    "ImagePositionPatient": [10.0, 20.0, 30.0], "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0],
    "PixelSpacing": [0.5, 0.25], "SliceThickness": 1.0, "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2026.9",
}


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))


def _ill(chest: Model, rows: int, columns: int, **changes: object) -> Told:
    return told(chest, [radiograph_dataset(radiograph_pixels(rows, columns, pneumonia=True), **changes)], writes=["map"])


def _map(one: Told) -> Written:
    return write(one)[0]


def test_the_values_are_those_of_the_map_on_the_image(chest: Model) -> None:
    one = _ill(chest, 300, 260)
    assert isinstance(one.result, Prediction)
    assert one.volume is not None
    written = _map(one)
    assert "pneumonia" == written.part
    made = pmread(io.BytesIO(written.data))
    expected = upsample(one.result.explanation.heatmaps[0], one.volume)
    assert np.array_equal(expected, read_back(written.data).pixel_array)
    assert ("1", "130402") == (
        made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
        made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        .QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue,
    )


def test_a_large_radiograph_has_a_smaller_map_over_the_same_field(chest: Model) -> None:
    one = _ill(chest, 1200, 1000, **PLANE)
    assert isinstance(one.result, Prediction)
    assert one.volume is not None
    made = read_back(_map(one).data)
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert (512, 427) == (made.Rows, made.Columns)
    assert pytest.approx((1200 * 0.5, 1000 * 0.25)) == (made.Rows * measures[0], made.Columns * measures[1])
    corner = made.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    half = (measures[1] / 2 - 0.125, 0.0, -(measures[0] / 2 - 0.25))  # edge on edge: the first centre moves inwards
    assert pytest.approx([10 + half[0], 20 + half[1], 30 + half[2]]) == [float(v) for v in corner]
    source = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert "NO" == source.SpatialLocationsPreserved
    row, column = np.unravel_index(int(made.pixel_array.argmax()), made.pixel_array.shape)
    expected = peak(one.result.explanation.heatmaps[0], one.volume)
    assert pytest.approx(expected, abs=3) == (float(row) * 1200 / 512, float(column) * 1000 / 427)


def test_an_image_with_a_place_in_the_patient_keeps_it(chest: Model) -> None:
    made = read_back(_map(_ill(chest, 200, 200, **PLANE)).data)
    shared = made.SharedFunctionalGroupsSequence[0]
    assert PLANE["FrameOfReferenceUID"] == made.FrameOfReferenceUID
    assert PLANE["ImageOrientationPatient"] == list(shared.PlaneOrientationSequence[0].ImageOrientationPatient)
    assert PLANE["PixelSpacing"] == list(shared.PixelMeasuresSequence[0].PixelSpacing)
    assert "ImageComments" not in made


@pytest.mark.parametrize(("stated", "turned"), [
    (["R", "F"], [-1, 0, 0, 0, 0, -1]), (["P", "F"], [0, 1, 0, 0, 0, -1]), (None, [1, 0, 0, 0, 0, -1]),
    (["L", "R"], [1, 0, 0, 0, 0, -1]), (["LF", "FR"], [1, 0, 0, 0, 0, -1]),
])
def test_a_radiograph_without_a_place_has_one_of_its_own(chest: Model, stated: list[str] | None, turned: list[int]) -> None:
    made = read_back(_map(_ill(chest, 200, 200, PatientOrientation=stated)).data)
    assert turned == list(made.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient)
    assert "dont la position dans le patient n'est pas indiquée" in made.ImageComments
    source = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert "YES" == source.SpatialLocationsPreserved


def test_two_maps_of_one_image_share_a_series_and_are_numbered(chest: Model) -> None:
    made = [read_back(one.data) for one in write(_ill(chest, 200, 200))]
    assert [1, 2] == [one.InstanceNumber for one in made]
    assert (1, 2) == (len({one.SeriesInstanceUID for one in made}), len({one.SOPInstanceUID for one in made}))
