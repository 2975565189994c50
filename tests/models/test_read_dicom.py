"""read_dicom: slices become a grid or are refused with the reason; pixels get their meaning; nobody is named."""

from __future__ import annotations

import io
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import compress
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless, JPEGLSNearLossless, RLELossless

from models import read_dicom as room
from models.errors import UnusableInput
from models.read_dicom import group_instances, read_dicom, read_header
from models.volume import Header, Volume
from tests.make import dicom_bytes, mr_series, mr_voxels, radiograph_dataset, radiograph_pixels


def read(*datasets: Dataset) -> Volume:
    return read_dicom([dicom_bytes(dataset) for dataset in datasets])


def refused(*datasets: Dataset) -> str:
    with pytest.raises(UnusableInput) as caught:
        read(*datasets)
    return caught.value.code


def moved(series: list[Dataset], place: int, by: tuple[float, float, float]) -> list[Dataset]:
    position = np.array(series[place].ImagePositionPatient, dtype=float) + by
    series[place].ImagePositionPatient = [float(v) for v in position]
    return series


# Geometry -----------------------------------------------------------------------------------------------------------


def test_slices_in_any_order_are_sorted_by_position_and_not_by_number() -> None:
    series = mr_series()
    for place, dataset in enumerate(series):
        dataset.InstanceNumber = 99 - place
    random.Random(3).shuffle(series)
    volume = read(*series)
    assert np.array_equal(mr_voxels().astype(np.float32), volume.voxels)
    assert [uid.rsplit(".", 1)[1] for uid in volume.sop_uids] == [str(n) for n in range(1, 13)]


def test_affine_maps_voxel_indices_to_patient_millimetres() -> None:
    volume = read(*mr_series(spacing_mm=(2.0, 0.5, 0.75)))
    assert volume.spacing_mm == pytest.approx((2.0, 0.5, 0.75))
    assert volume.affine @ [4, 2, 3, 1] == pytest.approx([-50 + 4 * 0.75, -30 + 2 * 0.5, 10 + 3 * 2.0, 1])
    assert volume.spacing_known is True


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(0.3, 4)] * 3), st.tuples(*[st.floats(-1, 1)] * 3), st.floats(-3, 3))
def test_any_rotation_and_spacing_gives_back_every_stated_position(
    spacing: tuple[float, float, float],
    axis: tuple[float, float, float],
    angle: float,
) -> None:
    unit = np.add(axis, (0, 0, 1.5))
    unit /= np.linalg.norm(unit)
    cross = np.array([[0, -unit[2], unit[1]], [unit[2], 0, -unit[0]], [-unit[1], unit[0], 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    orientation = tuple(round(float(v), 8) for v in (*rotation[:, 0], *rotation[:, 1]))
    spacing = tuple(round(v, 4) for v in spacing)
    series = mr_series(mr_voxels(4, 6, 5), spacing_mm=spacing, orientation=orientation)
    volume = read(*series[::-1])
    stated = np.array([dataset.ImagePositionPatient for dataset in series], dtype=float)
    found = np.array([(volume.affine @ [0, 0, z, 1])[:3] for z in range(4)])
    assert np.abs(np.sort(stated, axis=0) - np.sort(found, axis=0)).max() < 1e-3
    assert volume.spacing_mm == pytest.approx(spacing, rel=1e-4)
    assert np.linalg.det(volume.affine[:3, :3]) > 0


def test_missing_middle_slice_is_refused() -> None:
    series = mr_series()
    assert refused(*series[:5], *series[6:]) == "missing_slices"


def test_a_hundredth_of_a_millimetre_of_rounding_is_a_grid() -> None:
    assert read(*moved(mr_series(), 4, (0.005, 0, 0.01))).shape == (12, 24, 20)


@pytest.mark.parametrize(("shift_mm", "code"), [(0.02, ""), (0.03, ""), (0.05, "missing_slices")])
def test_gaps_may_differ_by_two_percent_and_the_rounding_of_positions(shift_mm: float, code: str) -> None:
    """Of a gap of 1 mm: 0.04 mm."""
    series = moved(mr_series(), 4, (0, 0, shift_mm))
    assert (refused(*series) if code else len(read(*series).voxels)) == (code or 12)


def message(*datasets: Dataset) -> str:
    with pytest.raises(UnusableInput) as caught:
        read(*datasets)
    return str(caught.value)


def test_a_slice_sent_twice_under_another_uid_is_refused() -> None:
    """Nothing tells which of them a mask belongs to."""
    series = mr_series()
    again = mr_series()[3]
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    assert refused(*series, again) == "duplicate_positions"
    assert "found 13 at 12 positions, alike in their headers." in message(*series, again)


@pytest.mark.parametrize(("keyword", "values"), [
    ("TemporalPositionIdentifier", (1, 2)), ("EchoTime", (4.6, 9.2)), ("DiffusionBValue", (0.0, 800.0)),
    ("AcquisitionNumber", (1, 2)), ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "PHASE"])),
])
def test_two_time_points_or_echoes_are_refused_with_what_tells_them_apart(keyword: str, values: tuple[Any, Any]) -> None:
    series = [*mr_series(), *mr_series()]
    for place, dataset in enumerate(series):
        setattr(dataset, keyword, values[place // 12])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.{place + 1}"
    assert f"found 24 at 12 positions, different in {keyword}." in message(*series)


def test_tilted_gantry_is_refused_with_its_angle() -> None:
    series = mr_series()
    for place in range(12):
        moved(series, place, (0, 0.3 * place, 0))
    assert refused(*series) == "gantry_tilt"
    assert "found a shift of 0.30 mm a slice (gantry tilt, 16.7 degrees)" in message(*series)


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("ImageOrientationPatient", [0.0, 1.0, 0.0, 1.0, 0.0, 0.0], "slices_not_a_grid"),
        ("PixelSpacing", [0.5, 0.5], "slices_not_a_grid"),
        ("SeriesInstanceUID", "1.2.3.4", "several_series"),
        ("Modality", "CT", "slices_not_a_grid"),
        ("ImagePositionPatient", None, "several_images"),
        ("ImagePositionPatient", [1.0, 2.0], "bad_geometry"),
        ("ImageOrientationPatient", [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], "bad_geometry"),
        ("PixelSpacing", [0.0, 1.0], "bad_geometry"),
    ],
)
def test_one_slice_that_differs_is_refused(keyword: str, value: Any, code: str) -> None:
    series = mr_series()
    if value is None:
        delattr(series[2], keyword)
    else:
        setattr(series[2], keyword, value)
    assert refused(*series) == code


