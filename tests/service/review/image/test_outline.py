"""Outlines run along pixel edges: they hold exactly what the mask holds, whatever its shape."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from service.review.image.outline import Polygon, outlines

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=some.booleans())


def filled(polygons: list[Polygon], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill polygons by the even-odd rule, as a browser does: whether the centre of each pixel is inside."""
    inside = np.zeros(shape, bool)
    centre = np.arange(shape[1]) + 0.5
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            if x0 == x1:
                inside[min(y0, y1) : max(y0, y1)] ^= centre > x0
    return inside


@settings(max_examples=150, deadline=None)
@given(MASKS)
def test_what_the_outlines_hold_is_the_mask(mask: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_every_corner_is_a_turn_and_every_line_runs_along_pixels(mask: NDArray[np.bool_]) -> None:
    for polygon in outlines(mask):
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True)]
        assert all((dx == 0) != (dy == 0) for dx, dy in steps)
        assert all((one[0] == 0) != (after[0] == 0) for one, after in zip(steps, steps[1:] + steps[:1], strict=True))


def test_pixels_that_touch_at_a_corner_are_two_outlines() -> None:
    assert len(outlines(np.eye(2, dtype=bool))) == 2


def test_a_hole_is_an_outline_of_its_own() -> None:
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert sorted(len(polygon) for polygon in outlines(ring)) == [4, 4]


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((4, 4), bool)) == []
