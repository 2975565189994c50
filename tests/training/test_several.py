"""One fit over several processes: the same curve as alone, one checkpoint, and a stopped fit goes on. Two processes on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.make_data import radiograph_data, radiograph_recipe
from training import several
from training.fit import fit

pytest.importorskip("lightning_fabric", reason="the extra 'several' is not installed")
EPOCHS = 8
STAGES = [{"size": 32, "epochs": EPOCHS}]
CODE = """
import os, sys
from pathlib import Path
import torch
from tests.make_data import radiograph_recipe
from training.fit import fit
torch.set_num_threads(1)
save, saved = torch.save, []
def counted(*told):
    save(*told)
    saved.append(1)
    if len(saved) == int(sys.argv[3]):
        os._exit(1)  # written, and not yet in its place
torch.save = counted
fit(radiograph_recipe(batch=8, stages=[{"size": 32, "epochs": 8}]), Path(sys.argv[1]), Path(sys.argv[2]))
"""


def together(out: Path, data: Path, tmp_path: Path, *, stop_at: int = 0) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "together.py"
    script.write_text(CODE)
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611", str(script), str(out),
         str(data), str(stop_at)],
        cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ".", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=900, check=not stop_at)


def history(path: Path) -> list[dict[str, float]]:
    return torch.load(path / "checkpoint.pt", weights_only=True)["history"]


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one_and_one_checkpoint(tmp_path: Path) -> None:
    data = radiograph_data(tmp_path / "data", per_split=48)
    fit(radiograph_recipe(batch=8, stages=STAGES), tmp_path / "alone", data, threads=1)
    done = together(tmp_path / "two", data, tmp_path)
    alone, two = history(tmp_path / "alone"), history(tmp_path / "two")
    assert len(alone) == len(two) == EPOCHS
    gaps = [abs(a["loss"] - b["loss"]) / a["loss"] for a, b in zip(alone, two, strict=True)]
    # The same cases in the same order; each process draws its own augmentations and has its own batch statistics.
    assert max(gaps) < 0.15
    assert sum(gaps) / EPOCHS < 0.08
    assert two[-1]["loss"] < 0.9 * two[0]["loss"]
    assert ["checkpoint.pt"] == [path.name for path in (tmp_path / "two").iterdir()]
    assert 1 == done.stdout.count("reading data")


@pytest.mark.slow
def test_a_stopped_fit_goes_on_with_the_weights_it_would_have_had(tmp_path: Path) -> None:
    data = radiograph_data(tmp_path / "data", per_split=24)
    together(tmp_path / "whole", data, tmp_path)
    together(tmp_path / "stopped", data, tmp_path, stop_at=4)
    assert 3 == len(history(tmp_path / "stopped"))
    again = together(tmp_path / "stopped", data, tmp_path)
    assert f"resuming after epoch 3 of {EPOCHS}" in again.stdout
    whole, after = (torch.load(tmp_path / one / "checkpoint.pt", weights_only=True)["average"] for one in ("whole", "stopped"))
    assert all(torch.equal(whole[name], after[name]) for name in whole)


def test_without_torchrun_one_process_is_alone() -> None:
    alone = several.here({})
    assert isinstance(alone, several.Alone)
    assert isinstance(several.here({"WORLD_SIZE": "1"}), several.Alone)
    indices = torch.arange(5)
    assert (indices is alone.part(indices), alone.mean(0.25)) == (True, 0.25)
    assert (several.is_first({}), several.is_first({"RANK": "3"})) == (True, False)


def test_a_batch_that_does_not_divide_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    one = several.Fabric.__new__(several.Fabric)
    one.world, one.rank = 2, 1
    assert [1, 3] == one.part(torch.arange(4)).tolist()
    with pytest.raises(ValueError, match="2 equal parts, found 5"):
        one.part(torch.arange(5))
