"""BUILD_IMAGES: per imaging task, from a checkpoint to the graph on disk and the manifest fields that only fitting knows.

Everything chosen here (calibration, thresholds, refusal limits) is chosen on the validation split. The test split
is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from training.calibrate import platt, population, threshold_at_sensitivity
from training.data import chest_xray, hippocampus
from training.export import OPSET, RadiographGraph, VolumeGraph, export
from training.fit import fitted
from training.nets.radiograph_rows import RadiographRowsNet
from training.nets.volume_2d import SlicedVolumeNet
from training.recipe import Recipe
from training.registration import measure_registration

VAL_REFUSED = 0.02  # share of validation children that all limits together may refuse
CROPS = 4  # random collimations of each validation image that calibration sees beside the image itself
VOLUME_MARGIN = 1.5  # limits for volumes: this much beyond the worst of few validation cases
Fields = dict[str, Any]


def build_radiograph(recipe: Recipe, checkpoint: Path, root: Path, folder: Path) -> Fields:
    """Calibrate, fit the populations, set limits, export. Returns the manifest fields to merge over the recipe's."""
    net = fitted(recipe, checkpoint)
    train, val = chest_xray.load(root, "train"), chest_xray.load(root, "val")
    grown = chest_xray.adults_of(chest_xray.load(root, "val", sources=chest_xray.ADULTS))
    classes = np.array([_class_of(c.targets) for c in train])
    truth = np.array([c.targets for c in val])

    pooled = _run(net, chest_xray.prepare(train, recipe.steps))["pooled"]
    val_pixels = chest_xray.prepare(val, recipe.steps)
    rng = np.random.default_rng(recipe.seed)
    seen = [val_pixels, *(chest_xray.prepare_crops(val, recipe.steps, rng) for _ in range(CROPS))]
    logits = np.concatenate([_run(net, pixels)["logits"] for pixels in seen])
    calibrations = [platt(np.tile(truth[:, k], len(seen)), logits[:, k]) for k in range(logits.shape[1])]
    bounds = np.cumsum([0, *(stage[-1].second[0].out_channels for stage in net.stages)])
    populations = [population(pooled[:, a:b], classes) for a, b in pairwise(bounds)]
    graph = RadiographGraph(net, calibrations, populations).eval()

    size = val_pixels.shape[1:]
    probability, _, _, ood = _outputs(graph, val_pixels)
    limits = _limits(ood, VAL_REFUSED)
    adult_ood = _outputs(graph, chest_xray.prepare(grown, recipe.steps))[3]
    threshold = threshold_at_sensitivity(truth[:, 0], probability[:, 0], 0.95)
    place = measure_registration(lambda x: _outputs(graph, x)[1:3], net.stride_px, (int(size[0]), int(size[1])))
    rows = RadiographGraph(RadiographRowsNet(net, (int(size[0]), int(size[1]))), calibrations, populations).eval()
    differences = export(rows, _made_images(recipe.seed, size), folder, input_name="pixels",
                         roles=["probability", "logit", "map", "ood"], reference=graph)
    names = ("outsider", "features_early", "features_middle", "features_late")
    meanings = ("The domain head takes the image for an adult's or a spoilt one.", *(
        f"The {depth} features lie far from those of the training children." for depth in ("early", "middle", "late")))
    spread = val_pixels.reshape(len(val_pixels), -1).std(axis=1)
    return {
        "graph": {"input": "pixels", "input_shape": ["batch", 1, *map(int, size)], "opset": OPSET,
                  "outputs": {role: role for role in ("probability", "logit", "map", "ood")}},
        "refuses": {
            "ood": [{"name": n, "limit": float(x), "meaning": m} for n, x, m in zip(names, limits, meanings, strict=True)],
            "min_spread": float(0.4 * spread.min()),
            "max_clipped_share": 0.6,
        },
        "explains": {
            "stride_px": float(net.stride_px), "offset_px": [round(v, 2) for v in place.offset_px],
            "offset_reason": f"measured with {place.blobs} blobs on a phantom at export; "
                             f"partial measurements differ by {max(place.spread_px):.1f} px (median)",
            "bias": {str(k): float(b) for k, b in enumerate(graph.bias.detach())},
        },
        "thresholds": {"pneumonia": threshold},
        "calibration": {
            name: {"slope": calibrations[k].slope, "intercept": calibrations[k].intercept}
            for name, k in (("pneumonia", 0), ("bacterial", 1), ("viral", 1))
        },
        "counts": {
            "train_children": len(train), "val_children": len(val),
            "train_normal": int((classes == 0).sum()), "train_bacterial": int((classes == 1).sum()),
            "train_viral": int((classes == 2).sum()),
        },
        "sha256": chest_xray.data_sha256(root),
        "report": {
            "agreement": differences,
            "val_children_refused": float((ood > limits).any(axis=1).mean()),
            "val_adults_refused": float((adult_ood > limits).any(axis=1).mean()),
        },
    }


