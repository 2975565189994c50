"""Single frames: as stored, for whoever asks for them, and as a screen shows them."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from models.dicom_bytes import parse
from models.dicom_frames import frame_groups, rendered, stored_frames
from models.errors import UnusableInput
from tests.make import dicom_bytes, mr_series, radiograph_dataset
from tests.syntaxes import LOSSLESS, in_syntax

CINE = np.arange(4 * 6 * 8, dtype=np.int16).reshape(24, 8)


def cine(**changes: object) -> Dataset:
    return mr_series(CINE[None], NumberOfFrames=4, Rows=6, **changes)[0]


@pytest.mark.parametrize("name", LOSSLESS)
def test_frames_are_the_stored_values_in_the_order_asked_for(name: str) -> None:
    pixels = CINE[:6].astype(np.uint16)
    data = in_syntax(radiograph_dataset(np.tile(pixels, (8, 8))), LOSSLESS[name])
    frames = stored_frames(parse(data), [1])
    assert np.array_equal(frames.values[0], np.tile(pixels, (8, 8)))
    assert frames.packed() == [np.tile(pixels, (8, 8)).astype("<u2").tobytes()]
    assert (frames.photometric, frames.bits_allocated, frames.bits_stored) == ("MONOCHROME2", 16, 16)


def test_several_frames_come_in_the_order_asked_for() -> None:
    frames = stored_frames(parse(dicom_bytes(cine())), [4, 1, 4])
    assert np.array_equal(frames.values, CINE.reshape(4, 6, 8)[[3, 0, 3]])


@pytest.mark.parametrize("numbers", [[], [0], [5], [-1], [1, 99]])
def test_a_frame_that_is_not_there_is_refused(numbers: list[int]) -> None:
    with pytest.raises(UnusableInput) as refused:
        stored_frames(parse(dicom_bytes(cine())), numbers)
    assert refused.value.code == "no_such_frame"


def test_one_bit_a_pixel_is_packed_again_frame_by_frame() -> None:
    bits = np.random.default_rng(2).integers(0, 2, (2, 4, 6)).astype(np.uint8)
    dataset = radiograph_dataset(bits[0], Modality="SEG", BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=2)
    dataset.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    frames = stored_frames(parse(dicom_bytes(dataset)), [1, 2])
    assert np.array_equal(frames.values, bits)
    assert frames.packed() == [np.packbits(frame.ravel(), bitorder="little").tobytes() for frame in bits]


def test_colour_is_given_by_pixel_and_shown_as_it_is() -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    dataset = radiograph_dataset(rgb[..., 0], SamplesPerPixel=3, PlanarConfiguration=1, PhotometricInterpretation="RGB")
    dataset.PixelData = np.ascontiguousarray(rgb.transpose(2, 0, 1)).tobytes()
    frames = stored_frames(parse(dicom_bytes(dataset)), [1])
    assert (frames.photometric, frames.packed()) == ("RGB", [rgb.tobytes()])
    assert np.array_equal(rendered(parse(dicom_bytes(dataset)), 1), rgb)


def test_a_picture_follows_the_window_and_the_polarity() -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    for changes, expected in (
        ({}, ramp / 16), ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, 255 - ramp / 16),
    ):
        dataset = radiograph_dataset(ramp, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096, **changes)
        assert np.abs(rendered(parse(dicom_bytes(dataset)), 1) - expected).max() <= 1


def test_a_frame_of_an_enhanced_object_has_its_own_window_before_the_shared_one() -> None:
    dataset = cine()
    groups = []
    for centre in (None, 72.0, None, None):
        group = Dataset()
        if centre:
            window = Dataset()
            window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centre, 2.0, "LINEAR_EXACT"
            group.FrameVOILUTSequence = Sequence([window])
        groups.append(group)
    shared, wide = Dataset(), Dataset()
    wide.WindowCenter, wide.WindowWidth, wide.VOILUTFunction = 0.0, 510.0, "LINEAR_EXACT"
    shared.FrameVOILUTSequence = Sequence([wide])
    dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence = Sequence(groups), Sequence([shared])
    data = dicom_bytes(dataset)
    assert sorted(set(rendered(parse(data), 2).ravel().tolist())) == [0, 128, 255]  # of 48 to 95: to 71, 72, from 73
    assert rendered(parse(data), 1).ravel()[:3].tolist() == [128, 128, 128]
    assert len(frame_groups(parse(data), 4)) == 4
