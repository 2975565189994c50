"""The sliding window covers every voxel, leaves none out and asks for no more memory than it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import sliding
from models.errors import UnusableInput
from models.manifest import Window
from models.sliding import blended, importance, starts


def window(roi: tuple[int, int, int] = (4, 5, 6), **changes: object) -> Window:
    return Window.model_validate({"roi": roi, "overlap": (0.5, 0.25, 0.0), "mode": "gaussian", **changes})


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(6, 30)] * 3))
def test_windows_reach_every_voxel_and_none_outside(shape: tuple[int, int, int]) -> None:
    reached = np.zeros(shape, dtype=int)
    for corner in starts(shape, window()):
        assert all(0 <= at and at + size <= end for at, size, end in zip(corner, (4, 5, 6), shape, strict=True))
        reached[tuple(slice(at, at + size) for at, size in zip(corner, (4, 5, 6), strict=True))] += 1
    assert reached.min() >= 1


@pytest.mark.parametrize("shape", [(9, 11, 13), (2, 11, 3), (4, 5, 6)])
def test_scores_that_depend_on_the_voxel_alone_come_back_unchanged(shape: tuple[int, int, int]) -> None:
    voxels = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    scores = blended(lambda windows: np.concatenate([windows, -2 * windows], axis=1), voxels, window(batch=3))
    assert scores == pytest.approx(np.stack([voxels, -2 * voxels]), abs=1e-6)


def test_at_most_a_batch_of_windows_is_run_at_once() -> None:
    sizes: list[int] = []

    def run(windows: np.ndarray) -> np.ndarray:
        sizes.append(len(windows))
        return windows

    blended(run, np.zeros((12, 12, 12), dtype=np.float32), window(batch=4))
    assert max(sizes) == 4
    assert sum(sizes) == len(list(starts((12, 12, 12), window())))


def test_a_gaussian_weighs_the_middle_most_and_nothing_by_zero() -> None:
    weights = importance(window((9, 9, 9), sigma_scale=0.05))
    assert weights[4, 4, 4] == weights.max() == 1
    assert weights.min() >= 1e-3 * (1 - 1e-6)
    assert (importance(window(mode="constant")) == 1).all()


def test_scores_too_large_for_memory_are_refused_with_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliding, "MAX_BLENDED_BYTES", 20_000)
    with pytest.raises(UnusableInput, match=r"3 classes of \[12, 12, 12\] voxels .* take 20,736") as found:
        blended(lambda windows: np.repeat(windows, 3, axis=1), np.zeros((12, 12, 12), dtype=np.float32), window())
    assert found.value.code == "too_many_pixels"
