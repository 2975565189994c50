"""Fine-tune: the whole network of a radiograph release goes on learning from verdicts, gently, with its old images beside them.

Half of every batch is local, half is drawn from the data the model was made of, so that it does not forget them, nor whom it
must refuse (rehearsal: Robins 1995, doi:10.1080/09540099550039318). The rate is a twentieth of the recipe's. Limits of refusal
are set anew on the old validation images, as when the model was made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from models.errors import BrokenModel, UnusableInput
from models.manifest import read_manifest
from models.model import Model
from models.read_any import read_any
from models.volume import Volume
from training import recipe as recipes
from training.augment import augment_images
from training.build import BUILD_IMAGES
from training.fit import fit
from training.measures import auroc
from training.recipe import Recipe
from training.refit.scored import learnt_outputs
from training.refit.verdicts import Judged, read_verdicts
from training.release import manifest_of, seal
from training.sets import TASK_SETS, TaskSet

EPOCHS, RATE_SHARE, BATCH = 6, 0.05, 16
FEWEST = 50


def finetuned(folder: Path, verdicts_folder: Path, checkpoint: Path, root: Path, out: Path, *, epochs: int = EPOCHS) -> Path:
    """Return a folder like the release in ``folder`` whose network learnt from the verdicts of the train side.

    ``root`` holds the data the model was made of. A killed run goes on after its last epoch. Raises BrokenModel for other tasks
    and for too few verdicts.
    """
    manifest = read_manifest(folder)
    made_by = recipes.read(manifest.name)
    tuned = tuned_checkpoint(folder, verdicts_folder, checkpoint, root, out / "fit", made_by, epochs=epochs)
    made = out / manifest.id
    made.mkdir(parents=True, exist_ok=True)
    fields = BUILD_IMAGES["radiograph"](made_by, tuned, root, made)
    (made / "evaluation.json").write_text("{}\n", encoding="utf-8")
    (made / "CARD.md").write_text("Not yet evaluated.\n", encoding="utf-8")
    stated = manifest_of(made_by, fields)
    seal(made, manifest.model_copy(update={"explains": stated.explains, "refuses": stated.refuses, "graph": stated.graph,
                                           "precisions": []}))
    return made


def tuned_checkpoint(folder: Path, verdicts_folder: Path, checkpoint: Path, root: Path, out: Path, made_by: Recipe, *,
                     epochs: int = EPOCHS) -> Path:
    """Return the checkpoint of the network after it learnt; ``made_by`` is the recipe it was made by."""
    manifest = read_manifest(folder)
    if made_by.task != "radiograph":
        raise BrokenModel(f"{manifest.id}: --checkpoint takes networks of radiographs, found {made_by.task}. Leave it out.")
    model = Model(folder)
    rows = read_verdicts(verdicts_folder, manifest.name)
    local, targets = _images(model, rows.of("train"))
    held, truths = _images(model, rows.of("val"))
    if len(local) < FEWEST:
        raise BrokenModel(f"{manifest.id}: fine-tuning needs at least {FEWEST} judged images of the train side, found {len(local)}. "
                          "Leave --checkpoint out, or judge more.")
    size = local.shape[2]
    options = {**made_by.fit, "batch": BATCH, "rate": RATE_SHARE * float(made_by.fit["rate"]), "average": 0.98,
               "stages": [{"size": size, "epochs": epochs}]}
    gentle = Recipe(made_by.name, {**made_by.raw, "fit": options})
    task = mixed(TASK_SETS["radiograph"](made_by, root, quick=False), local, targets, held, truths)
    return fit(gentle, out, root, task=task, start=checkpoint)


def mixed(old: TaskSet, local: Tensor, targets: Tensor, held: Tensor, truths: Tensor) -> TaskSet:
    """Return a task whose batches are half local (n, 1, rows, columns) and half of the ``old`` task; checked on ``held``."""

    def draw(indices: Tensor, size: tuple[int, ...], rng: Generator) -> dict[str, Tensor]:
        mine = indices[: max(1, len(indices) // 2)]
        theirs = torch.randint(0, old.count, (len(mine),), generator=rng)
        moved, masks = augment_images(local[mine].float(), torch.full((len(mine), 1, *local.shape[2:]), 128.0), size[0], rng)
        domain = torch.full((len(mine), 1), 0.99)
        both = ({"inputs": moved, "masks": masks, "targets": targets[mine], "domain": domain}, old.draw(theirs, size, rng))
        return {name: torch.cat([part[name] for part in both]) for name in both[0]}

    def check(net: nn.Module) -> dict[str, float]:
        if not len(held):
            return {}
        logits = torch.cat([net(chunk.float())["logits"] for chunk in held.split(64)]).numpy()
        known = ~torch.isnan(truths[:, 0]).numpy()
        return {"auroc_local": auroc(truths[known, 0].numpy(), logits[known, 0])}

    return TaskSet(2 * len(local), _wrapped(draw, len(local)), check)


def _wrapped(draw: Callable[..., dict[str, Tensor]], count: int) -> Callable[..., dict[str, Tensor]]:
    """Fold indices of an epoch over both halves back onto the local images: each is seen once an epoch."""
    return lambda indices, size, rng: draw(indices % count, size, rng)


def _images(model: Model, rows: list[Judged]) -> tuple[Tensor, Tensor]:
    """Return prepared images (n, 1, rows, columns) and their verdicts (n, logits), NaN where nothing was said."""
    outputs = sorted(learnt_outputs(model), key=lambda one: one.logit)
    pixels, told = [], []
    for row in rows:
        truths = [row.truths.get(one.output.name, np.nan) if not one.given or row.truths.get(one.given) == 1 else np.nan
                  for one in outputs]
        for path in row.files:
            try:
                volume = read_any(path)
            except (UnusableInput, OSError):
                continue
            if isinstance(volume, Volume) and volume.shape[0] == 1:
                pixels.append(model.prepare(volume)[0])
                told.append(truths)
    if not pixels:
        return torch.zeros(0, 1, 1, 1), torch.zeros(0, len(outputs))
    return torch.from_numpy(np.rint(np.stack(pixels)).astype(np.uint8)), torch.tensor(told, dtype=torch.float32)
