"""The networks: a logit is its map, at any size; segmentation keeps the grid."""

from __future__ import annotations

import pytest
import torch

from training.nets import NETS


@pytest.mark.parametrize("size", [64, 96, 128])
def test_logit_is_bias_plus_mean_of_its_map_exactly(size: int) -> None:
    torch.manual_seed(0)
    net = NETS["radiograph"](width=8).eval()
    torch.nn.init.normal_(net.bias)
    with torch.no_grad():
        out = net(torch.rand(3, 1, size, size) * 255)
    assert out["maps"].shape == (3, 2, size // 16, size // 16)
    torch.testing.assert_close(out["logits"], net.bias + out["maps"].mean(dim=(2, 3)), rtol=0, atol=1e-6)


def test_radiograph_net_does_not_see_brightness_and_contrast() -> None:
    """The normalisation is inside: the same image, darker and flatter, scores the same."""
    net = NETS["radiograph"](width=8).eval()
    pixels = torch.rand(2, 1, 64, 64) * 200
    with torch.no_grad():
        torch.testing.assert_close(net(pixels)["logits"], net(pixels * 0.5 + 40)["logits"], rtol=0, atol=2e-3)


def test_volume_net_keeps_the_grid_and_ignores_the_unit_of_intensity() -> None:
    net = NETS["volume"](widths=(4, 8, 8, 8)).eval()
    voxels = torch.rand(1, 1, 16, 24, 8) * 100 + 1
    with torch.no_grad():
        out, scaled = net(voxels), net(voxels * 7)
    assert out["logits"].shape == (1, 3, 16, 24, 8)
    torch.testing.assert_close(out["logits"], scaled["logits"], rtol=0, atol=1e-3)


def test_volume_net_takes_a_blank_volume_without_dividing_by_zero() -> None:
    net = NETS["volume"](widths=(4, 8, 8, 8)).eval()
    with torch.no_grad():
        assert torch.isfinite(net(torch.zeros(1, 1, 16, 16, 16))["logits"]).all()
