"""The sliding window gives MONAI's own numbers, whatever the sizes of volume and window, the overlap and the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from models.manifest import Window
from models.sliding import blended

SIZES = st.tuples(st.integers(3, 21), st.integers(3, 21), st.integers(3, 21))
ROIS = st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(2, 12))
OVERLAPS = st.tuples(*[st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9])] * 3)


@pytest.mark.parametrize("mode", ["gaussian", "constant"])
@settings(max_examples=12, deadline=None)
@given(SIZES, ROIS, OVERLAPS, st.integers(1, 5), st.sampled_from([0.125, 0.3]), st.integers(0, 100))
def test_blended_scores_are_those_of_monai(
    mode: str, size: tuple[int, ...], roi: tuple[int, ...], overlap: tuple[float, ...], batch: int, sigma: float, seed: int
) -> None:
    torch.manual_seed(seed)
    net = torch.nn.Conv3d(1, 3, 3, padding=1)  # sees where a window ends, so that every overlap counts
    voxels = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    window = Window(roi=roi, overlap=overlap, mode=mode, sigma_scale=sigma, pad_value=0.5, batch=batch)
    with torch.no_grad():
        ours = blended(lambda windows: net(torch.from_numpy(windows)).numpy(), voxels, window)
        theirs = sliding_window_inference(
            torch.from_numpy(voxels)[None, None], roi, batch, net, overlap=overlap, mode=mode, sigma_scale=sigma, cval=0.5
        )[0].numpy()
    gap = float(np.abs(ours - theirs).max())
    assert gap < 1e-5
