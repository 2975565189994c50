"""Fine-tuning: the network moves, with old images drawn beside the local ones. Tiny images, seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.errors import BrokenModel
from models.manifest import read_manifest
from tests.make import radiograph_pixels
from tests.make_data import radiograph_data, radiograph_recipe
from tests.make_release import tiny_release
from training.fit import fit
from training.refit.finetune import mixed, tuned_checkpoint
from training.sets import TaskSet


def verdicts(folder: Path, count: int, model: str) -> Path:
    """Write a set of judged images, ill and not."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for i in range(count):
        ill = i % 2 == 1
        Image.fromarray(radiograph_pixels(48, 56, pneumonia=ill, seed=100 + i)).save(folder / f"images/{i}.png")
        said = [{"name": "pneumonia", "ai_present": ill, "present": None}]
        lines.append({"group": f"g{i}", "split": "train" if i % 5 else "val", "files": [f"images/{i}.png"], "status": "scored",
                      "model": f"{model}-1.0.0", "decision": "agree", "in_force": True, "assessed": said})
    (folder / "labels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    (folder / "records.jsonl").write_text("")
    return folder


def test_half_of_a_batch_is_local_and_half_is_old() -> None:
    seen: list[int] = []

    def old_draw(indices: torch.Tensor, size: tuple[int, ...], rng: torch.Generator) -> dict[str, torch.Tensor]:
        seen.append(len(indices))
        return {name: torch.full((len(indices), *shape), -1.0) for name, shape in
                (("inputs", (1, 32, 32)), ("masks", (1, 32, 32)), ("targets", (2,)), ("domain", (1,)))}

    local, none = torch.zeros(6, 1, 32, 32), torch.zeros(0, 1, 1, 1)
    task = mixed(TaskSet(10, old_draw, lambda _: {}), local, torch.ones(6, 2), none, torch.zeros(0, 2))
    drawn = task.draw(torch.arange(8), (32,), torch.Generator().manual_seed(1))
    assert (12, [4]) == (task.count, seen)
    assert [1.0] * 4 + [-1.0] * 4 == drawn["targets"][:, 0].tolist()
    assert {} == task.check(torch.nn.Identity())


@pytest.mark.slow
def test_the_network_learns_from_verdicts_of_the_train_side(tmp_path: Path) -> None:
    data = radiograph_data(tmp_path / "data", per_split=16)
    checkpoint = fit(radiograph_recipe(), tmp_path / "run", data, threads=1)
    release = tiny_release(tmp_path, "image_classification")
    name = read_manifest(release).name
    tuned = tuned_checkpoint(release, verdicts(tmp_path / "set", 70, name), checkpoint, data, tmp_path / "out", radiograph_recipe(),
                             epochs=2)
    before, after = (torch.load(one, weights_only=True) for one in (checkpoint, tuned))
    assert any(not torch.equal(before["average"][name], after["average"][name]) for name in before["average"])
    assert ["auroc_local"] == [name for name in after["history"][0] if name.startswith("auroc")]
    with pytest.raises(BrokenModel, match="at least 50 judged images"):
        tuned_checkpoint(release, verdicts(tmp_path / "few", 10, name), checkpoint, data, tmp_path / "none", radiograph_recipe())
