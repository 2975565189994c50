"""A bundle that classifies images is handed over as ONNX: the same scores on rows and columns, with a head that gets a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import typer
from monai.networks import nets
from typer.testing import CliRunner

from models.errors import BrokenModel
from tests.training.adopt_bundle.bundles import METADATA, changed, make_bundle
from training.adopt.surgery import Front, graft
from training.adopt_bundle.adopt import adopt
from training.adopt_bundle.bundle import read_bundle
from training.adopt_bundle.classifier import write_classifier
from training.adopt_bundle.commands import bundle as command
from training.adopt_bundle.description import Description

DENSENET = {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_features": 8, "growth_rate": 4,
            "block_config": [2, 2]}


def classifier(folder: Path) -> Path:
    told = {**METADATA, "network_data_format": {"inputs": {"image": {"modality": "DX"}},
                                                "outputs": {"pred": {"channel_def": {"0": "normal", "1": "ill"}}}}}
    return make_bundle(folder, config=changed(network_def=DENSENET), metadata=told)


def test_a_classifier_is_refused_as_a_volume_with_the_way_to_take_it_over(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match=r"DenseNet classifies images.*--to-onnx.*adopt onnx"):
        adopt(classifier(tmp_path / "bundle"), Description(modality="CT"), tmp_path / "shelf")


def test_the_graph_scores_rows_and_columns_as_the_network_scores_x_and_y(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "bundle")
    assert ["normal", "ill"] == write_classifier(read_bundle(folder), tmp_path / "net.onnx", 64)
    net = nets.DenseNet(**{key: value for key, value in DENSENET.items() if key != "_target_"})
    net.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    images = np.random.default_rng(1).uniform(size=(3, 1, 64, 64)).astype(np.float32)
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(images.transpose(0, 1, 3, 2).copy())).numpy()
    (found,) = onnxruntime.InferenceSession(str(tmp_path / "net.onnx")).run(None, {"pixels": images})
    assert found == pytest.approx(wanted, abs=1e-5)
    assert np.abs(wanted - wanted[0]).max() > 1e-3


def test_the_handed_over_head_gets_a_map_that_sums_to_the_score(tmp_path: Path) -> None:
    write_classifier(read_bundle(classifier(tmp_path / "bundle")), tmp_path / "net.onnx", 64)
    trial = np.random.default_rng(2).uniform(0, 255, (2, 1, 64, 64)).astype(np.float32)
    found = graft(onnx.load(tmp_path / "net.onnx"), Front(64, 64, (1 / 255,), (0.0,)), trial, "net.onnx", activation="softmax")
    assert found.completeness < 1e-4


def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(classifier(tmp_path / "bundle")), "--to-onnx", str(tmp_path / "net.onnx"), "--size", "64"])
    assert done.exit_code == 0, done.output
    assert 'adopt onnx' in done.output
    assert '--classes "normal, ill"' in done.output