def test_a_slice_of_another_size_is_refused() -> None:
    series = mr_series()
    assert refused(*series[:5], mr_series(mr_voxels(12, 30, 20))[5]) == "slices_not_a_grid"


def test_two_radiographs_are_two_cases() -> None:
    first, second = radiograph_dataset(), radiograph_dataset(SOPInstanceUID="1.2.3")
    assert refused(first, second) == "several_images"
    grouped = group_instances([dicom_bytes(first), *map(dicom_bytes, mr_series()), dicom_bytes(second)])
    assert [len(group) for group in grouped] == [1, 12, 1]


def test_nothing_and_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableInput, match="at least one file"):
        read_dicom([])
    monkeypatch.setattr(room, "MAX_FILES", 3)
    assert refused(*mr_series()) == "too_many_files"
    monkeypatch.setattr(room, "MAX_FILES", 30)
    monkeypatch.setattr(room, "MAX_PIXEL_BYTES", 5000)
    assert refused(*mr_series()) == "too_many_pixels"


def test_an_object_without_pixels_is_refused() -> None:
    assert refused(radiograph_dataset(PixelData=None)) == "no_pixels"


def test_single_slice_has_a_known_spacing_only_with_its_thickness() -> None:
    assert read(mr_series(spacing_mm=(3.0, 1.0, 1.0))[0]).spacing_mm == (3.0, 1.0, 1.0)
    assert read(mr_series(SliceThickness=None)[0]).spacing_known is False


def test_radiograph_has_the_spacing_of_its_detector() -> None:
    assert read(radiograph_dataset(ImagerPixelSpacing=[0.2, 0.1])).spacing_mm == (1.0, 0.2, 0.1)
    assert read(radiograph_dataset(ImagerPixelSpacing=None)).spacing_known is False


# Multi-frame --------------------------------------------------------------------------------------------------------


