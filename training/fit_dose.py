"""Fit an additive model of a dose: all shapes at once, then intervals from held-out residuals. Reads top to bottom in `fit`.

The score is the natural logarithm of the dose; the loss is that of its square root, whose spread hardly depends on the
dose (as in N Engl J Med 2009;360:753). What an unknown genotype adds is fitted on patients whose genotype was hidden, not
on the few sites that did not type: it must hold wherever nobody is typed.
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
from rich.progress import track
from torch import Tensor

from models.manifest import Feature
from training.boost import curvature, design, pair_design
from training.data.cohort import Cohort, joined
from training.iwpc_equation import body_of
from training.nets.additive import Additive, Scale, category_scale_of, scale_of
from training.outside import outside_of, quantiles_of
from training.recipe import Recipe
from training.risk_features import features_of
from training.sources import source_of

Floats = NDArray[np.float32]
Array = NDArray[np.float64]
OUTSIDE_MARGIN = 1.25  # how much farther than anybody in the cohort a case must lie to be declined
BANDS_MG = (25.0, 40.0)  # predicted doses that part the intervals of typed patients
TYPED, NO_VKORC1, NO_CYP2C9, NEITHER = (0, 1, 2), 3, 4, 5  # groups of intervals; typed ones by band of the dose


@dataclass(frozen=True)
class Scales:
    """How every feature is cut for its main term, and for the pairs it is in."""

    mains: list[Scale]
    coarse: dict[int, Scale]
    pairs: list[tuple[int, int]]


def fit(recipe: Recipe, out_dir: Path, root: Path, *, quick: bool = False) -> Path:
    """Fit and write `out_dir/checkpoint.npz` (arrays and JSON text, nothing pickled); return its path.

    With `quick` a made-up cohort is fitted in a second to the same kind of checkpoint.
    """
    features = features_of(recipe)
    names = [one.name for one in features]
    settings = {**recipe.fit, "seed": recipe.seed, **({"folds": 3} if quick else {})}
    source = None if quick else source_of(recipe)
    cohort = made_up(features, recipe.seed) if source is None else joined(source, features, root, ("train", "val"))
    x, dose = cohort.x, cohort.y[:, 0].astype(np.float64)
    hidden = tuple(names.index(name) for name in settings["genotypes"])
    pairs = [(names.index(a), names.index(b)) for a, b in settings["pairs"]]
    scales = scales_of(x, [bool(one.meanings) for one in features], pairs, settings)

    seen: dict[tuple[int, ...], Array] = {which: np.zeros(len(x)) for which in _hidings(hidden)}
    for inside, outside in track(folds_of(cohort.groups, settings), "additive fits", console=Console(), transient=True):
        net = fit_net(x[inside], dose[inside], scales, hidden, settings)
        for which, score in seen.items():
            score[outside] = score_of(net, hide(x[outside], which))
    net = fit_net(x, dose, scales, hidden, settings)

    residuals = {which: np.log(dose) - score for which, score in seen.items()}
    error = np.abs(np.exp(seen[()]) - dose)
    quantiles = quantiles_of(x)
    found = {
        "outputs": [{}],
        "interval": intervals(x, seen[()], residuals, hidden, settings["level"]),
        "body": body_of(x, names),
        "extremes": {name: _extremes(x[:, names.index(name)]) for name in settings["within"]},
        "ood_limit": OUTSIDE_MARGIN * float(outside_of(x, quantiles).max()),
        "sha256": cohort.sha256, "counts": dict(cohort.counts), "quick": quick,
        "held_out": {"mean_absolute_error": float(error.mean()), "within_20_percent": float((error <= 0.2 * dose).mean())},
    }
    Console().print(f"held out: {found['held_out']}")
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "checkpoint.npz"
    np.savez_compressed(path, **_arrays(net), found=np.array(json.dumps(found)), quantiles=quantiles)
    return path


def made_up(features: list[Feature], seed: int, cases: int = 400) -> Cohort:
    """Make a cohort whose dose falls with age and VKORC1, for tests and for machines without the data."""
    rng = np.random.default_rng(seed)
    lows = {"age_years": 20, "height_cm": 145, "Weight": 45}
    highs = {"age_years": 95, "height_cm": 195, "Weight": 130, "vkorc1_a_alleles": 2, "cyp2c9_diplotype": 5}
    columns = []
    for one in features:
        code = str(one.params["code"])
        low, high = lows.get(code, 0), highs.get(code, 1)
        columns.append(rng.uniform(low, high, cases) if code in lows else rng.integers(low, high + 1, cases))
    x = np.stack(columns, axis=1).astype(np.float32)
    codes = [str(one.params["code"]) for one in features]
    age, alleles = x[:, codes.index("age_years")], x[:, codes.index("vkorc1_a_alleles")]
    dose = np.exp(4.2 - 0.008 * age - 0.35 * alleles + rng.normal(0, 0.25, cases)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    groups = np.array([str(case) for case in range(cases)])
    return Cohort(x, dose[:, None], groups, "0" * 64, {"made_up": cases})


def folds_of(groups: NDArray[np.str_], settings: dict[str, Any]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Deal patients into folds; return (inside, outside) row numbers of each."""
    _, place = np.unique(groups, return_inverse=True)
    fold = np.random.default_rng(settings["seed"]).permutation(place.max() + 1)[place] % settings["folds"]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(settings["folds"])]


