"""Volume: back_onto puts masks where they belong, whatever the steps did."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.steps import apply_steps
from models.volume import Volume
from tests.make import mr_voxels

AFFINE = np.array([[0.9, 0.1, 0, -20], [-0.1, 0.8, 0.05, 7], [0, 0.02, 1.4, 3], [0, 0, 0, 1.0]])


def block(shape: tuple[int, int, int] = (10, 14, 12)) -> Volume:
    voxels = np.zeros(shape, np.float32)
    voxels[3:7, 4:10, 3:9] = 1
    return Volume(voxels, AFFINE.copy(), spacing_known=True)


def test_back_onto_itself_changes_nothing() -> None:
    volume = block()
    assert np.array_equal(volume.voxels, volume.back_onto(volume, order=0))


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SPL", "AIL", "PRI"])
def test_mask_made_after_reorientation_and_padding_lands_on_its_own_voxels(axes: str) -> None:
    source = block()
    prepared = apply_steps(source, [("reorient", {"axes": axes}), ("pad_to_multiple", {"of": 8})])
    assert prepared.shape != source.shape
    assert np.array_equal(source.voxels, prepared.back_onto(source, order=0))


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(3, 9)] * 3), st.sampled_from(["LPS", "RAS", "ISL", "PLS"]), st.integers(2, 16))
def test_any_grid_survives_the_way_there_and_back(shape: tuple[int, int, int], axes: str, of: int) -> None:
    rng = np.random.default_rng(sum(shape))
    source = Volume(rng.integers(0, 3, shape).astype(np.float32), AFFINE.copy())
    prepared = apply_steps(source, [("reorient", {"axes": axes}), ("pad_to_multiple", {"of": of})])
    assert all(size % of == 0 for size in prepared.shape)
    assert np.array_equal(source.voxels, prepared.back_onto(source, order=0))


def test_resampled_mask_covers_the_same_millimetres() -> None:
    affine = np.diag([0.5, 0.8, 2.0, 1.0])
    source = Volume(mr_voxels(12, 40, 40).astype(np.float32), affine, spacing_known=True)
    prepared = apply_steps(source, [("resample", {"spacing_mm": (1.0, 1.0, 1.0)})])
    mask = prepared.with_voxels((prepared.voxels > 150).astype(np.float32))
    back = mask.back_onto(source, order=0)
    truth = source.voxels > 150
    overlap = 2 * (back.astype(bool) & truth).sum() / (back.sum() + truth.sum())
    assert overlap > 0.85


def test_voxels_outside_the_grid_get_the_value_asked_for() -> None:
    small = Volume(np.ones((2, 2, 2), np.float32))
    large = Volume(np.zeros((4, 4, 4), np.float32))
    moved = small.back_onto(large, order=0, outside=-5)
    assert (moved[0, 0, 0], moved[3, 3, 3]) == (1, -5)


def test_spacing_and_voxel_volume_come_from_the_affine() -> None:
    volume = Volume(np.zeros((2, 3, 4), np.float32), np.diag([0.5, 2.0, 3.0, 1.0]))
    assert (volume.shape, volume.spacing_mm, volume.voxel_ml) == ((2, 3, 4), (3.0, 2.0, 0.5), pytest.approx(0.003))


@pytest.mark.parametrize(
    ("voxels", "affine"),
    [
        (np.zeros((2, 2), np.float32), np.eye(4)),
        (np.zeros((0, 2, 2), np.float32), np.eye(4)),
        (np.zeros((2, 2, 2), np.float32), np.eye(3)),
    ],
)
def test_shapes_that_are_no_volume_are_refused(voxels: np.ndarray, affine: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Volume"):
        Volume(voxels, affine)
