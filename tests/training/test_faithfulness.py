"""The audits pass a model that looks at the lungs, and catch one that reads a marker in the corner."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training import faithfulness
from training.faithfulness import Placement
from training.nets.radiograph import RadiographNet
from training.registration import measure_registration
from training.scramble import scramble

SIZE, PLACE = 96, Placement(16.0, (7.5, 7.5))
Phantoms = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]


def phantoms(count: int, *, marker: float, seed: int) -> Phantoms:
    """Draw chests with a soft opacity in one lung in half of them; a corner marker agrees with it this often.

    Returns pixels (n, 1, rows, columns), lung masks (n, rows, columns) and labels (n,).
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    pixels, masks, labels = [], [], np.arange(count) % 2
    for label in labels:
        middle = 0.5 + rng.uniform(-0.04, 0.04)
        lungs = np.zeros((SIZE, SIZE), bool)
        for side in (-0.2, 0.2):
            lungs |= ((x - middle - side) / 0.15) ** 2 + ((y - 0.52) / 0.32) ** 2 < 1
        # Levels vary from chest to chest, or the network would read the marker from the mean of the image.
        image = np.where(lungs, rng.uniform(50, 90), rng.uniform(120, 180)) + rng.normal(0, 12, lungs.shape)
        if label:
            row, column = middle_of_lung(rng, middle)
            image += rng.uniform(20, 40) * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 0.07**2))
        if rng.random() < (marker if label else 1 - marker):
            image[4:14, 4:14] = 250
        pixels.append(np.clip(image, 0, 255))
        masks.append(lungs)
    return np.stack(pixels)[:, None].astype(np.float32), np.stack(masks), labels.astype(np.float32)


def middle_of_lung(rng: np.random.Generator, middle: float) -> tuple[float, float]:
    return rng.uniform(0.38, 0.66), middle + rng.choice([-0.2, 0.2]) + rng.uniform(-0.04, 0.04)


def fitted(marker: float) -> Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Fit a small network on phantoms and return its score function."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two threads that wait for each other lose on a busy machine
    pixels, _, labels = phantoms(256, marker=marker, seed=1)
    net = RadiographNet(findings=1, width=8, blocks=(1, 1, 1))
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.01)
    rng = torch.Generator().manual_seed(0)
    images, truth = torch.from_numpy(pixels), torch.from_numpy(labels)[:, None]
    net.train()
    for _ in range(8):
        for chosen in torch.randperm(len(images), generator=rng).split(32):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(images[chosen])["logits"], truth[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    net.eval()

    def score(batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.no_grad():
            found = net(torch.from_numpy(batch))
        return found["logits"].numpy(), found["maps"].numpy()

    score.net = net  # type: ignore[attr-defined]
    return score


@pytest.fixture(scope="module")
def honest():  # type: ignore[no-untyped-def]
    return fitted(marker=0.5)


@pytest.fixture(scope="module")
def cheat():  # type: ignore[no-untyped-def]
    return fitted(marker=0.97)


def share_outside(score) -> float:  # type: ignore[no-untyped-def]
    """Audit true positives among phantoms whose marker says what it said in training: 0.97, as a hospital's would."""
    pixels, masks, labels = phantoms(80, marker=0.97, seed=9)
    logits, maps = score(pixels)
    called = (logits[:, 0] > 0) & (labels == 1)
    assert called.sum() > 20
    place = Placement(16.0, measure_registration(score, 16.0, (SIZE, SIZE), blobs=48, patterns=2).offset_px)
    return float(faithfulness.outside(maps[called, 0], masks[called], place).mean())


def test_a_model_that_learnt_the_opacity_passes_the_shortcut_audit(honest) -> None:  # type: ignore[no-untyped-def]
    share = share_outside(honest)
    assert share <= faithfulness.MAX_OUTSIDE
    assert not faithfulness.is_shortcut(share)


def test_a_model_that_learnt_a_corner_marker_is_caught(cheat) -> None:  # type: ignore[no-untyped-def]
    assert faithfulness.is_shortcut(share_outside(cheat))


def test_deleting_what_the_map_shows_lowers_the_score_faster_than_null_maps(honest) -> None:  # type: ignore[no-untyped-def]
    pixels, _, labels = phantoms(60, marker=0.5, seed=5)
    pixels = pixels[labels == 1]
    maps = honest(pixels)[1][:, 0]
    found = faithfulness.deletion_audit(
        honest, pixels, maps, channel=0, place=PLACE, patients=[str(i) for i in range(len(pixels))]
    )
    assert found["met"]
    assert found["map_less_random"]["high"] < 0  # type: ignore[index]


def test_maps_of_random_weights_do_not_resemble_those_of_the_model(honest) -> None:  # type: ignore[no-untyped-def]
    pixels, _, _ = phantoms(30, marker=0.5, seed=6)
    torch.manual_seed(3)
    other = RadiographNet(findings=1, width=8, blocks=(1, 1, 1)).eval()
    with torch.no_grad():
        scrambled = other(torch.from_numpy(pixels))["maps"].numpy()
    rho = faithfulness.randomisation_rho(honest(pixels)[1][:, 0], scrambled[:, 0])
    assert abs(float(np.median(rho))) <= 0.9
    same = faithfulness.randomisation_rho(scrambled[:, 0], scrambled[:, 0])
    assert same == pytest.approx(1.0)


def test_completeness_sees_a_map_that_lost_a_thousandth(honest) -> None:  # type: ignore[no-untyped-def]
    pixels, _, _ = phantoms(4, marker=0.5, seed=7)
    logits, maps = honest(pixels)
    bias = honest.net.bias.detach().tolist()
    assert faithfulness.completeness(logits, maps, bias) < 1e-5
    assert faithfulness.completeness(logits, maps + 0.01, bias) > 1e-4


def test_a_peak_just_off_the_mask_is_forgiven_only_with_a_margin() -> None:
    maps, masks = np.zeros((1, 6, 6)), np.zeros((1, SIZE, SIZE), bool)
    maps[0, 2, 3] = 1  # lies at row 39.5, column 55.5
    masks[0, 30:50, 60:90] = True
    assert faithfulness.outside(maps, masks, PLACE).tolist() == [True]
    assert faithfulness.outside(maps, masks, PLACE, margin_px=8).tolist() == [False]


def test_scrambling_reaches_back_to_the_strided_layer_and_no_further() -> None:
    rng = np.random.default_rng(0)
    sizes = {"stem": (4, 1, 3, 3), "down": (4, 4, 3, 3), "last": (4, 4, 3, 3), "head": (2, 4, 1, 1)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in sizes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "down"], ["b"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["b", "last"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "head"], ["map"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 16, 16])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, None)], weights,
    )
    model = onnx.ModelProto()
    model.CopyFrom(helper.make_model(graph))
    before = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}
    assert scramble(model, "map", seed=1) == ["down", "head", "last"]
    after = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert np.array_equal(after["stem"], before["stem"])
    assert not np.array_equal(after["head"], before["head"])
    assert after["last"].std() == pytest.approx(before["last"].std(), rel=0.3)


def test_a_graph_without_weights_cannot_be_randomised() -> None:
    with pytest.raises(ValueError, match="found none to randomise"):
        scramble(onnx.ModelProto(), "map", seed=0)