def enhanced(count: int = 5, *, slope: float | None = None) -> Dataset:
    """Make an enhanced MR of ``count`` frames, stored in reverse order of position."""
    cube = mr_voxels(count, 8, 6)
    dataset = mr_series(cube[:1], ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)[0]
    dataset.NumberOfFrames = count
    dataset.PixelData = cube[::-1].tobytes()
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 2.0
    orientation.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for z in reversed(range(count)):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [0.0, 0.0, 2.0 * z]
        frame.PlanePositionSequence = Sequence([position])
        if slope is not None:
            transform = Dataset()
            transform.RescaleSlope, transform.RescaleIntercept = slope, 1.0
            frame.PixelValueTransformationSequence = Sequence([transform])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return dataset


def test_enhanced_frames_are_sorted_by_their_own_positions() -> None:
    volume = read(enhanced())
    assert np.array_equal(mr_voxels(5, 8, 6).astype(np.float32), volume.voxels)
    assert volume.spacing_mm == (2.0, 0.5, 0.5)
    assert len(volume.sop_uids) == 5


def test_every_enhanced_frame_has_its_own_rescale() -> None:
    assert np.array_equal(mr_voxels(5, 8, 6) * np.float32(0.5) + 1, read(enhanced(slope=0.5)).voxels)


def test_frames_without_a_position_keep_their_own_rescale() -> None:
    dataset = enhanced(slope=0.5)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence
    assert np.array_equal(mr_voxels(5, 8, 6)[::-1] * np.float32(0.5) + 1, read(dataset).voxels)


def test_a_rescale_that_all_frames_share_makes_hounsfield_units() -> None:
    dataset = enhanced()
    transform = Dataset()
    transform.RescaleSlope, transform.RescaleIntercept = 2.0, -1024.0
    dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = Sequence([transform])
    dataset.Modality = "CT"
    volume = read(dataset)
    assert np.array_equal(mr_voxels(5, 8, 6) * np.float32(2) - 1024, volume.voxels)
    assert (volume.units, volume.warnings) == ("HU", ())


def test_two_time_points_in_one_enhanced_object_are_refused() -> None:
    dataset = enhanced(4)
    for place, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0.0, 0.0, 2.0 * (place % 2)]
    assert refused(dataset) == "duplicate_positions"


def test_functional_groups_that_do_not_match_the_frames_are_refused() -> None:
    dataset = enhanced()
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:3]
    assert refused(dataset) == "slices_not_a_grid"


def test_frames_without_a_position_are_stacked_with_a_warning_and_no_spacing() -> None:
    dataset = enhanced()
    del dataset.PerFrameFunctionalGroupsSequence
    volume = read(dataset)
    assert (volume.spacing_known, volume.warnings) == (False, ("frames_without_position",))
    dataset = enhanced()
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence
    assert read(dataset).warnings == ("frames_without_position",)


# Values -------------------------------------------------------------------------------------------------------------


def test_eight_bit_radiograph_without_a_window_is_shown_as_it_is() -> None:
    volume = read(radiograph_dataset())
    assert (volume.units, volume.shape) == ("display", (1, 256, 256))
    assert np.array_equal(radiograph_pixels().astype(np.float32), volume.voxels[0])


def test_monochrome1_and_an_inverse_presentation_are_the_same_image_as_monochrome2() -> None:
    straight, negative = radiograph_pixels(), 255 - radiograph_pixels()
    expected = read(radiograph_dataset(straight)).voxels
    for changes in (
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": None},
        {"PresentationLUTShape": "INVERSE"},
    ):
        assert np.array_equal(expected, read(radiograph_dataset(negative, **changes)).voxels)


RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def ramp(**changes: Any) -> np.ndarray:
    return read(radiograph_dataset(RAMP, BitsStored=12, HighBit=11, **changes)).voxels.ravel()


def test_linear_window_follows_the_formula_of_the_standard() -> None:
    """PS3.3 C.11.2.1.2.1: centre 2048, width 4096 maps 0 to 0 and 4095 to 255."""
    shown = ramp(WindowCenter=2048, WindowWidth=4096)
    assert (shown[0], shown[-1]) == (0, 255)
    assert shown[2048] == pytest.approx(((2048 - 2047.5) / 4095 + 0.5) * 255, abs=1e-3)
    narrow = ramp(WindowCenter=2048, WindowWidth=2)
    assert (narrow[2046], narrow[2048]) == (0, 255)


