"""Stored values become what the header says they mean: every rule of PS3.3 C.7.6.3 and C.11 with its exact values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import compress
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, JPEG2000Lossless, RLELossless

from models.dicom_bytes import parse, whole_number
from models.errors import UnusableInput
from models.read_dicom import read_dicom
from models.volume import Volume
from tests.make import dicom_bytes, mr_series, radiograph_dataset
from tests.syntaxes import in_syntax


def read(dataset: Dataset) -> Volume:
    return read_dicom([dicom_bytes(dataset, syntax=dataset.file_meta.TransferSyntaxUID)])


def refused(dataset: Dataset) -> str:
    with pytest.raises(UnusableInput) as caught:
        read(dataset)
    return caught.value.code


def grey(values: Any, dtype: Any = np.uint16, **changes: Any) -> Dataset:
    """Make an MR of these stored values: what is read is what they mean, without a window."""
    if dtype == np.int16:
        return mr_series(np.array(values)[None].astype(np.int16), **changes)[0]
    return _unsigned(values, dtype, changes)


def _unsigned(values: Any, dtype: Any, changes: dict[str, Any]) -> Dataset:
    return radiograph_dataset(np.array(values, dtype=dtype), Modality="MR", **changes)


def colour(pixels: NDArray[np.uint8], photometric: str, **changes: Any) -> Dataset:
    """Make a colour image of (rows, columns, 3) values."""
    dataset = radiograph_dataset(
        pixels[..., 0], Modality="OT", SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation=photometric, **changes
    )
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    return dataset


# Bits ---------------------------------------------------------------------------------------------------------------


def test_values_in_the_high_bits_are_taken_from_there() -> None:
    stored = np.array([[0, 1], [2048, 4095]], dtype=np.uint16)
    noise = (stored << 4) | np.array([[3, 0], [15, 8]], dtype=np.uint16)
    assert read(grey(noise, BitsStored=12, HighBit=15)).voxels[0].tolist() == stored.tolist()
    signed = np.array([[-2048, -1], [0, 2047]], dtype=np.int16)
    assert read(grey(signed << 4, np.int16, BitsStored=12, HighBit=15)).voxels[0].tolist() == signed.tolist()


def test_a_high_bit_that_the_values_contradict_is_refused() -> None:
    """Some writers state 15 for 12 bits that start at bit 0: shifting would throw away four of them."""
    assert refused(grey([[0, 1], [2048, 4095]], BitsStored=12, HighBit=15)) == "bad_pixel_description"
    assert refused(grey([[0, 1], [2048, 4095]], BitsStored=12, HighBit=5)) == "bad_pixel_description"


def test_the_high_bit_of_compressed_values_says_nothing() -> None:
    dataset = grey(np.arange(64, dtype=np.uint16).reshape(8, 8) * 64, BitsStored=12, HighBit=11)
    compress(dataset, RLELossless, generate_instance_uid=False)
    dataset.HighBit = 15
    assert read(dataset).voxels.ravel().tolist() == [64 * value for value in range(64)]


def test_an_overlay_in_unused_bits_is_masked_and_changes_no_value() -> None:
    values = np.array([[5, 1000], [2000, 4095]], dtype=np.uint16)
    dataset = grey(values | 0x8000, BitsStored=12, HighBit=11)
    dataset.add_new(0x60000100, "US", 16)  # OverlayBitsAllocated, OverlayBitPosition
    dataset.add_new(0x60000102, "US", 15)
    assert read(dataset).voxels[0].tolist() == values.tolist()


def test_one_bit_a_pixel_is_zero_or_one() -> None:
    bits = np.array([[1, 0, 0, 1], [0, 1, 1, 0]], dtype=np.uint8)
    dataset = radiograph_dataset(bits, Modality="SEG", BitsAllocated=1, BitsStored=1, HighBit=0)
    dataset.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes() + b"\0"
    assert read(dataset).voxels[0].tolist() == bits.tolist()


def test_floating_point_pixels_are_read_and_their_padding_is_the_smallest_value() -> None:
    for keyword, dtype, vr in (("FloatPixel", np.float32, "OF"), ("DoubleFloatPixel", np.float64, "OD")):
        for padding in (-9999.0, float("nan")):
            values = np.array([[0.25, padding], [-3.5, 7.0]], dtype=dtype)
            dataset = _unsigned([[0, 0], [0, 0]], np.uint8, {"BitsAllocated": 8 * values.itemsize, "PixelData": None})
            for absent in ("BitsStored", "HighBit", "PixelRepresentation"):
                delattr(dataset, absent)
            dataset.add_new(f"{keyword}Data", vr, values.tobytes())
            if keyword == "FloatPixel":
                dataset.FloatPixelPaddingValue = padding
                assert read(dataset).voxels[0].tolist() == [[0.25, -3.5], [-3.5, 7.0]]
            elif padding != padding:  # noqa: PLR0124  NaN that nothing declares
                assert refused(dataset) == "not_finite"
            else:
                assert read(dataset).voxels[0].tolist() == values.tolist()


# Meaning ------------------------------------------------------------------------------------------------------------


def test_padding_written_unsigned_on_signed_pixels_is_understood() -> None:
    """-2000 as 63536: makers write PixelPaddingValue as US whatever the pixels are."""
    dataset = grey([[-2000, 10], [20, 30]], np.int16)
    dataset.add_new("PixelPaddingValue", "US", 63536)
    assert read(dataset).voxels[0].tolist() == [[10, 10], [20, 30]]


def test_a_padding_range_covers_everything_between_its_ends() -> None:
    dataset = grey([[0, 5], [9, 30]])
    dataset.add_new("PixelPaddingValue", "US", 9)
    dataset.add_new("PixelPaddingRangeLimit", "US", 0)
    assert read(dataset).voxels[0].tolist() == [[30, 30], [30, 30]]


def test_hounsfield_units_are_the_same_however_they_are_to_be_shown() -> None:
    changes = {"Modality": "CT", "RescaleSlope": 2, "RescaleIntercept": -1024}
    straight = read(grey([[0, 512], [1024, 9]], np.int16, **changes))
    negative = read(grey([[0, 512], [1024, 9]], np.int16, PhotometricInterpretation="MONOCHROME1", **changes))
    assert straight.voxels[0].tolist() == negative.voxels[0].tolist() == [[-1024, 0], [1024, -1006]]
    assert straight.warnings == ()


def test_ct_that_states_no_rescale_is_flagged() -> None:
    assert read(grey([[0, 512], [1024, 9]], np.int16, Modality="CT")).warnings == ("ct_without_rescale",)


def test_a_rescale_below_one_keeps_its_fractions() -> None:
    dataset = grey([[0, 1], [3, 5]], RescaleSlope=0.25, RescaleIntercept=-0.5)
    assert read(dataset).voxels[0].tolist() == [[-0.5, -0.25], [0.25, 0.75]]


# Windows and tables -------------------------------------------------------------------------------------------------


def shown(values: Any, **changes: Any) -> list[float]:
    dataset = radiograph_dataset(np.array(values, dtype=np.uint16).reshape(1, -1), BitsStored=12, HighBit=11, **changes)
    found: list[float] = read(dataset).voxels.ravel().round(3).tolist()
    return found


def voi(descriptor: list[int], data: list[int], vr: str = "US") -> Sequence:
    table = Dataset()
    table.add_new("LUTDescriptor", vr, descriptor)
    table.add_new("LUTData", "US", data)
    return Sequence([table])


def test_exact_windows_may_be_narrower_than_one() -> None:
    narrow = {"WindowCenter": 100, "WindowWidth": 0.5}
    assert shown([99, 100, 101], VOILUTFunction="LINEAR_EXACT", **narrow) == [0, 127.5, 255]
    sigmoid = [255 / (1 + np.exp(8)), 127.5, 255 / (1 + np.exp(-8))]
    assert shown([99, 100, 101], VOILUTFunction="SIGMOID", **narrow) == pytest.approx(sigmoid, abs=1e-3)
    assert shown([0, 4095, 2048], **narrow)[:2] == [0, 255]  # forbidden for LINEAR (C.11.2.1.2.1): its own range instead


def test_a_table_of_sixteen_bits_starts_at_its_first_value_and_holds_at_its_ends() -> None:
    table = voi([4, 100, 16], [0, 21845, 43690, 65535])
    assert shown([0, 100, 101, 102, 103, 4000], VOILUTSequence=table) == [0, 0, 85, 170, 255, 255]


def test_a_table_of_ten_bits_fills_the_range() -> None:
    assert shown([0, 1, 2], VOILUTSequence=voi([3, 0, 10], [0, 341, 1023])) == [0, 85, 255]


def test_a_table_may_start_below_zero() -> None:
    table = voi([3, 65534, 8], [0, 51, 255])  # -2, written unsigned
    dataset = radiograph_dataset(np.array([[0, 1, 2]], np.uint16), BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-2)
    dataset.VOILUTSequence = table
    assert read(dataset).voxels.ravel().tolist() == [0, 51, 255]


@pytest.mark.parametrize("table", [voi([9, 0, 8], [1, 2]), voi([2, 0, 40], [1, 2]), voi([2, 0], [1, 2])])
def test_a_table_that_is_not_what_it_says_is_refused(table: Sequence) -> None:
    assert refused(radiograph_dataset(np.zeros((2, 2), np.uint16), VOILUTSequence=table)) == "bad_lut"


# Colour -------------------------------------------------------------------------------------------------------------

LUMINANCE = np.array([0.299, 0.587, 0.114])
RGB = np.random.default_rng(4).integers(0, 256, (32, 32, 3)).astype(np.uint8)


def luminance(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    return rgb.astype(np.float64) @ LUMINANCE


def test_colour_by_plane_is_the_same_picture_as_colour_by_pixel() -> None:
    planes = colour(RGB, "RGB")
    planes.PlanarConfiguration, planes.PixelData = 1, np.ascontiguousarray(RGB.transpose(2, 0, 1)).tobytes()
    for dataset in (planes, colour(RGB, "RGB")):
        assert read(dataset).voxels[0] == pytest.approx(luminance(RGB), abs=1e-3)


@pytest.mark.parametrize(("ybr", "rgb"), [
    ([0, 128, 128], [0, 0, 0]), ([255, 128, 128], [255, 255, 255]), ([76, 85, 255], [254, 0, 0]), ([29, 255, 107], [0, 0, 254]),
])
def test_ybr_full_becomes_the_colour_of_the_standards_equation(ybr: list[int], rgb: list[int]) -> None:
    """PS3.3 C.7.6.3.1.2."""
    pixels = np.tile(np.array(ybr, np.uint8), (4, 4, 1))
    expected = luminance(np.array(rgb, np.uint8))
    assert read(colour(pixels, "YBR_FULL")).voxels.ravel() == pytest.approx([expected] * 16, abs=1.0)


def test_ybr_with_half_the_colours_is_unpacked() -> None:
    dataset = colour(np.zeros((2, 2, 3), np.uint8), "YBR_FULL_422")
    dataset.PixelData = bytes([10, 20, 128, 128, 200, 100, 128, 128])  # two of Y, then Cb and Cr of both
    assert read(dataset).voxels[0].round(2).tolist() == [[10, 20], [200, 100]]


def test_reversible_and_irreversible_colour_of_jpeg_2000_comes_back() -> None:
    lossless = colour(RGB, "RGB")
    compress(lossless, JPEG2000Lossless, RGB, generate_instance_uid=False)
    lossless.PhotometricInterpretation = "YBR_RCT"
    assert read(lossless).voxels[0] == pytest.approx(luminance(RGB), abs=1e-3)
    smooth = np.tile(np.arange(0, 256, 8, dtype=np.uint8)[:, None], (1, 32))
    smooth = np.stack([smooth, smooth.T, 255 - smooth], -1)
    lossy = colour(smooth, "RGB")
    compress(lossy, JPEG2000, smooth, generate_instance_uid=False, j2k_cr=[4])
    lossy.PhotometricInterpretation = "YBR_ICT"
    assert np.abs(read(lossy).voxels[0] - luminance(smooth)).max() < 3


def test_a_palette_gives_its_colours() -> None:
    dataset = radiograph_dataset(np.array([[0, 1], [2, 9]], np.uint8), Modality="OT", PhotometricInterpretation="PALETTE COLOR")
    for name, entries in (("Red", [0, 255, 10]), ("Green", [0, 255, 20]), ("Blue", [0, 255, 30])):
        dataset.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [3, 0, 16])
        dataset.add_new(f"{name}PaletteColorLookupTableData", "OW", np.array(entries, np.uint16).tobytes())
    top = 255 / 65535
    last = 10 * 0.299 + 20 * 0.587 + 30 * 0.114
    assert read(dataset).voxels.ravel() == pytest.approx([0, 255 * top, last * top, last * top], abs=1e-5)


# Numbers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1A", "1.5", "9" * 400, "99999999999"])
def test_a_count_that_is_none_is_refused(text: str) -> None:
    dataset = radiograph_dataset()
    dataset.add_new("NumberOfFrames", "LO", text)
    with pytest.raises(UnusableInput):
        whole_number(parse(dicom_bytes(dataset)), "NumberOfFrames")


def test_every_lossless_syntax_keeps_signed_values() -> None:
    values = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
    dataset = grey(values, np.int16)
    for syntax in ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"):
        assert np.array_equal(read_dicom([in_syntax(dataset, syntax)]).voxels[0], values)
