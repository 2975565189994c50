"""PNG, JPEG and NIfTI: display values come out, bombs and ruins do not get in."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models import read_image as room
from models.errors import UnusableInput
from models.read_image import read_nifti, read_raster
from tests.make import radiograph_pixels


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


PNG = encoded(radiograph_pixels(20, 20))


def test_grey_png_is_read_as_it_is() -> None:
    volume = read_raster(encoded(radiograph_pixels()))
    assert np.array_equal(radiograph_pixels().astype(np.float32), volume.voxels[0])
    assert (volume.units, volume.header.source, volume.spacing_known) == ("display", "image", False)


def test_sixteen_bit_png_is_scaled_to_255() -> None:
    assert read_raster(encoded(np.array([[0, 65535]], np.uint16))).voxels.ravel().tolist() == [0, 255]


def test_colour_becomes_luminance() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert read_raster(encoded(red)).voxels.ravel().tolist() == [76] * 4


def test_jpeg_file_on_disk_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(encoded(radiograph_pixels(), "JPEG"))
    assert read_raster(tmp_path / "x").shape == (1, 256, 256)


def test_more_pixels_than_allowed_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_PIXELS", 100)
    with pytest.raises(UnusableInput, match="found 256 x 256"):
        read_raster(encoded(radiograph_pixels()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(PNG)), st.lists(st.tuples(st.integers(8, len(PNG) - 1), st.integers(0, 255)), max_size=4))
def test_a_damaged_png_is_read_or_refused(cut: int, edits: list[tuple[int, int]]) -> None:
    data = bytearray(PNG)
    for place, value in edits:
        data[place] = value
    with suppress(UnusableInput):
        read_raster(bytes(data[:cut]))


def nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def test_what_is_no_single_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match=r"one 3-D volume, found shape \(2, 2, 2, 3\)"):
        read_nifti(nifti(tmp_path / "a.nii", np.zeros((2, 2, 2, 3), np.int16)))
    (tmp_path / "b.nii").write_bytes(b"not a volume")
    with pytest.raises(UnusableInput, match="could not be read"):
        read_nifti(tmp_path / "b.nii")


def test_a_volume_too_large_or_flat_in_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = nifti(tmp_path / "a.nii", np.zeros((2, 2, 2), np.int16))
    image = nibabel.load(flat)
    header = image.header.copy()
    header["srow_z"] = 0
    header["sform_code"], header["qform_code"] = 1, 0
    nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), None, header).to_filename(tmp_path / "c.nii")
    with pytest.raises(UnusableInput, match="invertible"):
        read_nifti(tmp_path / "c.nii")
    monkeypatch.setattr(room, "MAX_VOXELS", 4)
    with pytest.raises(UnusableInput, match="may hold 4 voxels"):
        read_nifti(flat)
