"""Class activation maps are drawn where the graph looked, half-pixels and measured offsets included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.explain.cam import completeness, peak, upsample
from models.prediction import Heatmap
from models.volume import Volume


def picture(rows: int, columns: int) -> Volume:
    return Volume(np.zeros((1, rows, columns), np.float32), units="display")


def bump(at: tuple[int, int], *, offset: tuple[float, float] = (7.5, 7.5)) -> Heatmap:
    """Make a 12 x 12 map of a 192 x 192 input, highest in one cell."""
    rows, columns = np.indices((12, 12))
    values = np.exp(-((rows - at[0]) ** 2 + (columns - at[1]) ** 2) / 2.0).astype(np.float32)
    return Heatmap("f", values, 16.0, offset, (192, 192))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.tuples(st.floats(0, 15), st.floats(0, 15)),
    st.tuples(st.integers(180, 900), st.integers(180, 900)),
)
def test_peak_lies_where_the_cell_lies_on_the_image(
    cell: tuple[int, int],
    offset: tuple[float, float],
    size: tuple[int, int],
) -> None:
    found = peak(bump(cell, offset=offset), picture(*size))
    for axis in (0, 1):
        in_model = cell[axis] * 16 + offset[axis]
        on_image = (in_model + 0.5) * size[axis] / 192 - 0.5
        assert abs(found[axis] - on_image) <= max(1.0, 0.75 * size[axis] / 192)


def test_a_wrong_offset_moves_the_map_by_as_much() -> None:
    right, wrong = peak(bump((5, 5)), picture(192, 192)), peak(bump((5, 5), offset=(13.5, 7.5)), picture(192, 192))
    assert (wrong[0] - right[0], wrong[1] - right[1]) == (6, 0)


def test_upsampling_keeps_the_values_of_the_cells() -> None:
    heatmap = bump((4, 6), offset=(8.0, 8.0))
    drawn = upsample(heatmap, picture(192, 192))
    assert np.abs(drawn[8::16, 8::16] - heatmap.values).max() < 1e-5


def test_a_flat_map_is_drawn_flat_to_the_edge() -> None:
    flat = Heatmap("f", np.full((12, 12), 3.0, np.float32), 16.0, (7.5, 7.5), (192, 192))
    drawn = upsample(flat, picture(333, 250))
    assert drawn.shape == (333, 250)
    assert np.abs(drawn - 3).max() < 1e-5


def test_a_map_of_one_cell_covers_the_image() -> None:
    one = Heatmap("f", np.array([[2.0]], np.float32), 192.0, (95.5, 95.5), (192, 192))
    assert np.array_equal(np.full((50, 40), 2.0, np.float32), upsample(one, picture(50, 40)))


def test_between_two_cells_the_peak_is_between_them() -> None:
    """Bilinear interpolation keeps the peak on the grid of cells; bicubic does not."""
    values = np.zeros((12, 12), np.float32)
    values[5, 5] = values[5, 6] = 1
    row, column = peak(Heatmap("f", values, 16.0, (7.5, 7.5), (192, 192)), picture(192, 192))
    assert abs(row - 87.5) <= 1
    assert abs(column - (5.5 * 16 + 7.5)) <= 1


def test_completeness_is_relative_to_the_logit() -> None:
    maps = np.full((2, 12, 12), 0.5, np.float32)
    bias = np.array([1.0, -1.0])
    assert completeness(maps, bias, np.array([1.5, -0.5], np.float32)) == pytest.approx(0, abs=1e-7)
    assert completeness(maps, bias, np.array([1.5, 1.5], np.float32)) == pytest.approx(2 / 2.5)
    assert np.isnan(completeness(maps, np.array([1.0, np.nan]), np.array([1.5, 1.0], np.float32)))
