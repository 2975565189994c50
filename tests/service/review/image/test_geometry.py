"""Slices are scrolled along the patient, edges bear the patient's sides, and lengths are said only where they are known."""

from __future__ import annotations

import random

import pytest
from pydicom.dataset import Dataset

from service.review.image.geometry import Geometry, Sides, geometry_of, read_header
from service.store.studies import HeldFile
from tests.make import dicom_bytes, mr_series, radiograph_dataset

SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)


def laid(datasets: list[Dataset]) -> Geometry:
    files = [
        HeldFile(one.SOPInstanceUID, one.SOPClassUID, str(place), int(one.get("InstanceNumber") or 2**31))
        for place, one in enumerate(datasets)
    ]
    return geometry_of(files, [read_header(dicom_bytes(one)) for one in datasets])


def test_slices_are_in_the_order_of_their_places_not_of_their_coming() -> None:
    series = mr_series()
    expected = [one.SOPInstanceUID for one in series]
    random.Random(3).shuffle(series)
    assert [one.sop_uid for one in laid(series).slices] == expected


def test_slices_numbered_the_other_way_are_scrolled_that_way() -> None:
    series = mr_series()
    for number, one in enumerate(reversed(series), start=1):
        one.InstanceNumber = number
    assert [one.sop_uid for one in laid(series).slices] == [one.SOPInstanceUID for one in reversed(series)]


def test_slices_of_several_directions_are_in_the_order_of_their_numbers() -> None:
    series = mr_series()[:3]
    series[1].ImageOrientationPatient = list(SAGITTAL)
    assert [one.sop_uid for one in laid(series[::-1]).slices] == [one.SOPInstanceUID for one in series]


@pytest.mark.parametrize(("orientation", "sides"), [
    ((1, 0, 0, 0, 1, 0), Sides("R", "L", "A", "P")), (CORONAL, Sides("R", "L", "H", "F")), (SAGITTAL, Sides("A", "P", "H", "F")),
])
def test_edges_bear_the_sides_of_the_patient(orientation: tuple[float, ...], sides: Sides) -> None:
    assert laid(mr_series(orientation=orientation)[:2]).sides == sides


def test_an_oblique_slice_has_two_letters_at_an_edge() -> None:
    turned = (0.8, 0.6, 0, -0.6, 0.8, 0)
    assert laid(mr_series(orientation=turned)[:2]).sides.right == "LP"


def test_a_radiograph_says_its_sides_by_patient_orientation() -> None:
    assert laid([radiograph_dataset(PatientOrientation=["L", "F"])]).sides == Sides("R", "L", "H", "F")


@pytest.mark.parametrize("stated", [None, "", ["L"], ["X", "Y"], ["LEFT", "F"]])
def test_sides_that_are_not_stated_are_not_guessed(stated: object) -> None:
    assert laid([radiograph_dataset(PatientOrientation=stated)]).sides == Sides()


def test_a_radiograph_is_measured_at_the_detector_unless_it_says_that_it_was_calibrated() -> None:
    assert laid([radiograph_dataset(PixelSpacing=None)]).at_detector
    assert laid([radiograph_dataset(PixelSpacing=[0.5, 0.5])]).at_detector
    calibrated = laid([radiograph_dataset(PixelSpacing=[0.4, 0.4], PixelSpacingCalibrationType="FIDUCIAL")])
    assert (calibrated.spacing_mm, calibrated.at_detector) == ((0.4, 0.4), False)


def test_without_a_stated_spacing_there_is_no_scale() -> None:
    assert laid([radiograph_dataset(PixelSpacing=None, ImagerPixelSpacing=None)]).spacing_mm is None


def test_the_step_between_slices_is_measured() -> None:
    assert laid(mr_series(spacing_mm=(2.5, 1, 1))).step_mm == pytest.approx(2.5)


def test_every_frame_of_one_file_is_a_picture() -> None:
    cine = radiograph_dataset(NumberOfFrames=3)
    cine.PixelData = cine.PixelData * 3
    assert [one.frame for one in laid([cine]).slices] == [1, 2, 3]