def build_volume(recipe: Recipe, checkpoint: Path, root: Path, folder: Path) -> Fields:
    """Fit the population, set limits with a margin, export. Returns the manifest fields to merge over the recipe's."""
    net = fitted(recipe, checkpoint)
    train = [voxels for voxels, _ in hippocampus.prepare(hippocampus.load(root, "train"), recipe.steps)]
    val = [voxels for voxels, _ in hippocampus.prepare(hippocampus.load(root, "val"), recipe.steps)]
    with torch.no_grad():
        pooled = np.concatenate([net(torch.from_numpy(v)[None, None])["pooled"].numpy() for v in train])
    members = population(pooled, np.zeros(len(pooled), np.int64))
    graph = VolumeGraph(net, members).eval()
    ood = np.concatenate([_outputs(graph, v[None])[3] for v in val])
    limits = ood.max(axis=0) * VOLUME_MARGIN
    shape = (40, 56, 40)
    sliced = VolumeGraph(SlicedVolumeNet(net).eval(), members)
    differences = export(sliced, _made_volumes(recipe.seed, shape), folder, input_name="voxels",
                         roles=["labels", "class_probability", "volume_ml", "ood"], reference=graph,
                         grids=["labels", "class_probability"])
    meanings = ("The features lie far from those of the training crops.", "The outline is unsure in most of its voxels.",
                "One part was hardly found.")
    names = ("features", "unsure", "not_found")
    return {
        "graph": {"input": "voxels", "input_shape": ["batch", 1, "z", "y", "x"], "opset": OPSET,
                  "outputs": {role: role for role in ("labels", "class_probability", "volume_ml", "ood")}},
        "refuses": {
            "ood": [{"name": n, "limit": float(x), "meaning": m} for n, x, m in zip(names, limits, meanings, strict=True)],
            "min_spread": 1e-3,
        },
        "explains": {},
        "counts": {"train": len(train), "val": len(val)},
        "sha256": hippocampus.data_sha256(root),
        "report": {"agreement": differences, "val_refused": float((ood > limits).any(axis=1).mean())},
    }


BUILD_IMAGES: dict[str, Callable[[Recipe, Path, Path, Path], Fields]] = {
    "radiograph": build_radiograph,
    "volume": build_volume,
}


def _class_of(targets: tuple[float, float]) -> int:
    ill, bacterial = targets
    return 0 if not ill else 1 if bacterial else 2


def _run(net: nn.Module, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    with torch.no_grad():
        parts = [net(torch.from_numpy(pixels[i : i + 64]).unsqueeze(1).float()) for i in range(0, len(pixels), 64)]
    return {name: torch.cat([p[name] for p in parts]).numpy() for name in ("logits", "pooled")}


def _outputs(graph: nn.Module, batch: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Run a graph module on (n, …) or (n, 1, …) inputs in small batches."""
    full = torch.from_numpy(np.asarray(batch, dtype=np.float32))
    full = full if full.ndim > 3 and full.shape[1] == 1 else full.unsqueeze(1)
    with torch.no_grad():
        parts = [graph(chunk) for chunk in full.split(32)]
    return [torch.cat(role).numpy() for role in zip(*parts, strict=True)]


def _limits(ood: NDArray[np.float32], refused: float) -> NDArray[np.float32]:
    """Return one limit a column, all at the same quantile, so that together they refuse at most ``refused``."""
    for quantile in np.linspace(1 - refused, 1, 41):
        limits = np.quantile(ood, quantile, axis=0)
        if (ood > limits).any(axis=1).mean() <= refused:
            return limits
    return ood.max(axis=0)


def _made_images(seed: int, size: tuple[int, ...], count: int = 3) -> NDArray[np.float32]:
    """Smooth random fields, 0-255: golden inputs that belong to nobody. (count, 1, rows, columns)"""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=size), sigma) for sigma in np.linspace(4, 16, count)]
    stretched = [255 * (f - f.min()) / np.ptp(f) for f in fields]
    return np.stack(stretched)[:, None].astype(np.float32)


def _made_volumes(seed: int, shape: tuple[int, int, int], count: int = 2) -> NDArray[np.float32]:
    """Smooth random volumes with a dark rim. (count, 1, z, y, x)"""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=shape), sigma) for sigma in np.linspace(2, 5, count)]
    stretched = np.stack([900 * (f - f.min()) / np.ptp(f) for f in fields])[:, None]
    stretched[:, :, :2] = 0
    return stretched.astype(np.float32)
