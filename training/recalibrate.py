"""A released risk model on people it never saw: what it gives as it is, and after its line is fitted anew.

Two ways of recalibrating are compared, both fitted on the outside data's train and val splits and measured on its test
split: the intercept alone, and slope and intercept (Steyerberg 2004, doi:10.1002/sim.1844). Neither changes who ranks
above whom, so discrimination stays as it is; each term's part stays exact, times the slope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from numpy.typing import NDArray

from models.model import Model
from models.prediction import Refusal
from training import binary_outcome, bootstrap, charts, measures
from training.calibrate import Calibration, platt
from training.data import eicu_demo, support2
from training.data.cohort import Case
from training.provenance import machine, versions
from training.report import interval, label, number

Array = NDArray[np.float64]
DATA_SETS: dict[str, ModuleType] = {"support2": support2, "eicu_demo": eicu_demo}
AS_IT_IS = Calibration(1.0, 0.0)
DECILES = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Outside:
    """One part of the outside data through a release: logits (N,), outcomes (N,), whose they are, and who was refused."""

    logit: Array
    y: Array
    groups: list[str]
    refused: NDArray[np.bool_]


def recalibrate(model: Model, data_set: str, root: Path, *, resamples: int = bootstrap.RESAMPLES) -> dict[str, Any]:
    """Return the report as a dict; ``lines`` has both new lines, "intercept" and "slope_and_intercept".

    Cases the model refuses are measured too, so that refusing cannot flatter; how many there are is said.
    """
    source = DATA_SETS[data_set]
    fitted = _through(model, [case for split in ("train", "val") for case in source.records(split, root)])
    test = _through(model, source.records("test", root))
    lines = {
        "as it is": AS_IT_IS,
        "intercept": Calibration(1.0, intercept_of(fitted.logit, fitted.y)),
        "slope_and_intercept": platt(fitted.y, fitted.logit),
    }
    rows = [_row(name, line, test, resamples) for name, line in lines.items()]
    return {
        "schema_version": "1",
        "model": model.manifest.id,
        "data": {"name": data_set, "said": (source.__doc__ or "").strip().replace("\n", " "), "sha256": source.data_sha256(root)},
        "created": datetime.now(UTC).date().isoformat(),
        "ran_on": {"machine": machine(), "versions": versions()},
        "method": {"fitted_on": "train and val", "measured_on": "test", "resamples": resamples, "seed": bootstrap.SEED,
                   "interval": "95 % percentile of a bootstrap over patients; the new lines are held fixed"},
        "fitted": {"n": len(fitted.y), "events": int(fitted.y.sum())},
        "test": {"n": len(test.y), "events": int(test.y.sum()), "refused": int(test.refused.sum())},
        "lines": {name: {"slope": line.slope, "intercept": line.intercept} for name, line in lines.items()},
        "rows": rows,
        "published": _published(source, root, test, lines["slope_and_intercept"], resamples),
    }


def intercept_of(logit: Array, y: Array) -> float:
    """Return the shift of the logits that makes the mean probability the observed share."""
    shift = 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-(logit + shift)))
        shift += float(np.clip((y - p).sum() / (p * (1 - p)).sum(), -2, 2))
    return shift


def write_page(path: Path, report: dict[str, Any]) -> None:
    """Write the report as one self-contained HTML page."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True, autoescape=select_autoescape(["html", "j2"]))
    environment.filters.update(number=number, interval=interval, label=label)
    drawn = [(row["name"], Markup(charts.calibration(row["calibration"]))) for row in report["rows"]]  # noqa: S704
    path.write_text(environment.get_template("recalibrate.html.j2").render(r=report, drawn=drawn), encoding="utf-8")


def _through(model: Model, cases: list[Case]) -> Outside:
    features = np.concatenate([model.prepare(case.record) for case in cases])
    logit = model.session.run(features, ("logit",))["logit"][:, 0].astype(np.float64)
    results = model.predict_many([case.record for case in cases], batch=64)
    return Outside(logit, np.array([case.labels[0] for case in cases]), [case.group for case in cases],
                   np.array([isinstance(one, Refusal) for one in results]))


def _row(name: str, line: Calibration, test: Outside, resamples: int) -> dict[str, Any]:
    p = 1 / (1 + np.exp(-(line.slope * test.logit + line.intercept)))
    edges = np.unique(np.quantile(p, DECILES))
    edges[0], edges[-1] = 0.0, 1.0
    return {
        "name": name, "figures": binary_outcome.figures(test.y, p, None, test.groups, resamples=resamples),
        "calibration": {"binning": "tenths of the cases by predicted probability",
                        "bins": measures.reliability(test.y, p, edges)},
    }


def _published(source: ModuleType, root: Path, test: Outside, line: Calibration, resamples: int) -> dict[str, Any]:
    """Compare with the model published with the data, on the cases that have its risk; AUROC and Brier paired by patient."""
    risk = source.published("test", root)
    known = ~np.isnan(risk)
    y, q = test.y[known], risk[known]
    p = 1 / (1 + np.exp(-(line.slope * test.logit[known] + line.intercept)))
    groups = [group for group, keep in zip(test.groups, known.tolist(), strict=True) if keep]

    def paired(statistic: Callable[[Array, Array], bootstrap.Statistic]) -> dict[str, Any]:
        ours, theirs = statistic(y, p), statistic(y, q)
        return bootstrap.figure(lambda w: ours(w) - theirs(w), groups, resamples=resamples).as_json()

    return {
        "name": source.PUBLISHED, "n": int(known.sum()), "events": int(y.sum()),
        "figures": binary_outcome.figures(y, q, None, groups, resamples=resamples),
        "ours": binary_outcome.figures(y, p, None, groups, resamples=resamples),
        "auroc_ours_less_this": paired(bootstrap.auroc_of),
        "brier_ours_less_this": paired(lambda truth, score: bootstrap.mean_of((score - truth) ** 2)),
    }
