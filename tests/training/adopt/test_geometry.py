"""The centre of a cell by paddings alone: what the gradient of one cell says, of networks that look evenly around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper
from torch import nn

from tests.training.adopt.make_classifiers import SIZE, TinyNet, graph_of, plain_graph
from training.adopt.geometry import centre_of
from training.adopt.nets import to_onnx


@pytest.mark.parametrize("layers", [
    [nn.Conv2d(1, 2, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1)],
    [nn.Conv2d(1, 2, 4, 4), nn.AvgPool2d(2, 2)], [nn.Conv2d(1, 2, 3, 2), nn.Conv2d(2, 2, 3, 1, 2, dilation=2)],
], ids=["like_resnet", "like_patches", "without_padding"])
def test_the_centre_is_that_of_the_gradient_of_one_cell(layers: list[nn.Module]) -> None:
    features = nn.Sequential(*layers)
    with torch.no_grad():
        for weights in features.parameters():
            weights.fill_(0.1)  # looks evenly around its cell
    net = TinyNet(head=nn.Linear(2, 1))
    net.features = features
    made = to_onnx(net, 1, (SIZE, SIZE))
    pooled = next(node for node in made.graph.node if node.op_type == "GlobalAveragePool")
    found = centre_of(made, pooled.input[0])
    image = torch.full((1, 1, SIZE, SIZE), 0.5) + 1e-3 * torch.rand(1, 1, SIZE, SIZE)
    image.requires_grad_(True)
    cells = features(image)
    row = cells.shape[2] // 2
    cells[0, 0, row, row].backward()
    weight = image.grad[0, 0].abs().numpy()
    stride = SIZE / 2 ** round(np.log2(cells.shape[2]))
    y = (weight.sum(axis=1) * np.arange(SIZE)).sum() / weight.sum()
    assert found is not None
    tolerance = 2.0 if any(isinstance(layer, nn.MaxPool2d) for layer in layers) else 0.05  # the largest value picks one pixel
    assert y == pytest.approx(found[0] + row * stride, abs=tolerance)


def test_a_branch_that_pools_does_not_hide_the_place() -> None:
    nodes = [helper.make_node("Conv", ["image", "k"], ["f"], kernel_shape=[8, 8], strides=[8, 8]),
             helper.make_node("GlobalAveragePool", ["f"], ["g"]), helper.make_node("Sigmoid", ["g"], ["s"]),
             helper.make_node("Mul", ["s", "f"], ["weighed"]), helper.make_node("Identity", ["weighed"], ["classes"])]
    assert centre_of(graph_of(nodes, {"k": np.ones((2, 1, 8, 8), np.float32)}), "weighed") == (3.5, 3.5)


def test_where_places_are_moved_about_nothing_is_said() -> None:
    assert centre_of(plain_graph(nhwc=True), "features") is None
    assert centre_of(plain_graph(), "no such value") is None
