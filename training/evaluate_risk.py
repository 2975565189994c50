"""Figures of a risk model: discrimination, calibration, decisions, subgroups, and what intelligibility costs.

One evaluation for every additive model: the recipe names the data, the bars and the words; what only one model has
(a published score beside it, a nurse's level) is in training/extras/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.manifest import Output
from models.model import Model
from models.prediction import Refusal
from training import binary_outcome, bootstrap
from training.closed_reference import boosted_reference
from training.data.cohort import Case
from training.evaluated import Array, Evaluated, Extra
from training.extras import EXTRAS
from training.findings import Assessment, bar, between
from training.recipe import Recipe
from training.sources import source_of

MIN_EVENTS = 10  # subgroups with fewer cases with or without the outcome get counts, no figures


def evaluate_risk(
    model: Model, recipe: Recipe, root: Path, *, quick: bool, say: Callable[[str], None]
) -> Assessment:
    """Score every test case, refused or not, and compare with a boosted-tree reference and what the recipe's extra adds."""
    source = source_of(recipe)
    words = {"title": model.manifest.title, "cases": "test cases", "unknown": [], **recipe.evaluation}
    cases = source.records("test", root)[:: 8 if quick else 1]
    say(f"{len(cases)} {words['cases']}")
    found = _scored(model, recipe, root, cases, quick=quick)
    say("figures")
    rows = _rows(model, found, str(words["cases"]))
    say("references")
    references = [] if quick else boosted_reference(model, source, found)
    extra = EXTRAS[recipe.name](found) if recipe.name in EXTRAS else Extra()
    first = model.manifest.outputs[0]
    known = ~np.isnan(found.y[:, 0])
    y, p = found.y[known, 0], found.p[known, 0]
    error = float(found.completeness_error.max())
    audits: dict[str, Any] = {
        "completeness_max_error": error, "terms": len(model.manifest.terms), "largest_terms": _largest(model, found),
        **_other_thresholds(model, found), **extra.audits,
    }
    figures = _figures_by_output(model, rows)
    for name, more in extra.figures.items():
        figures.setdefault(name, {}).update(more)
    return Assessment(
        title=str(words["title"]),
        rows=[*rows, *extra.rows],
        bars=[*_bars(recipe, figures, first.name), *extra.bars,
              bar("Contributions sum to the logit, largest relative error", "<=", 1e-5, {"value": error})],
        confusion=binary_outcome.confusion(y, p, first.threshold) if first.threshold is not None else {},
        curves=binary_outcome.curves(y, p, found.groups[known].tolist()),
        refusals=[{
            "set": "members", "what": f"{words['cases']}: these should be scored", "gross": False,
            "refused": bootstrap.share(found.reasons != "", found.groups.tolist()).as_json(),
            "reasons": dict(Counter(reason for reason in found.reasons.tolist() if reason)),
        }],
        audits=audits,
        references=[*references, *extra.references],
        unknown=[*words["unknown"], *extra.unknown],
    )


def _scored(model: Model, recipe: Recipe, root: Path, cases: list[Case], *, quick: bool) -> Evaluated:
    """Score the cases as serving does: the features of every one, and who would have been refused."""
    features = np.concatenate([model.prepare(case.record) for case in cases])
    arrays = model.session.run(features, ("probability", "logit", "contributions"))
    results = model.predict_many([case.record for case in cases], batch=64)
    return Evaluated(
        model=model, recipe=recipe, root=root, cases=cases, features=features,
        y=np.array([case.labels for case in cases], dtype=np.float64),
        p=arrays["probability"].astype(np.float64),
        contributions=arrays["contributions"],
        completeness_error=_gaps(model, arrays["contributions"], arrays["logit"]),
        groups=np.array([case.group for case in cases], dtype=np.str_),
        reasons=np.array([one.reason.value if isinstance(one, Refusal) else "" for one in results]),
        resamples=100 if quick else bootstrap.RESAMPLES, quick=quick,
    )


