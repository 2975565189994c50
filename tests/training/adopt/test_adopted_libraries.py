"""Whole architectures against the libraries they come from: TorchXRayVision's DenseNet121 and timm, with random weights."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.manifest import read_manifest
from models.model import Model
from models.prediction import Prediction
from models.read_dicom import read_dicom
from tests.make import dicom_bytes, radiograph_dataset, radiograph_pixels
from tests.training.adopt.make_classifiers import described
from training.adopt.description import Description
from training.adopt.nets import XRV, timm_net, xrv_net
from training.adopt.release import Origin, adopt, plausible
from training.adopt.template import of_xrv, template
from training.adopt.weights import read_weights

NAME, DIGEST = "densenet121-res224-all", "b" * 64
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def xrv() -> Iterator[Any]:
    """TorchXRayVision itself, the other side of every comparison here. It switches all warnings off when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip("torchxrayvision")
        yield found


@pytest.fixture(scope="module")
def theirs(xrv: Any) -> Any:
    """Their class with random weights, its batch norms set on drawn chests so that activations stay ordinary."""
    torch.manual_seed(11)
    net = xrv.models.DenseNet(num_classes=18, in_channels=1)
    chests = torch.from_numpy(plausible(np.random.default_rng(0), (224, 224), 4) * np.float32(2048 / 255) - 1024)
    with torch.no_grad():
        for _ in range(20):
            net.train()(chests)
        net.classifier.weight *= 3
    net.op_threshs = torch.tensor(XRV["weights"][NAME]["operating_points"])
    return net.eval()


def test_the_table_is_what_torchxrayvision_publishes(xrv: Any) -> None:
    for name, row in XRV["weights"].items():
        published = xrv.models.model_urls[name]
        assert row["labels"] == published["labels"]
        assert row["pixels"] == published["input_resolution"]
        assert row["source"] == published["weights_url"]
        for mine, its in zip(row["operating_points"], published["op_threshs"], strict=True):
            assert mine == its or (isnan(mine) and isnan(its))
    assert set(XRV["findings"]) == set(xrv.datasets.default_pathologies)


def test_their_densenet_is_scored_as_they_score_it(theirs: Any, tmp_path: Path) -> None:
    """Their file as they save it (the whole object), their square, their scale, their operating points, their numbers."""
    torch.save(theirs, tmp_path / "theirs.pt")
    state = read_weights(tmp_path / "theirs.pt")
    pixels = radiograph_pixels(448, 600)
    source = read_dicom([dicom_bytes(radiograph_dataset(pixels, PatientAge="052Y"))])
    for published in (True, False):
        told = Description.model_validate(tomllib.loads(template(of_xrv(NAME, published=published))))
        origin = Origin("torchxrayvision", NAME, "theirs.pt", DIGEST, net=xrv_net(NAME, state, "theirs.pt"))
        folder = adopt(origin, told, DIGEST, tmp_path / str(published), blobs=8)
        result = Model(folder).predict(source)
        assert isinstance(result, Prediction)
        left = (600 - 448) // 2
        square = torch.from_numpy((2 * (pixels[None, None, :, left : left + 448].astype(np.float32) / 255) - 1) * 1024)
        small = torch.nn.functional.interpolate(square, size=(224, 224), mode="bilinear", antialias=True)
        with torch.no_grad():
            expected = theirs(small)[0].numpy() if published else torch.sigmoid(theirs.classifier(theirs.features2(small)))[0].numpy()
        assert [finding.value for finding in result.findings] == pytest.approx(expected.tolist(), abs=2e-4)
        positive = [finding.above_threshold for finding in result.findings]
        with torch.no_grad():
            assert positive == (theirs(small)[0] >= 0.5).tolist()
        assert len(result.explanation.heatmaps) == sum(map(bool, positive))
        assert all(heatmap.values.shape == (7, 7) for heatmap in result.explanation.heatmaps)
        assert result.explanation.completeness_error < 1e-4


@pytest.mark.parametrize("arch", ["resnet18", "regnety_002"])
def test_an_architecture_of_timm_is_scored_as_timm_scores_it(arch: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(3)
    brought = timm.create_model(arch, pretrained=False, num_classes=3, in_chans=1).eval()
    net, table = timm_net(arch, 3, brought.state_dict(), "w")
    assert table["input_size"][0] == 3
    folder = adopt(Origin("timm", arch, "w", DIGEST, net=net), described(activation="softmax"), DIGEST, tmp_path, blobs=8)
    pixels = plausible(np.random.default_rng(4), (64, 64), 2)
    with torch.no_grad():
        expected = torch.softmax(brought(torch.from_numpy(pixels / np.float32(255))), dim=1).numpy()
    np.testing.assert_allclose(Model(folder).session.run(pixels)["probability"], expected, atol=1e-5)
    assert read_manifest(folder).explains.stride_px == 32
