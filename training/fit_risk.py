"""Fit an additive risk model: cross-fit for an honest calibration and threshold, then fit once on all.

Mains are the average of two fits, boosted and joint: different estimates of the same tables vary less together.

Reads top to bottom in `fit`. The whole fit takes about a minute on one core, so a killed one is started again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from models.manifest import Feature
from training.boost import Boost, boost, curvature, design, pair_design, rank_pairs
from training.calibrate import THRESHOLDS, platt
from training.checkpoint_risk import save
from training.data.cohort import Cohort, folds_of, joined
from training.joint import fit_jointly
from training.measures import auroc
from training.nets.additive import Scale, category_scale_of, scale_of
from training.outside import outside_of, quantiles_of
from training.recipe import Recipe
from training.risk_features import features_of
from training.several import is_first
from training.sources import source_of
from training.tracking import tracked

OUTSIDE_MARGIN = 1.25  # how much farther than anybody in the cohort a case must lie to be declined


@dataclass(frozen=True)
class Scales:
    """How every feature is cut: finely for mains, boosted and joint, coarsely for pairs. All folds share them.

    `mains` and `joint` have the same bins, so their levels add up; they differ in knots.
    """

    mains: list[Scale]
    joint: list[Scale]
    pairs: list[Scale]

    def crossed(self, x: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
        """Return the basis values of cases (N, F) for pairs (N, P, K·K)."""
        return pair_design(x, {f: self.pairs[f] for pair in pairs for f in pair}, pairs)


@dataclass(frozen=True)
class Shapes:
    """Everything a fit finds: weights of mains, boosted and joint (F, K each), of pairs (P, K·K), and the bias."""

    mains: Tensor
    joint: Tensor
    pairs: list[tuple[int, int]]
    crossings: Tensor
    bias: float


@dataclass(frozen=True)
class Fitted:
    """One output's fit; ``found`` has its calibration, threshold and out-of-fold AUROC."""

    scales: Scales
    shapes: Shapes
    found: dict[str, Any]


def fit(recipe: Recipe, out_dir: Path, root: Path, *, quick: bool = False) -> Path:
    """Fit and write `out_dir/checkpoint.npz` (arrays and JSON text, nothing pickled); return its path.

    `root` is the folder of the data sets. Every output of the recipe gets an additive fit of its own over the same
    features and folds. With `quick` a made-up cohort is fitted in a few seconds to the same kind of checkpoint. Under torchrun
    the first process does it alone: a minute needs no others.
    """
    path = out_dir / "checkpoint.npz"
    if not is_first():
        return path
    torch.manual_seed(recipe.seed)
    features = features_of(recipe)
    if quick:
        cohort = made_up(features, recipe.seed, outputs=len(recipe.outputs))
    else:
        cohort = joined(source_of(recipe), features, root, ("train", "val"))
    fits = []
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for index, name in enumerate(recipe.outputs):
            settings = settings_of(recipe, name, quick=quick)
            task = progress.add_task(f"{name}: additive fits", total=settings["folds"] + 1)
            fits.append(fit_output(cohort, index, features, settings, lambda task=task: progress.advance(task)))
    for name, one in zip(recipe.outputs, fits, strict=True):
        found = f"out-of-fold AUROC {one.found['out_of_fold_auroc']:.4f}"
        console.print(f"{name}: {found}; {len(features)} + {len(one.shapes.pairs)} terms")
    quantiles = quantiles_of(cohort.x)
    shared = {
        "ood_limit": OUTSIDE_MARGIN * float(outside_of(cohort.x, quantiles).max()),
        "sha256": cohort.sha256,
        "counts": dict(cohort.counts),
        "quick": quick,
    }
    with tracked("fit", recipe.name) as run:
        run.params({"recipe_sha256": recipe.sha256, "data_sha256": cohort.sha256, "version": recipe.version, "quick": quick,
                    **recipe.fit})
        run.figures({f"{name}.out_of_fold_auroc": one.found["out_of_fold_auroc"]
                     for name, one in zip(recipe.outputs, fits, strict=True)})
    out_dir.mkdir(parents=True, exist_ok=True)
    save(path, torch.from_numpy(cohort.x), [(one.scales, one.shapes, one.found) for one in fits], shared, quantiles)
    return path


def settings_of(recipe: Recipe, output: str, *, quick: bool = False) -> dict[str, Any]:
    """Return the recipe's [fit] with what [fit.OUTPUT] says otherwise, and the seed."""
    settings = {**recipe.fit, **recipe.fit.get(output, {}), "seed": recipe.seed}
    return {**settings, **({"rounds": 60, "pair_rounds": 20, "folds": 3} if quick else {})}


def scales_of(rows: NDArray[np.float32], features: list[Feature], settings: dict[str, Any]) -> Scales:
    """Cut every column of rows (N, F); the codes that the recipe calls `categories` get a level for each value."""
    words = set(settings.get("categories", ()))
    named = [feature.params.get("code") in words for feature in features]

    def cut(bins: int, knots: int) -> list[Scale]:
        return [
            category_scale_of(column) if word else scale_of(column, bins=bins, knots=knots)
            for word, column in zip(named, rows.T, strict=True)
        ]

    return Scales(
        cut(settings["bins"], settings["knots"]), cut(settings["bins"], settings["joint_knots"]),
        cut(settings["pair_bins"], settings["pair_knots"]),
    )


