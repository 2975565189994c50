"""An adopted bundle, served on a DICOM series, outlines what MONAI's own pipeline outlines on the same voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from models.model import Model
from models.prediction import Prediction
from models.read_dicom import read_dicom
from models.volume import Volume
from tests.make import dicom_bytes, mr_series
from tests.training.adopt_bundle.bundles import METADATA, before, changed, make_bundle
from tests.training.adopt_bundle.monai_pipeline import labels_by_monai
from training.adopt_bundle.adopt import adopt
from training.adopt_bundle.description import Description

THREE = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3}
PROSTATE = {
    **METADATA, "name": "Prostate MRI anatomy", "version": "0.3.4",
    "network_data_format": {"inputs": {"image": {"modality": "MR", "num_channels": 1}},
                            "outputs": {"pred": {"channel_def": {"0": "background", "1": "central gland", "2": "peripheral zone"}}}},
}
AFTER_LABELS = [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False], "allow_missing_keys": True},
    {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 2]},
    {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": True},
]
AFTER_SHARES = [
    {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False},
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]},
]
SIGMOID = [
    {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
    {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False},
    {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
]

# name → config, metadata. Window sizes that do not divide the volume, and one larger than it.
BUNDLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "spleen": (changed(), METADATA),
    "window larger than the volume": (
        changed(inferer={"_target_": "SlidingWindowInferer", "roi_size": [48, 24, 32], "overlap": 0.25}), METADATA),
    "prostate": (changed(
        network_def={"_target_": "UNet", **THREE, "channels": [4, 8, 8], "strides": [2, 2], "norm": "instance"},
        preprocessing=before({"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "margin": 2,
                              "select_fn": "$lambda x: x > 0.4"},
                             {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
                             {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [24, 40, 16]}),
        postprocessing={"_target_": "Compose", "transforms": AFTER_LABELS}), PROSTATE),
    "SegResNet after a percentile scaling": (changed(
        network_def={"_target_": "SegResNet", **THREE, "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
        preprocessing=before({"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": 2, "upper": 98, "b_min": -1,
                              "b_max": 1, "clip": True}),
        postprocessing={"_target_": "Compose", "transforms": AFTER_SHARES}), PROSTATE),
    "one channel": (changed(
        network_def={"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 1,
                     "features": [4, 4, 8, 8, 8, 4]},
        inferer={"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "overlap": 0.1, "mode": "gaussian"},
        postprocessing={"_target_": "Compose", "transforms": SIGMOID}), METADATA),
    "whole volume, resized": (changed(
        preprocessing=before({"_target_": "Resized", "keys": "image", "spatial_size": [24, 32, 16], "mode": "trilinear"}),
        inferer={"_target_": "SimpleInferer"}), METADATA),
}


def ct_series(shape: tuple[int, int, int] = (18, 44, 40), seed: int = 5, **changes: Any) -> list[bytes]:
    """Make a CT series of smooth shapes in HU, with slices thicker than pixels are wide."""
    drawn = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.5)
    voxels = np.round(drawn / np.abs(drawn).max() * 300 + 50).astype(np.int16)
    fields = {"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "RescaleSlope": 1, "RescaleIntercept": 0,
              "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2026.11", **changes}
    return [dicom_bytes(one) for one in mr_series(voxels, spacing_mm=(2.5, 0.9, 0.8), **fields)]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return the smallest Dice of all labels that either has."""
    labels = set(np.unique(one)) | set(np.unique(other))
    return min(2 * ((one == k) & (other == k)).sum() / ((one == k).sum() + (other == k).sum()) for k in labels - {0})


QUICK = ("spleen", "prostate", "SegResNet after a percentile scaling")


@pytest.mark.parametrize("name", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in BUNDLES])
def test_labels_and_volumes_are_those_of_monai(name: str, tmp_path: Path) -> None:
    config, metadata = BUNDLES[name]
    bundle = make_bundle(tmp_path / "bundle", config=config, metadata=metadata)
    model = Model(adopt(bundle, Description(), tmp_path / "shelf").folder)
    modality = model.manifest.accepts.modalities[0]
    source = read_dicom(ct_series(Modality=modality))
    result = model.predict(source)
    wanted = labels_by_monai(bundle, source, tmp_path)
    assert isinstance(result, Prediction), result
    assert result.explanation.mask is not None
    labels = result.explanation.mask.labels
    assert len(np.unique(wanted)) == len(result.findings) + 1, "the random network must draw every label"
    assert dice(labels, wanted) >= 0.999
    for finding, label in zip(result.findings, range(1, 99), strict=False):
        volume_ml = float((wanted == label).sum()) * source.voxel_ml
        assert finding.value == pytest.approx(volume_ml, rel=1e-3)


def test_a_turned_series_is_outlined_as_monai_outlines_it(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    model = Model(adopt(bundle, Description(), tmp_path / "shelf").folder)
    axial = read_dicom(ct_series())
    turned = np.diag([1.0, 1.0, 1.0, 1.0])
    turned[:3, :3] = np.array([[0, 0.8, 0.6], [-1, 0, 0], [0, -0.6, 0.8]]) @ np.diag([0.8, 0.9, 2.5])
    sagittal = Volume(axial.voxels, turned, "HU", axial.header, spacing_known=True)
    result = model.predict(sagittal)
    assert isinstance(result, Prediction)
    assert result.explanation.mask is not None
    assert dice(result.explanation.mask.labels, labels_by_monai(bundle, sagittal, tmp_path)) >= 0.999
