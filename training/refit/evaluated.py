"""Evaluated: what evaluation.json of a refitted release says: figures of the sealed local test, the gate, and its history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.model import Model
from training import binary_outcome, bootstrap
from training.findings import bar
from training.provenance import machine, versions
from training.refit.compare import LEAST_OF_GROUP, Both, chance
from training.refit.learn import Lesson

Json = dict[str, Any]
RESAMPLES = 500
PEOPLE = "sealed local test"


def evaluation_of(model: Model, main: Lesson, lessons: list[Lesson], report: Json, history: list[Json]) -> Json:
    """Return the evaluation; ``report`` is that of this refit, and the last of the history."""
    rows = [row for lesson in lessons for row in _rows(lesson, first=lesson is main)]
    y, new = main.both.y, chance(main.both.new)
    people = main.both.groups.tolist()
    both_kinds = 0 < main.both.events < len(y)
    threshold = main.threshold if main.threshold is not None else 0.5
    return {
        "schema_version": "1", "model": report["new"], "title": "Sealed local test, after a refit", "task": model.manifest.task,
        "quick": False, "created": datetime.now(UTC).date().isoformat(), "onnx_sha256": "",
        "ran_on": {"backend": model.session.backend, "precision": model.session.precision, "machine": machine(),
                   "versions": versions()},
        "data": {"name": "Verdicts of one hospital", "split": "test", "licence": "stays with the hospital",
                 "sha256": report["verdicts"]["sha256"]},
        "method": {"interval": "95 % percentile of a bootstrap over patients", "unit": "patient", "resamples": RESAMPLES,
                   "seed": bootstrap.SEED, "ece": binary_outcome.ECE_BINNING,
                   "bars": "what the gate of the refit required; the history says all of it"},
        "rows": rows or [binary_outcome.row("population", PEOPLE, "no case was judged", truth=[], patients=[], found={})],
        "bars": _bars(main),
        "confusion": binary_outcome.confusion(y, new, threshold) if len(y) else {},
        "curves": binary_outcome.curves(y, new, people) if both_kinds else {},
        "refusals": [], "audits": {}, "references": _references(report["old"], main.both), "rejected": [],
        "unknown": ["what readers would have said without seeing the model's answer"], "history": history,
    }


def _rows(lesson: Lesson, *, first: bool) -> list[Json]:
    both, name = lesson.both, lesson.of.output.label
    if not len(both.y):
        return []
    everybody = np.ones(len(both.y), bool)
    rows = [_row("population", f"{PEOPLE}: {name}", everybody, lesson, brief=not first)]
    for by, names in lesson.named.items():
        for group in sorted(set(names.tolist()) - {""}):
            chosen = names == group
            if first and LEAST_OF_GROUP[0] <= chosen.sum() < len(names):
                rows.append(_row(by, f"{by} {group}: {name}", chosen, lesson, brief=True))
    return rows


def _row(by: str, group: str, chosen: NDArray[np.bool_], lesson: Lesson, *, brief: bool) -> Json:
    part = lesson.both.some(chosen)
    people = part.groups.tolist()
    found = binary_outcome.figures(part.y, chance(part.new), lesson.threshold, people, resamples=RESAMPLES, brief=brief)
    what = "judged cases of people nobody learnt from" + (f"; {lesson.of.given} only" if lesson.of.given else "")
    return binary_outcome.row(by, group, what, truth=part.y, patients=people, found=found)


def _bars(main: Lesson) -> list[Json]:
    area, loss = main.test.figures.get("auroc"), main.test.figures.get("log_loss")
    return [
        bar(f"{name} on the sealed test, new less old", rule, 0.0,
            {} if found is None else {"value": found.difference, "low": found.low, "high": found.high})
        for name, rule, found in (("Log loss", "<=", loss), ("AUROC", ">=", area))
    ]


def _references(old: str, both: Both) -> list[Json]:
    if not 0 < both.events < len(both.y):
        return []
    people = both.groups.tolist()
    found = binary_outcome.figures(both.y, chance(both.old), both.thresholds[0], people, resamples=RESAMPLES, brief=True)
    return [{"name": f"{old}, on the same cases", **{name: found[name] for name in ("auroc", "brier", "observed_over_expected")}}]
