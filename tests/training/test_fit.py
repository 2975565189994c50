"""Fitting: it learns, it is the same twice, and a killed run goes on where it was."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.make_data import radiograph_data, radiograph_recipe, volume_data, volume_recipe
from training.fit import fit, fitted


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["average"]


def test_fitting_twice_gives_the_same_weights(tmp_path: Path) -> None:
    root = radiograph_data(tmp_path / "data")
    first = weights(fit(radiograph_recipe(), tmp_path / "a", root, threads=1))
    second = weights(fit(radiograph_recipe(), tmp_path / "b", root, threads=1))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_killed_fit_resumes_after_its_last_epoch_with_the_weights_it_would_have_had(tmp_path: Path) -> None:
    root = radiograph_data(tmp_path / "data")
    recipe = radiograph_recipe(stages=[{"size": 32, "epochs": 12}])
    whole = fit(recipe, tmp_path / "whole", root, threads=1)
    code = (
        "from pathlib import Path; from tests.make_data import radiograph_recipe; from training.fit import fit\n"
        "fit(radiograph_recipe(stages=[{'size': 32, 'epochs': 12}]), "
        f"Path({str(tmp_path / 'killed')!r}), Path({str(root)!r}), threads=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    while not checkpoint.is_file() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    interrupted_after = torch.load(checkpoint, weights_only=True)["epochs"]
    resumed = fit(recipe, tmp_path / "killed", root, threads=1)
    assert 1 <= interrupted_after <= 12
    assert torch.load(resumed, weights_only=True)["epochs"] == 12
    assert all(torch.equal(a, weights(resumed)[name]) for name, a in weights(whole).items())


def test_checkpoint_of_another_recipe_is_not_resumed(tmp_path: Path) -> None:
    root = radiograph_data(tmp_path / "data")
    fit(radiograph_recipe(), tmp_path / "run", root, threads=1)
    with pytest.raises(ValueError, match="another recipe"):
        fit(radiograph_recipe(rate=0.5), tmp_path / "run", root, threads=1)


def test_volume_net_learns_two_ellipsoids(tmp_path: Path) -> None:
    root = volume_data(tmp_path / "data")
    checkpoint = fit(volume_recipe(), tmp_path / "run", root, threads=1)
    history = torch.load(checkpoint, weights_only=True)["history"]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_fitted_network_is_in_evaluation_mode(tmp_path: Path) -> None:
    root = radiograph_data(tmp_path / "data")
    net = fitted(radiograph_recipe(), fit(radiograph_recipe(), tmp_path / "run", root, threads=1))
    assert not any(module.training for module in net.modules())


def test_toy_of_a_quick_fit_cannot_become_a_release(tmp_path: Path) -> None:
    root = radiograph_data(tmp_path / "data", per_split=24)
    checkpoint = fit(radiograph_recipe(), tmp_path / "run", root, quick=True, threads=1)
    with pytest.raises(ValueError, match="toy"):
        fitted(radiograph_recipe(), checkpoint)
