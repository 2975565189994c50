"""What the fitting loop draws from: a training set that makes batches, and a check on the validation split.

One function per task; each returns a TaskSet. All randomness of a batch comes from the generator passed in, so an
epoch can be drawn again exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from training.augment import augment_images, augment_volumes, outsiders_of
from training.data import chest_xray, hippocampus
from training.measures import auroc, dice
from training.recipe import Recipe


@dataclass(frozen=True)
class TaskSet:
    """``count`` cases; ``draw(indices, size, rng)`` makes a batch; ``check(net)`` scores the validation split."""

    count: int
    draw: Callable[[Tensor, tuple[int, ...], Generator], dict[str, Tensor]]
    check: Callable[[nn.Module], dict[str, float]]


def _images(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).unsqueeze(1)


def radiographs(recipe: Recipe, root: Path, *, quick: bool) -> TaskSet:
    """Children to learn findings from; adults and spoilt images, a quarter of each batch, to learn refusal from."""
    some = slice(None, None, 12) if quick else slice(None)
    children = chest_xray.load(root, "train")[some]
    adults = chest_xray.adults_of(chest_xray.load(root, "train", sources=chest_xray.ADULTS))[some]
    held_out = chest_xray.load(root, "val")[some]
    pixels = _images(chest_xray.prepare(children, recipe.steps))
    masks = _images(chest_xray.prepare_masks(children, tuple(pixels.shape[2:])))
    targets = torch.tensor([c.targets for c in children])
    others = _images(chest_xray.prepare(adults, recipe.steps))
    val_pixels = _images(chest_xray.prepare(held_out, recipe.steps))
    val_targets = np.array([c.targets for c in held_out])

    def draw(indices: Tensor, size: tuple[int, ...], rng: Generator) -> dict[str, Tensor]:
        side = max(2, len(indices) // 4)
        grown = others[torch.randint(0, len(others), (side // 2,), generator=rng)].float()
        spoilt = outsiders_of(pixels[torch.randint(0, len(pixels), (side - side // 2,), generator=rng)].float(), rng)
        outside = torch.cat([grown, spoilt])
        all_pixels = torch.cat([pixels[indices].float(), outside])
        all_masks = torch.cat([masks[indices].float(), torch.full_like(outside, 128)])
        moved, moved_masks = augment_images(all_pixels, all_masks, size[0], rng)
        nothing = torch.full((side, 2), float("nan"))
        domain = torch.cat([torch.full((len(indices), 1), 0.99), torch.full((side, 1), 0.01)])
        return {"inputs": moved, "masks": moved_masks, "targets": torch.cat([targets[indices], nothing]),
                "domain": domain}

    def check(net: nn.Module) -> dict[str, float]:
        logits = torch.cat([net(chunk.float())["logits"] for chunk in val_pixels.split(64)]).numpy()
        ill = val_targets[:, 0] == 1
        return {
            "auroc_pneumonia": auroc(val_targets[:, 0], logits[:, 0]),
            "auroc_bacterial": auroc(val_targets[ill, 1], logits[ill, 1]),
        }

    return TaskSet(len(children), draw, check)


def volumes(recipe: Recipe, root: Path, *, quick: bool) -> TaskSet:
    """MR crops, cut or padded to one size for batching; validation runs whole volumes one by one."""
    some = slice(None, None, 12) if quick else slice(None)
    prepared = hippocampus.prepare(hippocampus.load(root, "train")[some], recipe.steps)
    held_out = hippocampus.prepare(hippocampus.load(root, "val")[some], recipe.steps)

    def fitted(array: np.ndarray, size: tuple[int, ...], place: list[float]) -> Tensor:
        """Pad, or cut at ``place`` (0 start, 1 end of each axis), to ``size``."""
        tensor = torch.from_numpy(np.asarray(array, dtype=np.float32))
        pads: list[int] = []
        for want, have, where in zip(size, tensor.shape, place, strict=True):
            before = round((want - have) * where)
            pads = [before, want - have - before, *pads]
        return functional.pad(tensor, pads)

    def draw(indices: Tensor, size: tuple[int, ...], rng: Generator) -> dict[str, Tensor]:
        voxels, labels = [], []
        for i in indices.tolist():
            place = (0.1 + 0.8 * torch.rand(3, generator=rng)).tolist()
            voxels.append(fitted(prepared[i][0], size, place))
            labels.append(fitted(prepared[i][1], size, place))
        moved, moved_labels = augment_volumes(torch.stack(voxels)[:, None], torch.stack(labels)[:, None], rng)
        return {"inputs": moved, "labels": moved_labels}

    def check(net: nn.Module) -> dict[str, float]:
        scores = []
        for voxels, labels in held_out:
            found = net(torch.from_numpy(voxels)[None, None])["logits"].argmax(dim=1)[0].numpy()
            scores.append([dice(labels == part, found == part) for part in hippocampus.LABELS])
        anterior, posterior = np.mean(scores, axis=0)
        return {"dice_anterior": float(anterior), "dice_posterior": float(posterior)}

    return TaskSet(len(prepared), draw, check)


TASK_SETS: dict[str, Callable[..., TaskSet]] = {"radiograph": radiographs, "volume": volumes}