def fit_output(
    cohort: Cohort, index: int, features: list[Feature], settings: dict[str, Any], advance: Callable[[], None]
) -> Fitted:
    """Cross-fit one output for an honest calibration and threshold, then fit once on all rows.

    Rows whose outcome is NaN do not count for this output.
    """
    known = ~np.isnan(cohort.y[:, index])
    rows, outcome, groups = cohort.x[known], cohort.y[known, index], cohort.groups[known]
    x, y = torch.from_numpy(rows), torch.from_numpy(outcome)
    scales = scales_of(rows, features, settings)
    held_out = np.zeros(len(y), np.float64)
    for inside, outside in folds_of(outcome[:, None], groups, settings["folds"], settings["seed"]):
        shapes = fit_shapes(x[inside], y[inside], scales, settings)
        held_out[outside] = logits_of(x[outside], scales, shapes).numpy()
        advance()
    shapes = fit_shapes(x, y, scales, settings)
    advance()
    calibration = platt(outcome, held_out)
    probability = 1 / (1 + np.exp(-(calibration.slope * held_out + calibration.intercept)))
    rule = dict(settings.get("threshold", {"rule": "equal_ppv"}))
    return Fitted(scales, shapes, {
        "calibration": {"slope": calibration.slope, "intercept": calibration.intercept},
        "threshold": THRESHOLDS[rule.pop("rule")](outcome, probability, **rule),
        "out_of_fold_auroc": auroc(outcome, held_out),
    })


def made_up(features: list[Feature], seed: int, cases: int = 600, outputs: int = 1) -> Cohort:
    """Make a cohort with two known risk factors, for tests and for machines without the data."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(cases, len(features))).astype(np.float32)
    logit = 1.5 * x[:, 0] - x[:, 1] - 1.5
    drawn = [(rng.random(cases) < 1 / (1 + np.exp(-logit))).astype(np.float32) for _ in range(outputs)]
    x[rng.random(x.shape) < 0.1] = np.nan
    y = np.stack(drawn, axis=1)
    groups = np.array([str(case) for case in range(cases)])
    return Cohort(x, y, groups, "0" * 64, {"made_up": cases, "events": int(y[:, 0].sum())})


def fit_shapes(x: Tensor, y: Tensor, scales: Scales, settings: dict[str, Any]) -> Shapes:
    """Average boosted and jointly fitted mains, then boost the pairs that explain most of what the mains leave."""
    basis = design(x, scales.mains)
    how = Boost(settings["freedom"], settings["rate"], settings["rounds"], settings["share"], settings["seed"])
    boosted = boost(basis, y, curvature(scales.mains), how, torch.logit(y.mean()).expand(len(y)))
    smooth = design(x, scales.joint)
    penalties = settings["joint_bend"] * curvature(scales.joint, settings["joint_ridge"] / settings["joint_bend"])
    mains, joint = boosted / 2, fit_jointly(smooth, y, penalties) / 2
    terms = torch.einsum("ntk,tk->nt", basis, mains) + torch.einsum("ntk,tk->nt", smooth, joint)
    logits = terms.sum(dim=1)
    logits = logits + intercept(y, logits)
    used = torch.argsort(terms.std(dim=0), descending=True)[: settings["pair_from"]].tolist()
    ranked = rank_pairs(x[:, used], [scales.pairs[f] for f in used], y - torch.sigmoid(logits))
    pairs = [(used[a], used[b]) for _, a, b in ranked[: settings["pairs"]]]
    if not pairs:
        return Shapes(mains, joint, [], torch.zeros(0, 1), intercept(y, terms.sum(dim=1)))
    crossed = scales.crossed(x, pairs)
    ridge = torch.eye(crossed.shape[2], dtype=torch.float64).expand(len(pairs), -1, -1)
    how = Boost(
        settings["pair_freedom"], settings["pair_rate"], settings["pair_rounds"], settings["share"], settings["seed"]
    )
    crossings = boost(crossed, y, ridge, how, logits)
    return Shapes(mains, joint, pairs, crossings, intercept(y, terms.sum(dim=1) + score(crossed, crossings)))


def score(basis: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of all terms (N,) for basis values (N, T, K)."""
    return basis.flatten(1) @ weights.flatten()


def intercept(y: Tensor, logits: Tensor) -> float:
    """Return what must be added to the logits for the mean probability to be the observed risk."""
    shift = torch.zeros(())
    for _ in range(30):
        p = torch.sigmoid(logits + shift)
        shift = shift + ((y - p).sum() / (p * (1 - p)).sum()).clamp(-2, 2)
    return float(shift)


def logits_of(x: Tensor, scales: Scales, shapes: Shapes) -> Tensor:
    """Score cases (N, F) with fitted shapes → logits (N,), not calibrated."""
    mains = score(design(x, scales.mains), shapes.mains) + score(design(x, scales.joint), shapes.joint)
    if not shapes.pairs:
        return mains + shapes.bias
    return mains + score(scales.crossed(x, shapes.pairs), shapes.crossings) + shapes.bias