def scales_of(x: Floats, words: list[bool], pairs: list[tuple[int, int]], settings: dict[str, Any]) -> Scales:
    """Cut every feature, or give each of its ``words`` a level; all folds share the cuts."""
    mains = [
        category_scale_of(column) if word else scale_of(column, bins=settings["bins"], knots=settings["knots"])
        for column, word in zip(x.T, words, strict=True)
    ]
    coarse = {f: scale_of(x[:, f], bins=settings["pair_bins"], knots=settings["pair_knots"]) for pair in pairs for f in pair}
    return Scales(mains, coarse, pairs)


def fit_net(x: Floats, dose: Array, scales: Scales, hidden: tuple[int, ...], settings: dict[str, Any]) -> Additive:
    """Fit mains and pairs to doses (N,) in mg a week; every term is zero on average over x (N, F)."""
    rows = torch.from_numpy(x)
    mains = design(rows, scales.mains)
    crossed = pair_design(rows, scales.coarse, scales.pairs) if scales.pairs else torch.zeros(len(x), 0, 1)
    smooth = settings["bend"] * curvature(scales.mains, settings["ridge"] / settings["bend"])
    ridge = settings["pair_ridge"] * torch.eye(crossed.shape[2], dtype=torch.float64).expand(crossed.shape[1], -1, -1)
    weights, bias = penalised(
        torch.cat([mains.flatten(1), crossed.flatten(1)], dim=1).double(), torch.from_numpy(dose),
        torch.block_diag(*smooth, *ridge),
    )
    width, count = mains.shape[2], len(scales.mains)
    tables = [
        scale.basis @ weights[f * width : f * width + scale.basis.shape[1]].numpy() for f, scale in enumerate(scales.mains)
    ]
    levels = [
        _pair_levels(scales, pair, weights[count * width :].view(len(scales.pairs), -1)[p].numpy())
        for p, pair in enumerate(scales.pairs)
    ]
    for f in hidden:
        tables[f][-1] = _unknown(_net(scales, tables, levels, bias), x, dose, f)
    return _centred(_net(scales, tables, levels, bias), scales, rows)


def penalised(basis: Tensor, dose: Tensor, penalty: Tensor, steps: int = 40, tolerance: float = 1e-6) -> tuple[Tensor, float]:
    """Return the weights (K,) and the bias that minimise Σ (√dose - √exp(score))²/8 + w·penalty·w, by Gauss and Newton.

    An eighth: near the truth this is dose/32 times the squared error of the logarithm, about one for a usual dose.
    """
    cases = basis.shape[0]
    whole = torch.cat([basis, torch.ones(cases, 1, dtype=torch.float64)], dim=1)
    pull = torch.block_diag(penalty, torch.zeros(1, 1, dtype=torch.float64))
    found = torch.zeros(whole.shape[1], dtype=torch.float64)
    found[-1] = dose.log().median()
    for _ in range(steps):
        root = torch.exp(whole @ found / 2)
        weight = root**2 / 32
        target = whole @ found + (dose.sqrt() - root) * 2 / root
        weighted = whole * weight[:, None]
        step = torch.linalg.solve(weighted.T @ whole + pull, weighted.T @ target) - found
        found = found + step
        if float(step.abs().max()) < tolerance:
            break
    return found[:-1], float(found[-1])


