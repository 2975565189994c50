"""Export: one graph that gives score, map and refusal, agreeing with torch, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from models.errors import BrokenModel
from training.calibrate import Calibration, Population
from training.export import RadiographGraph, VolumeGraph, agreement, export, nearest
from training.nets import NETS
from training.nets.volume_2d import SlicedVolumeNet

ROLES = ["probability", "logit", "map", "ood"]


def radiograph_graph() -> RadiographGraph:
    torch.manual_seed(0)
    net = NETS["radiograph"](width=8, blocks=(1, 1, 1)).eval()
    rng = np.random.default_rng(0)
    populations = [
        Population(rng.normal(size=(3, d)).astype(np.float32), np.eye(d, dtype=np.float32)) for d in (8, 16, 32)
    ]
    return RadiographGraph(net, [Calibration(1.3, -0.4), Calibration(0.7, 0.2)], populations).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    golden = np.random.default_rng(1).uniform(0, 255, (2, 1, 64, 64)).astype(np.float32)
    export(radiograph_graph(), golden, folder, input_name="pixels", roles=ROLES)
    return folder


def test_calibrated_logit_is_bias_plus_mean_of_the_calibrated_map(exported: Path) -> None:
    graph = radiograph_graph()
    with np.load(exported / "golden.npz") as golden:
        parts = graph.bias.detach().numpy() + golden["map"].mean(axis=(2, 3))
        np.testing.assert_allclose(parts, golden["logit"], atol=1e-5)


def test_calibration_is_what_was_asked_for(exported: Path) -> None:
    graph = radiograph_graph()
    with np.load(exported / "golden.npz") as golden, torch.no_grad():
        raw = graph.net(torch.from_numpy(golden["input"]))["logits"].numpy()
        np.testing.assert_allclose(golden["logit"], raw * [1.3, 0.7] + [-0.4, 0.2], atol=1e-5)


def test_bacterial_and_viral_share_out_pneumonia(exported: Path) -> None:
    with np.load(exported / "golden.npz") as golden:
        p = golden["probability"]
    np.testing.assert_allclose(p[:, 1] + p[:, 2], p[:, 0], atol=1e-6)


def test_graph_is_self_contained_with_a_dynamic_batch(exported: Path) -> None:
    model = onnx.load(str(exported / "model.onnx"), load_external_data=False)
    assert not any(t.external_data for t in model.graph.initializer)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert [o.name for o in model.graph.output] == ROLES


def test_graph_that_disagrees_with_torch_is_not_accepted(exported: Path) -> None:
    with np.load(exported / "golden.npz") as golden:
        expected = {role: golden[role] for role in ROLES}
        expected["logit"] = expected["logit"] + 0.01
        with pytest.raises(BrokenModel, match="logit"):
            agreement(exported / "model.onnx", golden["input"], expected)


def test_volume_graph_counts_the_voxels_it_labels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = NETS["volume"](widths=(4, 8, 8, 8)).eval()
    nn.init.normal_(net.head.weight, std=2)
    members = Population(np.zeros((1, 8), np.float32), np.eye(8, dtype=np.float32))
    golden = np.random.default_rng(2).uniform(1, 255, (2, 1, 16, 24, 32)).astype(np.float32)
    sliced = VolumeGraph(SlicedVolumeNet(net).eval(), members)
    export(sliced, golden, tmp_path, input_name="voxels", roles=["labels", "class_probability", "volume_ml", "ood"],
           reference=VolumeGraph(net, members), grids=["labels", "class_probability"])
    with np.load(tmp_path / "golden.npz") as file:
        counted = np.stack([(file["labels"] == part).sum(axis=(1, 2, 3)) / 1000 for part in (1, 2)], axis=1)
        np.testing.assert_allclose(file["volume_ml"], counted, atol=1e-6)
        assert file["labels"].dtype == np.uint8


def test_nearest_is_the_plain_squared_distance() -> None:
    z, centres = torch.randn(5, 7), torch.randn(3, 7)
    plain = ((z[:, None] - centres[None]) ** 2).sum(2).amin(1, keepdim=True) / 7
    torch.testing.assert_close(nearest(z, centres), plain)
