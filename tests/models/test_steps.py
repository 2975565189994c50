"""Steps: every change of the grid moves the affine with it, so a voxel keeps its place in the patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import BrokenModel, UnusableInput
from models.steps import STEPS, apply_steps, pad_to_multiple, reorient, resample, squash, window
from models.steps_volume import STEPS_OF_VOLUMES
from models.volume import Volume


def place(volume: Volume, z: float, y: float, x: float) -> np.ndarray:
    return (volume.affine @ [x, y, z, 1])[:3]


def corners(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Return the outer corners of the grid in millimetres: the field of view."""
    z, y, x = volume.shape
    return place(volume, -0.5, -0.5, -0.5), place(volume, z - 0.5, y - 0.5, x - 0.5)


def ramp(shape: tuple[int, int, int], affine: np.ndarray | None = None) -> Volume:
    """Make a volume whose value is its own x position in millimetres, linear so that interpolation is exact."""
    affine = np.eye(4) if affine is None else affine
    z, y, x = np.indices(shape)
    value = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2] * z + affine[0, 3]
    return Volume(value.astype(np.float32), affine, spacing_known=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 60), st.integers(4, 60), st.integers(4, 60), st.integers(4, 60))
def test_squash_keeps_the_field_of_view(y: int, x: int, rows: int, columns: int) -> None:
    source = Volume(np.random.default_rng(0).uniform(0, 255, (1, y, x)).astype(np.float32), np.diag([0.3, 0.4, 1, 1.0]))
    small = squash(source, rows=rows, columns=columns)
    assert small.shape == (1, rows, columns)
    for before, after in zip(corners(source), corners(small), strict=True):
        assert after == pytest.approx(before, abs=1e-9)


def test_squash_keeps_values_in_place() -> None:
    source = ramp((1, 64, 64))
    small = squash(source, rows=16, columns=32)
    middle = small.voxels[0, 8, 16]
    assert middle == pytest.approx(place(small, 0, 8, 16)[0], abs=0.1)


def test_squash_to_its_own_size_is_the_same_volume() -> None:
    source = ramp((1, 8, 8))
    assert squash(source, rows=8, columns=8) is source


@settings(max_examples=40, deadline=None)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3), st.sampled_from(["LPS", "RAS", "SLA"]))
def test_reorient_moves_no_voxel_in_the_patient(order: list[int], signs: tuple[int, int, int], axes: str) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(signs) @ np.eye(3)[order]) * [1.0, 1.5, 2.0]
    affine[:3, 3] = [5, -3, 8]
    source = ramp((3, 4, 5), affine)
    turned = reorient(source, axes=axes)
    z, y, x = np.indices(turned.shape)
    homogeneous = np.stack([x, y, z, np.ones_like(x)]).reshape(4, -1)
    positions = (turned.affine @ homogeneous)[0].reshape(turned.shape)
    assert np.abs(turned.voxels - positions).max() < 1e-4
    letters = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
    for column, letter in enumerate(axes):
        direction = turned.affine[:3, column]
        assert np.abs(direction).argmax() == letters[letter]
        assert (direction[letters[letter]] > 0) == (letter in "LPS")


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(0.5, 3)] * 3), st.tuples(*[st.floats(0.6, 2)] * 3))
def test_resample_keeps_values_at_their_millimetres(
    have: tuple[float, float, float], want: tuple[float, float, float]
) -> None:
    source = ramp((8, 9, 10), np.diag([have[2], have[1], have[0], 1.0]))
    new = resample(source, spacing_mm=want)
    z, y, x = (np.array(new.shape) - 1) // 2
    inside = np.all(np.array(new.shape) > 2)
    if inside:
        assert new.voxels[z, y, x] == pytest.approx(place(new, z, y, x)[0], abs=1e-3)


def test_resample_within_tolerance_interpolates_nothing() -> None:
    source = ramp((4, 4, 4), np.diag([1.005, 1.0, 0.995, 1.0]))
    assert resample(source, spacing_mm=(1.0, 1.0, 1.0)) is source


def test_resample_to_a_size_no_memory_holds_is_refused() -> None:
    source = Volume(np.zeros((512, 64, 64), np.float32), np.diag([50.0, 50.0, 50.0, 1.0]))
    with pytest.raises(UnusableInput, match="may hold 256,000,000 voxels"):
        resample(source, spacing_mm=(0.1, 0.1, 0.1))


def test_padding_surrounds_and_moves_no_voxel() -> None:
    source = ramp((5, 6, 7))
    padded = pad_to_multiple(source, of=8)
    assert padded.shape == (8, 8, 8)
    assert place(padded, 1, 1, 0) == pytest.approx(place(source, 0, 0, 0))
    assert np.array_equal(source.voxels, padded.voxels[1:6, 1:7, 0:7])


def test_window_clips_and_scales_to_255() -> None:
    source = Volume(np.array([[[-2000.0, -1000, 0, 1000, 5000]]], np.float32))
    assert window(source, low=-1000, high=1000).voxels.ravel().tolist() == [0, 0, 127.5, 255, 255]


def test_steps_run_in_order_and_unknown_ones_are_named() -> None:
    source = ramp((4, 4, 4))
    assert apply_steps(source, []).voxels is source.voxels
    with pytest.raises(BrokenModel, match="Unknown step 'blur'; known: squash"):
        apply_steps(source, [("blur", {})])
    assert {"squash", "reorient", "resample", "pad_to_multiple", "window", *STEPS_OF_VOLUMES} <= set(STEPS)


def test_voxels_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(UnusableInput, match="finite"):
        apply_steps(Volume(np.full((1, 2, 2), np.inf, np.float32)), [])