def score_of(net: Additive, x: Floats) -> Array:
    """Return the score of cases (N, F): the logarithm of the dose in mg a week (N,)."""
    with torch.no_grad():
        return np.asarray(net(torch.from_numpy(x))[0][:, 0].double().numpy())


def hide(x: Floats, which: tuple[int, ...]) -> Floats:
    """Return a copy with some features taken for unknown."""
    copy = x.copy()
    copy[:, list(which)] = np.nan
    return copy


def intervals(
    x: Floats, score: Array, residuals: dict[tuple[int, ...], Array], hidden: tuple[int, ...], level: float
) -> list[list[float]]:
    """Return what is added to the score for each group's low and high end (6, 2): split conformal, one group at a time.

    Vovk 2003, arXiv:cs/0306020 (Mondrian). Typed patients are parted by their dose; the others by what is unknown, and
    stand for everybody with that hidden.
    """
    vkorc1, cyp2c9 = hidden
    typed = ~np.isnan(x[:, hidden]).any(axis=1)
    band = np.searchsorted(np.log(BANDS_MG), score, side="right")
    groups = [residuals[()][typed & (band == k)] for k in TYPED]
    groups += [residuals[which] for which in ((vkorc1,), (cyp2c9,), (vkorc1, cyp2c9))]
    return [_ends(group, level) for group in groups]


def _ends(residuals: Array, level: float) -> list[float]:
    """Return the ends that hold a new residual with at least ``level``, half of the rest on either side."""
    ranked, n = np.sort(residuals), len(residuals)
    out = int((n + 1) * (1 - level) / 2)
    return [float(ranked[max(out - 1, 0)]), float(ranked[min(n - out, n - 1)])]


def _hidings(hidden: tuple[int, ...]) -> list[tuple[int, ...]]:
    first, second = hidden
    return [(), (first,), (second,), (first, second)]


def _unknown(net: Additive, x: Floats, dose: Array, f: int) -> float:
    """Return the level of an unknown feature that fits best those cases in which it is hidden."""
    known = ~np.isnan(x[:, f])
    rows = torch.from_numpy(x[known])
    with torch.no_grad():
        score, terms = net(rows)
        rest = torch.exp((score[:, 0] - terms[:, f]).double() / 2).numpy()
    return float(2 * np.log((np.sqrt(dose[known]) * rest).sum() / (rest**2).sum()))


def _net(scales: Scales, tables: list[Any], levels: list[Any], bias: float) -> Additive:
    return Additive(
        [scale.edges for scale in scales.mains], tables, pairs=scales.pairs,
        pair_edges={f: scale.edges for f, scale in scales.coarse.items()}, pair_levels=levels, bias=bias,
    )


def _centred(net: Additive, scales: Scales, rows: Tensor) -> Additive:
    with torch.no_grad():
        means = net(rows)[1].double().mean(dim=0).numpy()
    tables = [table.detach().numpy() - means[t] for t, table in enumerate([*net.mains, *net.pair_levels])]
    count = len(net.mains)
    return _net(scales, tables[:count], tables[count:], float(net.bias.detach()) + float(means.sum())).eval()


def _pair_levels(scales: Scales, pair: tuple[int, int], weights: Array) -> Array:
    a, b = (scales.coarse[f] for f in pair)
    width = round(len(weights) ** 0.5)
    square = weights.reshape(width, width)[: a.basis.shape[1], : b.basis.shape[1]]
    return np.asarray(a.basis @ square @ b.basis.T)


def _extremes(column: Floats) -> list[float]:
    return [float(np.nanmin(column)), float(np.nanmax(column))]


def _arrays(net: Additive) -> dict[str, Any]:
    """Return the arrays that training.checkpoint_risk reads."""
    arrays: dict[str, Any] = {f"edges{f}": edges.numpy() for f, edges in enumerate(net.edges)}
    arrays |= {f"coarse{f}": edges.numpy() for f, edges in net.pair_edges.items()}
    arrays |= {f"main{f}": table.detach().numpy() for f, table in enumerate(net.mains)}
    arrays |= {f"pair{p}": table.detach().numpy() for p, table in enumerate(net.pair_levels)}
    return {**arrays, "pairs": np.array(net.pairs).reshape(-1, 2), "bias": net.bias.detach().numpy()[0]}