def test_exact_and_sigmoid_windows_are_their_own_functions() -> None:
    exact = ramp(WindowCenter=2048, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    sigmoid = ramp(WindowCenter=2048, WindowWidth=1000, VOILUTFunction="SIGMOID")
    assert exact[2048] == pytest.approx(127.5, abs=1e-3)
    assert exact[2298] == pytest.approx(0.75 * 255, abs=1e-3)
    assert sigmoid[2298] == pytest.approx(255 / (1 + np.exp(-1)), abs=1e-2)


def test_the_first_of_several_windows_counts() -> None:
    assert np.array_equal(
        ramp(WindowCenter=1000, WindowWidth=500), ramp(WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    )


def test_without_a_window_the_middle_99_percent_fill_the_range() -> None:
    shown = ramp()
    assert (shown[10], shown[4085]) == (0, 255)
    assert shown[2048] == pytest.approx(127.5, abs=0.5)


def test_a_table_of_values_comes_before_a_window() -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 8]
    table.LUTData = [255 - value // 16 for value in range(4096)]
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "US"
    shown = ramp(VOILUTSequence=Sequence([table]), WindowCenter=1, WindowWidth=1)
    assert (shown[0], shown[-1]) == (255, 0)
    table.LUTDescriptor = [0, 0]
    assert refused(radiograph_dataset(RAMP, VOILUTSequence=Sequence([table]))) == "bad_lut"


def test_modality_table_is_applied_or_refused() -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "US"
    table.LUTData = [3 * value for value in range(256)]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    dataset = mr_series(np.arange(64).reshape(1, 8, 8), ModalityLUTSequence=Sequence([table]))[0]
    assert np.array_equal(3 * np.arange(64, dtype=np.float32), read(dataset).voxels.ravel())
    del table.LUTDescriptor
    assert refused(mr_series(np.arange(64).reshape(1, 8, 8), ModalityLUTSequence=Sequence([table]))[0]) == "bad_lut"


def test_computed_tomography_is_in_hounsfield_units_with_sign_and_padding() -> None:
    stored = np.array([[-2000, 0], [1024, 2048]], dtype=np.int16)
    dataset = mr_series(stored[None], Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)[0]
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    volume = read(dataset)
    assert volume.units == "HU"
    assert volume.voxels[0].tolist() == [[-1024, -1024], [0, 1024]]


def test_padding_of_a_radiograph_stays_black_even_when_inverted() -> None:
    pixels = radiograph_pixels()
    pixels[:, :40] = 7
    dataset = radiograph_dataset(pixels, PhotometricInterpretation="MONOCHROME1")
    dataset.add_new("PixelPaddingValue", "US", 7)
    dataset.add_new("PixelPaddingRangeLimit", "US", 5)
    assert read(dataset).voxels[0, :, :40].max() == 0


def test_bits_above_those_stored_are_dropped_and_the_sign_is_kept() -> None:
    overlay = (RAMP | 0xF000).astype(np.uint16)
    clean = read(radiograph_dataset(RAMP, BitsStored=12, HighBit=11)).voxels
    assert np.array_equal(clean, read(radiograph_dataset(overlay, BitsStored=12, HighBit=11)).voxels)
    signed = np.array([[[-5, 5]]], dtype=np.int16)
    dirty = (signed & 0x0FFF).astype(np.int16)
    assert read(mr_series(dirty, BitsStored=12, HighBit=11)[0]).voxels.ravel().tolist() == [-5, 5]


def test_more_bits_stored_than_allocated_are_refused() -> None:
    assert refused(radiograph_dataset(BitsStored=24)) in {"bad_pixel_description", "undecodable_pixels"}


def test_colour_becomes_luminance() -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[..., 1] = 100
    dataset = radiograph_dataset(
        np.zeros((4, 4), np.uint8),
        Modality="OT",
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
    )
    dataset.PixelData = rgb.tobytes()
    volume = read(dataset)
    assert (volume.units, volume.shape) == ("display", (1, 4, 4))
    assert volume.voxels.ravel() == pytest.approx([58.7] * 16, abs=0.01)


@pytest.mark.parametrize(
    ("keyword", "value", "code"), [("RescaleSlope", 0, "bad_number"), ("RescaleSlope", "1e300", "not_finite")]
)
def test_a_rescale_that_destroys_the_values_is_refused(keyword: str, value: Any, code: str) -> None:
    with np.errstate(over="ignore"):
        assert refused(mr_series(RescaleIntercept=0, **{keyword: value})[0]) == code


def test_inverted_mr_keeps_its_range() -> None:
    volume = read(mr_series(np.array([[[1, 9]]]), PhotometricInterpretation="MONOCHROME1")[0])
    assert volume.voxels.ravel().tolist() == [9, 1]


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_lossless_compression_changes_no_value(syntax: Any) -> None:
    dataset = radiograph_dataset()
    expected = read(dataset).voxels
    compress(dataset, syntax)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    assert np.array_equal(expected, read_dicom([buffer.getvalue()]).voxels)


def test_lossy_compression_is_told_by_the_syntax_or_the_header() -> None:
    dataset = radiograph_dataset()
    compress(dataset, JPEGLSNearLossless, jls_error=2)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    assert read_header(buffer.getvalue()).lossy is True
    assert read(radiograph_dataset(LossyImageCompression="01")).header.lossy is True
    assert read(radiograph_dataset()).header.lossy is False


# Header -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "years"),
    [
        ({"PatientAge": "005Y"}, 5),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "026W"}, 0.5),
        ({"PatientAge": "010D"}, 10 / 365.25),
        ({"PatientAge": "unknown"}, None),
        ({"PatientAge": None}, None),
        ({"PatientAge": None, "PatientBirthDate": "20200101", "StudyDate": "20230101"}, 3),
        ({"PatientAge": None, "PatientBirthDate": "20240101", "StudyDate": "20230101"}, None),
    ],
)
def test_age_comes_from_the_age_or_the_dates(changes: dict[str, Any], years: float | None) -> None:
    found = read(radiograph_dataset(**changes)).header.age_years
    assert found == (years if years is None else pytest.approx(years, abs=0.01))


