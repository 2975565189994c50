"""Pixels are shown as the standard says, whatever they are stored as, and what is kept of them stays within its bytes."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEGLSLossless, RLELossless

from models.dicom_bytes import parse
from models.dicom_frames import rendered
from service.decode import Decoder
from service.review.image.geometry import Slice
from service.review.image.pixels import Kept, Pixels, read_pixels
from service.review.image.window import Window
from service.store.errors import StoreError
from service.store.objects import LocalObjects
from tests.make import dicom_bytes, mr_series, radiograph_dataset


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    shared = Decoder()
    yield shared
    shared.close()


@dataclass
class Reader:
    """Objects and a decoder."""

    objects: LocalObjects
    decoder: Decoder

    def read(self, dataset: Dataset, frame: int | None = None) -> Pixels:
        data = dicom_bytes(dataset) if not dataset.file_meta.TransferSyntaxUID.is_compressed else self._as_it_is(dataset)
        sha256 = self.objects.put(data)
        place = Slice("1.2", "1.2", sha256, frame, int(dataset.Rows), int(dataset.Columns))
        return read_pixels(self.objects, place, self.decoder)

    def _as_it_is(self, dataset: Dataset) -> bytes:
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()


@pytest.fixture
def reader(tmp_path: Path, decoder: Decoder) -> Reader:
    return Reader(LocalObjects(tmp_path), decoder)


def ramp(low: int, high: int, dtype: Any = np.uint16, side: int = 64) -> NDArray[Any]:
    return np.linspace(low, high, side * side).reshape(side, side).astype(dtype)


def reference(dataset: Dataset, window: Window) -> NDArray[np.float64]:
    """Return what pydicom makes of it."""
    told = Dataset()
    told.WindowCenter, told.WindowWidth, told.VOILUTFunction = window.centre, window.width, window.function
    told.BitsStored, told.PixelRepresentation, told.PhotometricInterpretation = 8, 0, "MONOCHROME2"
    return np.asarray(apply_voi_lut(np.asarray(apply_modality_lut(dataset.pixel_array, dataset), np.float64), told), np.float64)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_a_window_on_rescaled_values_is_what_pydicom_makes_of_it(reader: Reader, dtype: Any) -> None:
    dataset = radiograph_dataset(ramp(-1000 if dtype == np.int16 else 0, 3000, dtype), RescaleSlope=1.5, RescaleIntercept=-200)
    for window in (Window(300, 1200), Window(300, 1200, "LINEAR_EXACT"), Window(1000.5, 3.5), Window(300, 1200, "SIGMOID")):
        shown = reader.read(dataset).shown(window)
        assert np.abs(shown - reference(dataset, window)).max() <= 0.5 + 1e-9  # rounded to whole greys, no more


def test_shown_as_sent_it_is_the_window_the_header_states(reader: Reader) -> None:
    dataset = radiograph_dataset(ramp(0, 4095), WindowCenter=[2000, 9], WindowWidth=[1000, 9])
    pixels = reader.read(dataset)
    assert pixels.first_window() == Window(2000, 1000)
    assert np.abs(pixels.shown(None) - reference(dataset, Window(2000, 1000))).max() <= 0.5 + 1e-9


def test_monochrome1_is_turned_around_and_its_window_is_not(reader: Reader) -> None:
    pixels = ramp(0, 4095)
    plain = reader.read(radiograph_dataset(pixels, WindowCenter=1000, WindowWidth=500)).shown(None)
    inverted = radiograph_dataset(pixels, WindowCenter=1000, WindowWidth=500, PhotometricInterpretation="MONOCHROME1",
                                  PresentationLUTShape="INVERSE")
    turned = reader.read(inverted)
    assert turned.is_inverted
    assert np.abs(turned.shown(None).astype(int) - (255 - plain.astype(int))).max() <= 1  # halves are rounded to the other side


def test_eight_bits_without_a_window_are_shown_as_they_are(reader: Reader) -> None:
    pixels = ramp(0, 255, np.uint8)
    np.testing.assert_array_equal(reader.read(radiograph_dataset(pixels)).shown(None), pixels)


def test_what_is_no_image_stays_black_and_counts_in_no_range(reader: Reader) -> None:
    pixels = ramp(500, 900, np.int16)
    pixels[:8] = -2000
    read = reader.read(radiograph_dataset(pixels, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1",
                                          PresentationLUTShape="INVERSE"))
    assert (read.shown(None)[:8] == 0).all()
    assert read.span[0] >= 500
    assert read.value(0, 0) is None
    assert read.value(10, 0) == pixels[10, 0]


def test_a_table_of_greys_comes_before_windows(reader: Reader) -> None:
    dataset = radiograph_dataset(ramp(0, 255, np.uint8), WindowCenter=10, WindowWidth=10)
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 16], np.rint(65535 * (np.arange(256) / 255) ** 2).astype("<u2").tobytes()
    dataset.VOILUTSequence = [table]
    shown = reader.read(dataset).shown(None)
    expected = 255 * (dataset.pixel_array / 255.0) ** 2
    assert np.abs(shown - expected).max() <= 0.51


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_a_compressed_picture_is_the_same_picture(reader: Reader, syntax: Any) -> None:
    pixels = ramp(0, 4095)
    dataset = radiograph_dataset(pixels, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096)
    expected = reader.read(dataset).shown(None)
    dataset.compress(syntax)
    np.testing.assert_array_equal(reader.read(dataset).shown(None), expected)


def test_colour_is_shown_as_it_is_and_has_no_window(reader: Reader) -> None:
    dataset = radiograph_dataset(ramp(0, 255, np.uint8))
    colour = np.dstack([ramp(0, 255, np.uint8), ramp(255, 0, np.uint8), np.zeros((64, 64), np.uint8)])
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.PixelData = colour.tobytes()
    read = reader.read(dataset)
    assert read.is_colour
    np.testing.assert_array_equal(read.shown(Window(1, 2)), colour)


def test_the_page_and_dicomweb_show_the_same_picture(reader: Reader) -> None:
    windowed = radiograph_dataset(ramp(0, 4095), WindowCenter=99, WindowWidth=50)
    for dataset in (radiograph_dataset(ramp(0, 4095)), mr_series()[4], windowed):
        mine = reader.read(dataset).shown(None)
        theirs = rendered(parse(dicom_bytes(dataset)), 1)
        assert np.abs(mine.astype(int) - theirs.astype(int)).max() <= 1  # they compute in 32 bits


def test_made_smaller_each_pixel_is_the_mean_of_those_it_covers(reader: Reader) -> None:
    pixels = np.random.default_rng(1).integers(0, 4096, (512, 256)).astype(np.uint16)
    small = reader.read(radiograph_dataset(pixels)).smaller(256)
    assert small.stored.shape == (256, 128)
    assert small.size == (512, 256)
    blocks = pixels.reshape(256, 2, 128, 2).mean(axis=(1, 3))
    assert np.abs(small.stored - blocks).max() <= 0.5 + 1e-3


@dataclass(frozen=True)
class Block:
    stored: NDArray[Any]


def test_what_is_kept_stays_within_its_bytes_and_the_oldest_goes_first() -> None:
    kept: Kept[int, Block] = Kept(3000)
    made: list[int] = []

    def make(number: int) -> Block:
        made.append(number)
        return Block(np.zeros(1000, np.uint8))

    for number in (1, 2, 3, 1, 4):
        kept.get(number, lambda number=number: make(number))
    assert kept.bytes <= 3000
    kept.get(1, lambda: make(1))
    kept.get(2, lambda: make(2))
    assert made == [1, 2, 3, 4, 2]  # 2 was looked at for longest when 4 came
    kept.get(9, lambda: Block(np.zeros(5000, np.uint8)))
    assert kept.bytes <= 3000


def test_what_two_ask_for_at_once_is_made_once() -> None:
    kept: Kept[str, Block] = Kept(10_000)
    made: list[int] = []

    def make() -> Block:
        made.append(1)
        time.sleep(0.05)
        return Block(np.zeros(10, np.uint8))

    threads = [threading.Thread(target=kept.get, args=("one", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert made == [1]


def test_what_fails_is_not_kept_and_is_tried_again() -> None:
    kept: Kept[str, Block] = Kept(10_000)

    def fail() -> Block:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            kept.get("one", fail)
    assert kept.get("one", lambda: Block(np.zeros(10, np.uint8))).stored.nbytes == 10


def test_a_file_that_a_disk_spoilt_is_not_shown(reader: Reader) -> None:
    data = dicom_bytes(radiograph_dataset())
    sha256 = reader.objects.put(data)
    path = reader.objects.path(sha256)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(data[:-1] + b"\x00\x01")
    assert hashlib.sha256(path.read_bytes()).hexdigest() != sha256
    with pytest.raises(StoreError):
        read_pixels(reader.objects, Slice("1", "1", sha256, None, 256, 256), reader.decoder)
