"""The gate of a faster precision: no change passes, and each kind of harm is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.manifest import Manifest, read_manifest
from tests.make_release import tiny_release
from training.gate import BARS, measure, verdict


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(tiny_release(tmp_path_factory.mktemp("gate"), "image_classification"))


def outputs(manifest: Manifest, count: int = 400) -> dict[str, np.ndarray]:
    """Complete outputs of a made-up classifier: logits are bias plus the mean of the maps."""
    rng = np.random.default_rng(0)
    maps = rng.normal(0, 3, (count, len(manifest.explains.bias), 4, 4))
    logit = maps.mean(axis=(2, 3)) + np.array([manifest.explains.bias[str(k)] for k in range(maps.shape[1])])
    columns = max(o.index for o in manifest.outputs) + 1
    probability = np.repeat(1 / (1 + np.exp(-logit[:, :1])), columns, axis=1)
    return {"map": maps, "logit": logit, "probability": probability}


def test_the_same_outputs_pass_every_gate(manifest: Manifest) -> None:
    same = outputs(manifest)
    figures = measure(same, same, manifest)
    assert figures["max_probability_change"] == 0
    assert [verdict(figures, name, 1e-4) for name in BARS] == [[], [], []]


def test_probabilities_moved_far_are_caught_though_their_order_is_kept(manifest: Manifest) -> None:
    reference = outputs(manifest)
    moved = {**reference, "probability": reference["probability"] * 0.5}
    figures = measure(reference, moved, manifest)
    assert any("max_probability_change" in cause for cause in verdict(figures, "bf16", 1e-4))
    assert figures["auroc_against_reference"] == 1.0


def test_a_map_that_no_longer_sums_to_the_score_is_caught(manifest: Manifest) -> None:
    reference = outputs(manifest)
    broken = {**reference, "map": reference["map"] + 0.5}
    assert any("completeness" in cause for cause in verdict(measure(reference, broken, manifest), "int8", 1e-4))


def test_peaks_that_wander_are_caught(manifest: Manifest) -> None:
    reference = outputs(manifest)
    turned = {**reference, "map": reference["map"][:, :, ::-1, ::-1].copy()}
    assert any("same_peak" in cause for cause in verdict(measure(reference, turned, manifest), "bf16", 1e-4))


def test_gate_runs_two_sessions_of_a_release(tmp_path: Path) -> None:
    """OpenVINO is told bf16; where the processor has none it computes in fp32, and nothing may move far."""
    pytest.importorskip("openvino")
    from training.gate import gate

    folder = tiny_release(tmp_path, "image_classification")
    with np.load(folder / "golden.npz") as golden:
        inputs = golden["input"].astype(np.float32)
    entry, figures, causes = gate(folder, inputs, "openvino", "bf16")
    assert (entry is None) == bool(causes)
    assert figures["completeness"] < 0.1
