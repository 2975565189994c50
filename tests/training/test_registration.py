"""The phantom finds where a map lies, for maps whose place is known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from training.registration import measure_offset, measure_registration

Array = NDArray[np.float64]


def _strided(offset: tuple[int, int], stride: int, *, width_px: float = 8.0, shrink: bool = True):  # type: ignore[no-untyped-def]
    """Return a score whose cell (r, c) looks at pixel (r * stride + offset) through a symmetric smooth kernel."""

    def score(pixels: NDArray[np.float32]) -> tuple[Array, Array]:
        image = pixels[:, 0].astype(np.float64)
        if shrink:  # the normalisation a network would do
            image = image - image.mean(axis=(1, 2), keepdims=True)
            image = image / np.sqrt(image.var(axis=(1, 2), keepdims=True) + 1)
        seen = ndimage.gaussian_filter(image, (0, width_px, width_px), mode="constant")
        rows = np.arange(pixels.shape[2] // stride) * stride + offset[0]
        columns = np.arange(pixels.shape[3] // stride) * stride + offset[1]
        maps = np.stack([seen[:, rows][:, :, columns], -2 * seen[:, rows][:, :, columns]], axis=1)
        return maps.mean(axis=(2, 3)), maps

    return score


@pytest.mark.parametrize("offset", [(0, 0), (7, 7), (3, 12), (15, 1)])
def test_a_known_offset_is_found_within_a_pixel(offset: tuple[int, int]) -> None:
    found = measure_offset(_strided(offset, 16), 16, (192, 192))
    assert found == pytest.approx(offset, abs=1.0)


def test_the_measurement_says_how_sure_it_is() -> None:
    found = measure_registration(_strided((4, 4), 16), 16, (192, 160))
    assert found.offset_px == pytest.approx((4, 4), abs=1.0)
    assert max(found.spread_px) < 3


def test_a_narrow_receptive_field_does_not_bias_the_offset() -> None:
    found = measure_offset(_strided((5, 9), 16, width_px=3.0, shrink=False), 16, (192, 192))
    assert found == pytest.approx((5, 9), abs=1.0)


def test_a_map_that_ignores_the_image_is_refused() -> None:
    def constant(pixels: NDArray[np.float32]) -> tuple[Array, Array]:
        maps = np.ones((len(pixels), 1, 12, 12))
        return maps.mean(axis=(2, 3)), maps

    with pytest.raises(ValueError, match="found no change"):
        measure_offset(constant, 16, (192, 192))


def test_a_map_that_follows_nothing_is_refused() -> None:
    rng = np.random.default_rng(3)

    def noise(pixels: NDArray[np.float32]) -> tuple[Array, Array]:
        maps = rng.standard_normal((len(pixels), 1, 12, 12))
        return maps.mean(axis=(2, 3)), maps

    with pytest.raises(ValueError, match="must follow the phantom"):
        measure_offset(noise, 16, (192, 192))
