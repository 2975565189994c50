"""Crops and resizes as others trained with them: the same numbers as torchvision and TorchXRayVision, and the affine moves along."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.errors import BrokenModel, UnusableInput
from models.steps import STEPS, apply_steps
from models.steps_image import center_crop, center_square, shorter_side
from models.volume import Volume


def picture(rows: int, columns: int, affine: np.ndarray | None = None) -> Volume:
    voxels = np.random.default_rng(0).uniform(0, 255, (1, rows, columns)).astype(np.float32)
    return Volume(voxels, np.eye(4) if affine is None else affine)


def place(volume: Volume, row: float, column: float) -> np.ndarray:
    return (volume.affine @ [column, row, 0, 1])[:3]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_the_square_is_the_one_torchxrayvision_cuts(rows: int, columns: int) -> None:
    source = picture(rows, columns)
    side = min(rows, columns)  # XRayCenterCrop.crop_center, written out
    top, left = rows // 2 - side // 2, columns // 2 - side // 2
    assert np.array_equal(center_square(source).voxels, source.voxels[:, top : top + side, left : left + side])


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 8), st.integers(1, 8))
def test_the_crop_is_the_one_torchvision_cuts(y: int, x: int, rows: int, columns: int) -> None:
    from torch import from_numpy
    from torchvision.transforms.functional import center_crop as oracle

    source = picture(y, x)
    expected = oracle(from_numpy(source.voxels), [rows, columns]).numpy()
    assert np.array_equal(center_crop(source, rows=rows, columns=columns).voxels, expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(10, 60), st.sampled_from(["bilinear", "bicubic"]))
def test_the_resize_is_torchvisions_to_a_grey_level(y: int, x: int, pixels: int, interpolation: str) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resize as oracle

    source = picture(y, x)
    expected = oracle(Image.fromarray(source.voxels[0]), [pixels], InterpolationMode(interpolation))
    found = shorter_side(source, pixels=pixels, interpolation=interpolation)
    assert found.voxels[0].shape == np.asarray(expected).shape
    assert np.abs(found.voxels[0] - np.asarray(expected)).max() < 1e-3


def test_every_pixel_keeps_its_place_in_the_patient() -> None:
    affine = np.array([[0.3, 0, 0, 5], [0, 0.4, 0, -7], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    source = picture(50, 80, affine)
    cut = center_square(source)
    assert place(cut, 0, 0) == pytest.approx(place(source, 0, 15))
    cut = center_crop(source, rows=20, columns=30)
    assert place(cut, 3, 4) == pytest.approx(place(source, 18, 29))
    small = shorter_side(source, pixels=25)
    assert small.shape == (1, 25, 40)
    assert place(small, -0.5, -0.5) == pytest.approx(place(source, -0.5, -0.5))
    assert place(small, 24.5, 39.5) == pytest.approx(place(source, 49.5, 79.5))


def test_what_needs_no_change_is_the_same_volume() -> None:
    square = picture(30, 30)
    assert center_square(square) is square
    assert center_crop(square, rows=30, columns=30) is square
    assert shorter_side(square, pixels=30) is square


def test_nothing_is_made_up_around_a_small_image() -> None:
    with pytest.raises(UnusableInput, match="needs as many, found 10 x 40"):
        center_crop(picture(10, 40), rows=20, columns=20)


def test_an_interpolation_nobody_knows_is_refused() -> None:
    with pytest.raises(BrokenModel, match="unknown interpolation 'nearest'"):
        shorter_side(picture(10, 10), pixels=5, interpolation="nearest")


def test_the_steps_are_known_by_name() -> None:
    assert {"center_square", "center_crop", "shorter_side"} <= set(STEPS)
    made = apply_steps(picture(60, 90), [("shorter_side", {"pixels": 32}), ("center_crop", {"rows": 28, "columns": 28})])
    assert made.shape == (1, 28, 28)