def test_body_part_comes_from_the_anatomic_region_when_not_stated() -> None:
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "43799004", "SCT", "Chest"
    header = read(radiograph_dataset(BodyPartExamined=None, AnatomicRegionSequence=Sequence([region]))).header
    assert header.body_part == "CHEST"


def test_raw_detector_data_is_flagged() -> None:
    assert read(radiograph_dataset(PresentationIntentType="FOR PROCESSING")).warnings == ("not_for_presentation",)


def test_a_volume_holds_nothing_that_names_a_patient() -> None:
    dataset = radiograph_dataset(
        PatientBirthDate="20230102",
        StudyDate="20260101",
        AccessionNumber="CANARI77",
        InstitutionName="CANARI HOSPITAL",
        StudyDescription="CANARI STUDY",
    )
    volume = read(dataset)
    text = repr(volume.header) + repr(volume.warnings) + repr(volume.sop_uids)
    assert "CANARI" not in text
    assert "20230102" not in text
    assert {field.name for field in fields(Header)} == {
        "modality",
        "body_part",
        "view",
        "age_years",
        "sex",
        "burned_in_annotation",
        "source",
        "manufacturer",
        "series_uid",
        "study_uid",
        "lossy",
    }


def test_files_and_bytes_read_alike(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(dicom_bytes(radiograph_dataset()))
    assert np.array_equal(read_dicom([tmp_path / "x"]).voxels, read(radiograph_dataset()).voxels)


def test_every_slice_of_a_series_has_its_own_rescale() -> None:
    series = mr_series(Modality="CT", RescaleIntercept=-1024, RescaleSlope=1)
    series[3].RescaleSlope = 2
    voxels = read(*series).voxels
    stored = mr_voxels().astype(np.float32)
    assert np.array_equal(stored[0] - 1024, voxels[0])
    assert np.array_equal(2 * stored[3] - 1024, voxels[3])


def test_constant_deep_radiograph_is_shown_black_and_not_divided_by_zero() -> None:
    assert read(radiograph_dataset(np.full((8, 8), 500, np.uint16), BitsStored=12, HighBit=11)).voxels.max() == 0


def test_a_table_packed_two_entries_a_word_is_unpacked() -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 8]
    table.LUTData = np.array([value // 16 for value in range(4096)], np.uint8).tobytes()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    shown = ramp(VOILUTSequence=Sequence([table]))
    assert (shown[0], shown[2048], shown[-1]) == (0, 128, 255)


def test_frames_with_their_own_slope_of_zero_are_refused() -> None:
    assert refused(enhanced(slope=0.0)) == "bad_number"
