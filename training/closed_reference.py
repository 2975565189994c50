"""The closed box beside the glass box: LightGBM on the same features of the same cases, compared by paired bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.model import Model
from training import bootstrap
from training.evaluated import Evaluated
from training.sources import Source

SETTINGS: dict[str, Any] = {
    "n_estimators": 600, "learning_rate": 0.03, "num_leaves": 15, "min_child_samples": 40, "subsample": 0.8,
    "subsample_freq": 1, "colsample_bytree": 0.5, "reg_lambda": 5.0, "random_state": 1, "n_jobs": 1, "verbose": -1,
}


def boosted_reference(model: Model, source: Source, found: Evaluated) -> list[dict[str, Any]]:
    """Fit LightGBM to train, stop it early on val, and score the test cases: the cost of intelligibility, by output.

    The difference is ours less LightGBM's over the same resampled patients. Empty where LightGBM is not installed.
    """
    try:
        import lightgbm  # noqa: PLC0415  a reference only; absent where the train extra is not installed
    except ImportError:
        return []
    train, val = (source.cohort(split, model.manifest.features, found.root) for split in ("train", "val"))
    settings = {**SETTINGS, **found.recipe.evaluation.get("lightgbm", {})}
    rows = []
    for output in model.manifest.outputs:
        one = found.of(output.index)
        fitted, stopped = (~np.isnan(part.y[:, output.index]) for part in (train, val))
        booster = lightgbm.LGBMClassifier(**settings)
        booster.fit(
            train.x[fitted], train.y[fitted, output.index], eval_X=(val.x[stopped],),
            eval_y=(val.y[stopped, output.index],), eval_metric="binary_logloss",
            callbacks=[lightgbm.early_stopping(50, verbose=False)],
        )
        q = np.asarray(booster.booster_.predict(one.features), dtype=np.float64)
        rows.append(compared("LightGBM on the same features", output.label, one, q,
                             several=len(model.manifest.outputs) > 1))
    return rows


def compared(name: str, label: str, found: Evaluated, q: Any, *, several: bool = False) -> dict[str, Any]:
    """Return another score's figures on the cases of ``found`` (one output), and ours less its AUROC, paired."""
    y, p, groups = found.y[:, 0], found.p[:, 0], found.groups.tolist()
    ours, theirs = bootstrap.auroc_of(y, p), bootstrap.auroc_of(y, q)
    return {
        "name": f"{name}: {label}" if several else name, "n": len(y),
        "auroc": bootstrap.figure(theirs, groups, resamples=found.resamples).as_json(),
        "average_precision": bootstrap.figure(
            bootstrap.average_precision_of(y, q), groups, resamples=found.resamples).as_json(),
        "auroc_ours_less_this": bootstrap.figure(
            lambda w: ours(w) - theirs(w), groups, resamples=found.resamples).as_json(),
    }
