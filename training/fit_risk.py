"""Fit an additive risk model: cross-fit for an honest calibration and threshold, then fit once on all.

Mains are the average of two fits, boosted and joint: different estimates of the same tables vary less together.

Reads top to bottom in `fit`. The whole fit takes about a minute on one core, so a killed one is started again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from models.manifest import Feature
from training.boost import Boost, boost, curvature, design, pair_design, rank_pairs
from training.calibrate import platt, threshold_at_equal_ppv
from training.data import challenge2012
from training.joint import fit_jointly
from training.measures import auroc
from training.nets.additive import Additive, Scale, scale_of
from training.outside import outside_of, quantiles_of
from training.recipe import Recipe
from training.risk_features import features_of

Floats = NDArray[np.float32]
OUTSIDE_MARGIN = 1.25  # how much farther than anybody in the cohort a case must lie to be declined


@dataclass(frozen=True)
class Cohort:
    """Features (N, F) with NaN where missing, outcomes (N,), and the hash of the files they came from."""

    x: Floats
    y: Floats
    sha256: str
    counts: dict[str, int]


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


def fit(recipe: Recipe, out_dir: Path, root: Path | None = None, *, quick: bool = False) -> Path:
    """Fit and write `out_dir/checkpoint.npz` (arrays and JSON text, nothing pickled); return its path.

    `root` is the folder of the data sets, by default as `DIAPHANE_DATA` says. With `quick` a made-up cohort is fitted
    in a few seconds to the same kind of checkpoint.
    """
    torch.manual_seed(recipe.seed)
    features = features_of(recipe)
    cohort = made_up(features, recipe.seed) if quick else read(features, root)
    settings = {**recipe.fit, "seed": recipe.seed, **({"rounds": 60, "pair_rounds": 20, "folds": 3} if quick else {})}
    x, y = torch.from_numpy(cohort.x), torch.from_numpy(cohort.y)
    scales = Scales(
        [scale_of(column, bins=settings["bins"], knots=settings["knots"]) for column in cohort.x.T],
        [scale_of(column, bins=settings["bins"], knots=settings["joint_knots"]) for column in cohort.x.T],
        [scale_of(column, bins=settings["pair_bins"], knots=settings["pair_knots"]) for column in cohort.x.T],
    )

    folds = list(StratifiedKFold(settings["folds"], shuffle=True, random_state=recipe.seed).split(cohort.x, cohort.y))
    held_out = np.zeros(len(y), np.float64)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("additive fits", total=len(folds) + 1)
        for inside, outside in folds:
            shapes = fit_shapes(x[inside], y[inside], scales, settings)
            held_out[outside] = logits_of(x[outside], scales, shapes).numpy()
            progress.advance(task)
        shapes = fit_shapes(x, y, scales, settings)
        progress.advance(task)

    calibration = platt(cohort.y, held_out)
    probability = 1 / (1 + np.exp(-(calibration.slope * held_out + calibration.intercept)))
    quantiles = quantiles_of(cohort.x)
    found = {
        "calibration": {"slope": calibration.slope, "intercept": calibration.intercept},
        "threshold": threshold_at_equal_ppv(cohort.y, probability),
        "out_of_fold_auroc": auroc(cohort.y, held_out),
        "ood_limit": OUTSIDE_MARGIN * float(outside_of(cohort.x, quantiles).max()),
        "sha256": cohort.sha256,
        "counts": cohort.counts,
        "quick": quick,
    }
    console.print(f"out-of-fold AUROC {found['out_of_fold_auroc']:.4f}; {len(features)} + {len(shapes.pairs)} terms")
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "checkpoint.npz"
    np.savez_compressed(path, **tables_of(x, scales, shapes, found), quantiles=quantiles)
    return path


def read(features: list[Feature], root: Path | None) -> Cohort:
    """Read train and val together: shapes, calibration and threshold are all cross-fitted, and test is left alone."""
    source = root / "clinical/challenge2012" if root else challenge2012.folder()
    parts = [challenge2012.matrix(split, features, source) for split in ("train", "val")]
    x = np.concatenate([part[0] for part in parts])
    y = np.concatenate([part[1] for part in parts]).astype(np.float32)
    counts = {name: len(part[1]) for name, part in zip(("train", "val"), parts, strict=True)}
    return Cohort(x, y, challenge2012.data_sha256(source), {**counts, "died": int(y.sum())})


def made_up(features: list[Feature], seed: int, cases: int = 600) -> Cohort:
    """Make a cohort with two known risk factors, for tests and for machines without the data."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(cases, len(features))).astype(np.float32)
    logit = 1.5 * x[:, 0] - x[:, 1] - 1.5
    y = (rng.random(cases) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    return Cohort(x, y, "0" * 64, {"made_up": cases, "died": int(y.sum())})


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
    return mains + score(scales.crossed(x, shapes.pairs), shapes.crossings) + shapes.bias


def tables_of(x: Tensor, scales: Scales, shapes: Shapes, found: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of a checkpoint: calibrated levels, each term zero on average, and the bias."""
    slope, moved = found["calibration"]["slope"], found["calibration"]["intercept"]
    mains = [
        _levels(boosted, shapes.mains[f]) + _levels(joint, shapes.joint[f])
        for f, (boosted, joint) in enumerate(zip(scales.mains, scales.joint, strict=True))
    ]
    crossings = zip(shapes.pairs, shapes.crossings, strict=True)
    levels = [_pair_levels(scales.pairs[a], scales.pairs[b], weights) for (a, b), weights in crossings]
    coarse = {f: scales.pairs[f].edges for pair in shapes.pairs for f in pair}
    net = Additive(
        [scale.edges for scale in scales.mains], mains, pairs=shapes.pairs, pair_edges=coarse, pair_levels=levels,
        bias=shapes.bias,
    )
    with torch.no_grad():
        means = net(x)[1].double().mean(dim=0).numpy()
    arrays: dict[str, Any] = {f"edges{f}": scale.edges for f, scale in enumerate(scales.mains)}
    arrays |= {f"coarse{f}": edges for f, edges in coarse.items()}
    for kind, tables, start in (("main", mains, 0), ("pair", levels, len(mains))):
        for t, table in enumerate(tables):
            arrays[f"{kind}{t}"] = ((table - means[start + t]) * slope).astype(np.float32)
    bias = np.float32(slope * (shapes.bias + means.sum()) + moved)
    return {**arrays, "pairs": np.array(shapes.pairs), "bias": bias, "found": np.array(json.dumps(found))}


def _levels(scale: Scale, weights: Tensor) -> Floats:
    return scale.basis @ weights[: scale.basis.shape[1]].numpy()


def _pair_levels(a: Scale, b: Scale, weights: Tensor) -> Floats:
    width = round(len(weights) ** 0.5)
    square = weights.numpy().reshape(width, width)[: a.basis.shape[1], : b.basis.shape[1]]
    return (a.basis @ square @ b.basis.T).astype(np.float32)


def load(path: Path) -> tuple[Additive, dict[str, Any], Floats]:
    """Read a checkpoint → the calibrated net, what fitting found, and the cohort's quantiles (7, F)."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    pairs = [(int(a), int(b)) for a, b in arrays["pairs"]]
    count = sum(name.startswith("main") for name in arrays)
    net = Additive(
        [arrays[f"edges{f}"] for f in range(count)], [arrays[f"main{f}"] for f in range(count)], pairs=pairs,
        pair_edges={f: arrays[f"coarse{f}"] for pair in pairs for f in pair},
        pair_levels=[arrays[f"pair{p}"] for p in range(len(pairs))], bias=float(arrays["bias"]),
    )
    return net.eval(), json.loads(str(arrays["found"])), arrays["quantiles"]
