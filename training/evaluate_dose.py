"""Figures of a dose model: error, share within 20 %, honest intervals, subgroups, and the published equation beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.model import Model
from models.prediction import Refusal
from training import bootstrap
from training.data.cohort import Case
from training.findings import Assessment, bar, between
from training.fit_dose import folds_of, hide
from training.iwpc_equation import body_of, published_dose
from training.recipe import Recipe
from training.sources import Source, source_of

Array = NDArray[np.float64]
FIXED_MG = 35.0  # 5 mg a day, the usual start
MIN_CASES = 30  # subgroups with fewer get counts, no figures
RACE = "race as the source states it"


def evaluate_dose(model: Model, recipe: Recipe, root: Path, *, quick: bool, say: Callable[[str], None]) -> Assessment:
    """Score every test patient, refused or not, and compare with the equation, a fixed dose and boosted trees."""
    source = source_of(recipe)
    cases = source.records("test", root)[:: 8 if quick else 1]
    resamples = 100 if quick else bootstrap.RESAMPLES
    say(f"{len(cases)} {recipe.evaluation['cases']}")
    x = np.concatenate([model.prepare(case.record) for case in cases])
    arrays = model.score_features(x)
    given, interval = arrays["quantity"].astype(np.float64), arrays["interval"].astype(np.float64)
    dose = np.array([case.labels[0] for case in cases])
    patients = [case.group for case in cases]
    results = model.predict_many([case.record for case in cases], batch=64)
    reasons = [one.reason.value if isinstance(one, Refusal) else "" for one in results]
    scored = np.array([not reason for reason in reasons])

    def row(by: str, group: str, what: str, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        whose = [one for one, keep in zip(patients, chosen.tolist(), strict=True) if keep]
        figures = figures_of(dose[chosen], given[chosen, 0], interval[chosen], whose, resamples)
        return {"by": by, "group": group, "what": what if figures else f"fewer than {MIN_CASES} patients: no figures",
                "n": len(whose), "patients": len(set(whose)), "events": None, "figures": figures}

    everybody = np.ones(len(cases), bool)
    rows = [row("population", "test", "all test patients, refused or not", everybody)]
    if not scored.all():
        rows.append(row("population", "test, not refused", "the same without those the model refuses", scored))
    for by in cases[0].subgroups:
        named = np.array([case.subgroups[by] for case in cases])
        rows += [row(by, str(group), "", named == group) for group in sorted(set(named.tolist()))]
    rows += _hidden_rows(model, recipe, x, dose, patients, resamples)
    say("references")
    error = float(arrays["completeness_error"].max())
    return Assessment(
        title=str(recipe.evaluation["title"]),
        rows=rows,
        bars=[*(_bar(one, rows[0]["figures"]) for one in recipe.bars),
              bar("Contributions sum to the score, largest relative error", "<=", 1e-5, {"value": error})],
        refusals=[{"set": "members", "what": "test patients: these should be scored", "gross": False,
                   "refused": bootstrap.share(~scored, patients).as_json(),
                   "reasons": dict(Counter(reason for reason in reasons if reason))}],
        audits={"completeness_max_error": error, "terms": len(model.manifest.terms),
                "largest_terms": _largest(model, arrays["contributions"]),
                "width_of_the_interval": _widths(interval, given[:, 0], cases)},
        references=_references(model, recipe, source, root, cases, x, dose, given, resamples, quick=quick),
        unknown=[*recipe.evaluation.get("unknown", [])],
    )


def figures_of(dose: Array, given: Array, interval: Array, patients: list[str], resamples: int) -> dict[str, Any]:
    """Return error, bias and coverage, each with its interval over resampled patients; nothing for a small group."""
    error = np.abs(given - dose)
    covered = (dose >= interval[:, 0]) & (dose <= interval[:, 1])
    if len(dose) < MIN_CASES:
        return {}
    statistics = {
        "mean_absolute_error": bootstrap.mean_of(error),
        "within_20_percent": bootstrap.mean_of(error <= 0.2 * dose + 1e-9),
        "mean_error": bootstrap.mean_of(given - dose),
        "r_squared": _r_squared(dose, given),
        "coverage": bootstrap.mean_of(covered),
        "high_over_low": bootstrap.mean_of(interval[:, 1] / interval[:, 0]),
    }
    return {name: bootstrap.figure(one, patients, resamples=resamples).as_json() for name, one in statistics.items()}


def _hidden_rows(
    model: Model, recipe: Recipe, x: NDArray[np.float32], dose: Array, patients: list[str], resamples: int
) -> list[dict[str, Any]]:
    """Score all test patients with their genotypes hidden: what holds wherever nobody is typed."""
    names = [feature.name for feature in model.manifest.features]
    vkorc1, cyp2c9 = (names.index(name) for name in recipe.fit["genotypes"])
    rows = []
    for said, which in (("VKORC1 hidden", (vkorc1,)), ("CYP2C9 hidden", (cyp2c9,)), ("both hidden", (vkorc1, cyp2c9))):
        arrays = model.score_features(hide(x, which))
        figures = figures_of(dose, arrays["quantity"][:, 0].astype(np.float64), arrays["interval"].astype(np.float64),
                             patients, resamples)
        rows.append({"by": "genotype hidden from the model", "group": said, "what": "", "n": len(dose),
                     "patients": len(set(patients)), "events": None, "figures": figures})
    return rows


def _r_squared(dose: Array, given: Array) -> bootstrap.Statistic:
    residual = (given - dose) ** 2

    def statistic(weights: Array) -> Array:
        mean = weights @ dose / weights.sum(axis=1)
        return np.asarray(1 - (weights @ residual) / (weights @ dose**2 - weights.sum(axis=1) * mean**2))

    return statistic


def _bar(one: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    reached = figures[one["figure"]]
    if one["rule"] == "within":
        return between(one["what"], one["low"], one["high"], reached)
    return bar(one["what"], one["rule"], one["value"], reached)


def _references(
    model: Model, recipe: Recipe, source: Source, root: Path, cases: list[Case], x: NDArray[np.float32], dose: Array,
    given: Array, resamples: int, *, quick: bool,
) -> list[dict[str, Any]]:
    """Return every other way to a dose, and ours less it, paired by patient (below zero: ours errs less)."""
    names = [feature.name for feature in model.manifest.features]
    patients = [case.group for case in cases]
    parts = [source.cohort(split, model.manifest.features, root) for split in ("train", "val")]
    learnt = np.concatenate([part.x for part in parts])
    others = {
        "IWPC pharmacogenetic equation, race not taken (shown beside the dose)": given[:, 1],
        "IWPC pharmacogenetic equation as published, with race": published_dose(
            x, names, body_of(learnt, names), [case.subgroups[RACE] for case in cases]),
        "Fixed 35 mg/week": np.full(len(cases), FIXED_MG),
    }
    if not quick:
        others |= _boosted(recipe, learnt, np.concatenate([part.y[:, 0] for part in parts]),
                           np.concatenate([part.groups for part in parts]), x)
    ours = np.abs(given[:, 0] - dose)
    rows = []
    for name, other in others.items():
        error = np.abs(other - dose)
        near = (error <= 0.2 * dose + 1e-9).astype(np.float64)
        closer = (ours <= 0.2 * dose + 1e-9) - near
        statistics = {
            "mean_absolute_error": error, "within_20_percent": near, "mean_absolute_error_ours_less_this": ours - error,
            "within_20_percent_ours_less_this": closer,
        }
        rows.append({"name": name, "n": len(cases), **{
            key: bootstrap.figure(bootstrap.mean_of(values), patients, resamples=resamples).as_json()
            for key, values in statistics.items()
        }})
    return rows


def _boosted(
    recipe: Recipe, learnt: NDArray[np.float32], dose: NDArray[np.float32], groups: NDArray[np.str_],
    x: NDArray[np.float32],
) -> dict[str, Array]:
    """Fit LightGBM to the square root of the dose on the same features: the cost of intelligibility."""
    try:
        import lightgbm  # noqa: PLC0415  a reference only; absent where the train extra is not installed
    except ImportError:
        return {}
    (inside, outside), *_ = folds_of(groups, {"seed": recipe.seed, "folds": 5})
    booster = lightgbm.LGBMRegressor(n_estimators=1500, learning_rate=0.02, num_leaves=8, min_child_samples=20,
                                     subsample=0.8, subsample_freq=1, colsample_bytree=0.5, reg_lambda=5.0,
                                     random_state=1, n_jobs=1, verbose=-1)
    booster.fit(learnt[inside], np.sqrt(dose[inside]), eval_X=(learnt[outside],), eval_y=(np.sqrt(dose[outside]),),
                callbacks=[lightgbm.early_stopping(50, verbose=False)])
    found = np.asarray(booster.booster_.predict(x), dtype=np.float64)
    return {"LightGBM on the same features": found**2}


def _widths(interval: Array, given: Array, cases: list[Case]) -> dict[str, float]:
    """Return how far the ends lie from the dose, as median multiples, by what is known of the genotype."""
    named = np.array([case.subgroups["genotype"] for case in cases])
    return {
        f"{end} end as a multiple of the dose, {group}": round(
            float(np.median(interval[named == group, k] / given[named == group])), 3)
        for group in sorted(set(named.tolist())) for k, end in enumerate(("low", "high"))
    }


def _largest(model: Model, contributions: NDArray[np.float32], count: int = 10) -> list[dict[str, Any]]:
    """Return the terms that move the score most: mean absolute contribution over the test patients."""
    weight = np.abs(contributions).mean(axis=0)
    return [{"term": model.manifest.terms[i].name, "mean_absolute_log": round(float(weight[i]), 4)}
            for i in np.argsort(-weight)[:count]]
