"""Figures of a risk model: discrimination, calibration, decisions, subgroups, and what intelligibility costs."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.model import Model
from models.prediction import Refusal
from training import binary_outcome, bootstrap
from training.data import challenge2012
from training.findings import Assessment, bar, between

Array = NDArray[np.float64]
MIN_EVENTS = 10  # subgroups with fewer deaths or survivors get counts, no figures


def evaluate_risk(model: Model, root: Path, *, quick: bool, say: Callable[[str], None]) -> Assessment:
    """Score every test stay, refused or not, and compare with SAPS-I and a boosted-tree reference."""
    resamples = 100 if quick else bootstrap.RESAMPLES
    source = root / "clinical" / "challenge2012"
    cases = challenge2012.load("test", source)[:: 8 if quick else 1]
    say(f"{len(cases)} test stays")
    features = np.concatenate([model.prepare(case.record) for case in cases])
    arrays = model.score_features(features)
    p = arrays["probability"][:, 0].astype(np.float64)
    y = np.array([case.label for case in cases], dtype=np.float64)
    stays = [str(case.group) for case in cases]
    results = model.predict_many([case.record for case in cases], batch=64)
    reasons = [r.reason.value if isinstance(r, Refusal) else "" for r in results]
    threshold = model.manifest.outputs[0].threshold
    scored = np.array([not reason for reason in reasons])
    rows = [_row("population", "test", "all test stays, refused or not", y, p, stays, threshold, resamples)]
    if not scored.all():
        whose = [s for s, keep in zip(stays, scored, strict=True) if keep]
        rows.append(_row("population", "test, not refused", "the same without those the model refuses", y[scored],
                         p[scored], whose, threshold, resamples))
    rows += _subgroups(cases, y, p, threshold, resamples)
    say("references")
    references = [_saps(source, cases, y, resamples)]
    if not quick:
        references += _boosted(model, source, features, y, p, stays)
    refused = bootstrap.share(~scored, stays).as_json()
    error = float(arrays["completeness_error"].max())
    return Assessment(
        title="Death in hospital on the test stays",
        rows=rows,
        bars=_bars(rows[0]["figures"], error),
        confusion=binary_outcome.confusion(y, p, threshold) if threshold is not None else {},
        curves=binary_outcome.curves(y, p, stays),
        refusals=[{"set": "members", "what": "test stays: these should be scored", "gross": False, "refused": refused,
                   "reasons": dict(Counter(r for r in reasons if r))}],
        audits={"completeness_max_error": error, "terms": len(model.manifest.terms),
                "largest_terms": _largest(model, arrays["contributions"])},
        references=references,
        unknown=["ethnicity, hospital: not in the data"],
    )


def _row(by: str, group: str, what: str, y: Array, p: Array, stays: list[str], threshold: float | None,
         resamples: int, *, brief: bool = False) -> dict[str, Any]:
    found = binary_outcome.figures(y, p, threshold, stays, resamples=resamples, brief=brief)
    return binary_outcome.row(by, group, what, truth=y, found=found, patients=stays)


def _subgroups(cases: list[challenge2012.Case], y: Array, p: Array, threshold: float | None,
               resamples: int) -> list[dict[str, Any]]:
    rows = []
    for by in cases[0].subgroups:
        named = np.array([case.subgroups[by] for case in cases])
        for group in sorted(set(named)):
            chosen = named == group
            whose = [str(c.group) for c, keep in zip(cases, chosen, strict=True) if keep]
            if min(y[chosen].sum(), (1 - y[chosen]).sum()) < MIN_EVENTS:
                why = f"fewer than {MIN_EVENTS} deaths or survivors: no figures"
                rows.append(binary_outcome.row(by, str(group), why, truth=y[chosen], found={}, patients=whose))
            else:
                rows.append(_row(by, str(group), "", y[chosen], p[chosen], whose, threshold, resamples, brief=True))
    return rows


def _saps(source: Path, cases: list[challenge2012.Case], y: Array, resamples: int) -> dict[str, Any]:
    """SAPS-I as the data state it: what a ward had at the time."""
    with gzip.open(source / "stays.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        points = {int(row["RecordID"]): float(row["SAPS_I"] or -1) for row in csv.DictReader(lines)}
    score = np.array([points[case.group] for case in cases])
    known = score >= 0
    stays = [str(c.group) for c, keep in zip(cases, known, strict=True) if keep]
    return {
        "name": "SAPS-I points", "n": int(known.sum()),
        "auroc": bootstrap.figure(bootstrap.auroc_of(y[known], score[known]), stays, resamples=resamples).as_json(),
        "average_precision": bootstrap.figure(
            bootstrap.average_precision_of(y[known], score[known]), stays, resamples=resamples).as_json(),
    }


def _boosted(model: Model, source: Path, features: NDArray[np.float32], y: Array, p: Array,
             stays: list[str]) -> list[dict[str, Any]]:
    """Fit LightGBM to the same features of the training stays: the cost of intelligibility, paired by stay."""
    try:
        import lightgbm  # noqa: PLC0415  a reference only; absent where the train extra is not installed
    except ImportError:
        return []
    train, val = (challenge2012.load(split, source) for split in ("train", "val"))
    x = np.concatenate([model.prepare(case.record) for case in train])
    x_val = np.concatenate([model.prepare(case.record) for case in val])
    booster = lightgbm.LGBMClassifier(n_estimators=600, learning_rate=0.03, num_leaves=15, min_child_samples=40,
                                      subsample=0.8, subsample_freq=1, colsample_bytree=0.5, reg_lambda=5.0,
                                      random_state=1, n_jobs=1, verbose=-1)
    booster.fit(x, [c.label for c in train], eval_X=(x_val,), eval_y=([c.label for c in val],),
                eval_metric="binary_logloss", callbacks=[lightgbm.early_stopping(50, verbose=False)])
    q = np.asarray(booster.booster_.predict(features), dtype=np.float64)
    ours, theirs = bootstrap.auroc_of(y, p), bootstrap.auroc_of(y, q)
    return [{
        "name": "LightGBM on the same features", "n": len(y),
        "auroc": bootstrap.figure(theirs, stays).as_json(),
        "average_precision": bootstrap.figure(bootstrap.average_precision_of(y, q), stays).as_json(),
        "auroc_ours_less_this": bootstrap.figure(lambda w: ours(w) - theirs(w), stays).as_json(),
    }]


def _bars(figures: dict[str, Any], error: float) -> list[dict[str, Any]]:
    return [
        bar("AUROC", ">=", 0.885, figures["auroc"]),
        bar("AUPRC", ">=", 0.60, figures["average_precision"]),
        bar("Event-1 = min(sensitivity, PPV) at the threshold", ">=", 0.55, figures.get("event1", {})),
        between("Calibration slope", 0.9, 1.1, figures["calibration_slope"]),
        bar("Contributions sum to the logit, largest relative error", "<=", 1e-5, {"value": error}),
    ]


def _largest(model: Model, contributions: NDArray[np.float32], count: int = 12) -> list[dict[str, Any]]:
    """Return the terms that move the score most: mean absolute contribution over the test stays."""
    weight = np.abs(contributions).mean(axis=0)
    return [{"term": model.manifest.terms[i].name, "mean_absolute_logit": round(float(weight[i]), 4)}
            for i in np.argsort(-weight)[:count]]
