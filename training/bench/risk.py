"""Risk: exact contributions of the glass box against TreeSHAP contributions of a boosted ensemble."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from models.model import Model
from training.bench.measure import interleave
from training.bench.report import Row, dearer, faster

PART = "risk"
BAR_MS, BAR_ONE, BAR_MANY = 0.05, 10.0, 30.0
MANY = 10_000
TREES, LEAVES, TRAINING_ROWS = 200, 31, 4_000


def bench_risk(model: Model, seconds: float, *, many: int = MANY) -> list[Row]:
    """Measure one risk release on its own golden rows, repeated with noise."""
    with np.load(model.folder / "golden.npz", allow_pickle=False) as golden:
        seed_rows = golden["input"]
    rng = np.random.default_rng(0)
    table = seed_rows[rng.integers(0, len(seed_rows), many)] * rng.normal(1, 0.05, (many, seed_rows.shape[1]))
    table = table.astype(np.float32)
    one = np.ascontiguousarray(table[:1])
    boosted = _boosted(seed_rows.shape[1])
    wide, wide_one = table.astype(np.float64), one.astype(np.float64)
    roles = ("probability", "logit", "contributions")
    single = interleave({
        "session": lambda: model.session.run(one, roles),
        "score_features": lambda: model.score_features(one),
        "logit": lambda: model.session.run(one, ("logit",)),
        "lightgbm": lambda: boosted.predict(wide_one, pred_contrib=True, num_threads=1),
    }, seconds)
    bulk = interleave({
        "score_features": lambda: model.score_features(table),
        "lightgbm": lambda: boosted.predict(wide, pred_contrib=True, num_threads=1),
    }, seconds)
    made = f"LightGBM {TREES} trees x {LEAVES} leaves, {seed_rows.shape[1]} features, 1 thread"
    return [
        Row(PART, "one record with contributions, graph run", single["session"].median_ms, "ms", bar=BAR_MS,
            better="less", note="Session.run on prepared features", times=single["session"].to_json()),
        Row(PART, "one record with contributions and completeness check", single["score_features"].median_ms, "ms",
            bar=BAR_MS, better="less", note="Model.score_features", times=single["score_features"].to_json()),
        faster(PART, "score_features over LightGBM pred_contrib, one record", single["lightgbm"],
               single["score_features"], bar=BAR_ONE, note=made),
        faster(PART, f"score_features over LightGBM pred_contrib, {many:,} records", bulk["lightgbm"],
               bulk["score_features"], bar=BAR_MANY, note=made),
        dearer(PART, "contributions over the logit alone, one record", single["session"], single["logit"],
               note="same session"),
    ]


def _boosted(features: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn of other packages
        import lightgbm  # noqa: PLC0415  under the filter
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(TRAINING_ROWS, features))
    chance = 1 / (1 + np.exp(-rows @ rng.normal(size=features) / np.sqrt(features) * 2))
    labels = rng.random(TRAINING_ROWS) < chance
    settings = {"objective": "binary", "num_leaves": LEAVES, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1,
                "seed": 1}
    return lightgbm.train(settings, lightgbm.Dataset(rows, labels), num_boost_round=TREES)