def _gaps(model: Model, contributions: Any, logit: Any) -> Array:
    """Return each case's largest |bias + contributions - logit| / (1 + |logit|) over the outputs."""
    manifest = model.manifest
    whose = np.array([term.output or manifest.outputs[0].name for term in manifest.terms])
    gaps = [
        np.abs(contributions[:, whose == output.name].sum(axis=1, dtype=np.float64)
               + manifest.explains.bias[str(output.index)] - logit[:, output.index]) / (1 + np.abs(logit[:, output.index]))
        for output in manifest.outputs if str(output.index) in manifest.explains.bias
    ]
    return np.asarray(np.max(gaps, axis=0), dtype=np.float64)


def _rows(model: Model, found: Evaluated, cases: str) -> list[dict[str, Any]]:
    """Return all test cases, those not refused, and the subgroups; for each output in turn."""
    rows = []
    for output in model.manifest.outputs:
        one = found.of(output.index)
        said = f"all {cases}, refused or not"
        rows.append(row(output, "population", "test", said, one, several=len(model.manifest.outputs) > 1))
        kept = one.reasons == ""
        if not kept.all():
            said = "the same without those the model refuses"
            rows.append(row(output, "population", "test, not refused", said, one.only(kept),
                            several=len(model.manifest.outputs) > 1))
    for by in found.cases[0].subgroups:
        for output in model.manifest.outputs:
            rows += subgroup_rows(found.of(output.index), output, by, several=len(model.manifest.outputs) > 1)
    return rows


def subgroup_rows(found: Evaluated, output: Output, by: str, *, several: bool = False) -> list[dict[str, Any]]:
    """Return one row a group of ``by``; groups too small for figures get their counts."""
    named = np.array([case.subgroups[by] for case in found.cases])
    rows = []
    for group in sorted(set(named.tolist())):
        chosen = found.only(named == group)
        events = chosen.y[:, 0].sum()
        if min(events, len(chosen.y) - events) < MIN_EVENTS:
            why = f"fewer than {MIN_EVENTS} cases with or without the outcome: no figures"
            rows.append({**binary_outcome.row(by, _named(group, output, several=several), why, truth=chosen.y[:, 0],
                                              found={}, patients=chosen.groups.tolist()), "output": output.name})
        else:
            rows.append(row(output, by, group, "", chosen, brief=True, several=several))
    return rows


def row(output: Output, by: str, group: str, what: str, found: Evaluated, *, brief: bool = False,
        several: bool = False) -> dict[str, Any]:
    """Return the figures of one output (the only column of ``found``) on one group."""
    y, p, groups = found.y[:, 0], found.p[:, 0], found.groups.tolist()
    figures = binary_outcome.figures(y, p, output.threshold, groups, resamples=found.resamples, brief=brief)
    return {**binary_outcome.row(by, _named(group, output, several=several), what, truth=y, found=figures,
                                 patients=groups), "output": output.name}


def _named(group: str, output: Output, *, several: bool) -> str:
    return f"{group}: {output.label}" if several else group


def _figures_by_output(model: Model, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the figures on all test cases by output name."""
    return {
        output.name: dict(next(one for one in rows if one["output"] == output.name and one["by"] == "population")["figures"])
        for output in model.manifest.outputs
    }


def _bars(recipe: Recipe, figures: dict[str, dict[str, Any]], first: str) -> list[dict[str, Any]]:
    bars = []
    for one in recipe.bars:
        reached = figures[one.get("output", first)].get(one["figure"], {})
        if one["rule"] == "within":
            bars.append(between(one["what"], one["low"], one["high"], reached))
        else:
            bars.append(bar(one["what"], one["rule"], one["value"], reached))
    return bars


def _other_thresholds(model: Model, found: Evaluated) -> dict[str, Any]:
    """Count the four cells of every output after the first; the first has a table of its own."""
    cells = {}
    for output in model.manifest.outputs[1:]:
        one = found.of(output.index)
        if output.threshold is not None:
            cells[f"at the threshold of {output.label}"] = binary_outcome.confusion(
                one.y[:, 0], one.p[:, 0], output.threshold)
    return cells


def _largest(model: Model, found: Evaluated, count: int = 12) -> list[dict[str, Any]]:
    """Return the terms that move the score most: mean absolute contribution over the test cases."""
    weight = np.abs(found.contributions).mean(axis=0)
    return [{"term": model.manifest.terms[i].name, "mean_absolute_logit": round(float(weight[i]), 4)}
            for i in np.argsort(-weight)[:count]]
