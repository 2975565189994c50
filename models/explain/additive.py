"""Additive contributions: the graph gives what every term adds; here they get their names and are summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.codes import STATIC, meanings_of
from models.explain.case import Case
from models.manifest import Feature, Manifest, Term
from models.prediction import Contribution, Explanation, Finding

MAX_EXPONENT = 50.0


def explain(
    manifest: Manifest, findings: tuple[Finding, ...], arrays: Mapping[str, NDArray[Any]], case: Case
) -> Explanation:
    """Return every term's part of the logit, in the graph's order, and the error of their sum."""
    explains = manifest.explains
    parts = arrays["contributions"].tolist()
    by_name = {feature.name: feature for feature in manifest.features}
    values = dict(zip(by_name, case.graph_input[0].tolist(), strict=True))
    first = manifest.outputs[0].name
    contributions = tuple(
        _contribution(term, by_name, values, part, term.output or first)
        for term, part in zip(manifest.terms, parts, strict=True)
    )
    gaps, bias = [], {}
    for output in (manifest.output(finding.name) for finding in findings):
        if str(output.index) not in explains.bias:
            continue  # shown beside the model's own outputs, not explained by its terms
        bias[output.name] = explains.bias[str(output.index)]
        score = float(arrays["logit"][output.index])
        whole = bias[output.name] + sum(one.logit for one in contributions if one.finding == output.name)
        gaps.append(abs(whole - score) / (1 + abs(score)))
    return Explanation(
        explains.method,
        explains.baseline,
        bias,
        contributions=contributions,
        measurements=tuple(
            gathered
            for name in bias
            for gathered in _by_measurement(
                by_name, name, [both for both in zip(manifest.terms, contributions, strict=True) if both[1].finding == name]
            )
        ),
        completeness_error=max(gaps) if gaps else float("nan"),
        completeness_tolerance=explains.completeness_tolerance,
        note=explains.note,
        note_fr=explains.note_fr,
    )


def strongest(
    contributions: tuple[Contribution, ...], *, up: int = 5, down: int = 3
) -> tuple[list[Contribution], list[Contribution]]:
    """Return the ``up + down`` largest parts and all the rest; shown are what raises the score, then what lowers it.

    The largest whichever way they point: eight that raise by a hair would hide what lowers most. Where all of them point
    one way, the last gives its place to the largest of the other, so that a reader sees what speaks against.
    """
    ordered = sorted(contributions, key=lambda part: -abs(part.logit))
    count = up + down
    shown, rest = ordered[:count], ordered[count:]
    signs = {part.logit > 0 for part in shown if part.logit}
    against = next((part for part in rest if part.logit and (part.logit > 0) not in signs), None)
    if against is not None and len(signs) == 1 and count > 1:
        rest = [shown[-1], *(part for part in rest if part is not against)]
        shown = [*shown[:-1], against]
    raising = [part for part in shown if part.logit > 0]
    return [*raising, *(part for part in shown if part.logit <= 0)], rest


def _by_measurement(
    features: dict[str, Feature], finding: str, parts: Sequence[tuple[Term, Contribution]]
) -> tuple[Contribution, ...]:
    """Gather contributions by the code that was measured, in the order of their first term.

    Terms of one measurement overlap (latest, lowest, trend), so only their sum can be read on its own. A pair is shared
    half and half, as Shapley's value shares the interaction of two (1953). The sum stays the sum. Each measurement
    shows its latest value, or else that of its strongest term. ``parts`` are those of one finding.
    """
    logits: dict[str, float] = {}
    told: dict[str, list[tuple[bool, float, Contribution]]] = {}
    for term, part in parts:
        for name in term.features:
            measured = str(features[name].params.get("code", name))
            logits[measured] = logits.get(measured, 0.0) + part.logit / len(term.features)
            if len(term.features) == 1:
                latest = features[name].function in ("last", "static")
                told.setdefault(measured, []).append((latest, abs(part.logit), part))
            else:
                told.setdefault(measured, [])
    gathered = []
    for measured, logit in logits.items():
        terms = told[measured]
        multiplier = exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, logit)))
        if not terms:  # only known from pairs
            gathered.append(Contribution(measured, measured, measured, None, "", logit, multiplier, False, finding=finding))
            continue
        shown = max(terms, key=lambda one: one[:2])[2]
        more = len(terms) - 1
        gathered.append(replace(
            shown, term=measured, logit=logit, odds_multiplier=multiplier,
            label=shown.label + (f" (and {more} more)" if more else ""),
            label_fr=shown.label_fr + (f" (et {more} de plus)" if more else ""),
        ))
    return tuple(gathered)


def _contribution(
    term: Term, features: dict[str, Feature], values: dict[str, float], part: float, finding: str
) -> Contribution:
    used = [features[name] for name in term.features]
    missing = any(np.isnan(values[feature.name]) for feature in used)
    multiplier = exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, part)))
    if len(used) == 2:
        return Contribution(
            term.name,
            f"{used[0].label} with {used[1].label}",
            f"{used[0].label_fr} avec {used[1].label_fr}",
            None,
            "",
            part,
            multiplier,
            missing,
            finding=finding,
        )
    feature, value = used[0], values[used[0].name]
    reference = feature.reference
    flag: Literal["low", "normal", "high", ""] = ""
    if not missing and (reference.low is not None or reference.high is not None):
        flag = "low" if reference.low is not None and value < reference.low else "normal"
        flag = "high" if reference.high is not None and value > reference.high else flag
    return Contribution(
        term.name,
        feature.label,
        feature.label_fr,
        None if missing else value,
        feature.unit,
        part,
        multiplier,
        missing,
        feature.code,
        reference.low,
        reference.high,
        flag,
        finding,
        *(("", "") if missing else _meanings(feature).get(f"{value:g}", ("", ""))),
    )


def _meanings(feature: Feature) -> dict[str, tuple[str, str]]:
    """Return the words of a feature's values: the release's own, else those of the tables, for an older release."""
    code = str(feature.params.get("code", ""))
    return feature.meanings or (meanings_of(code) if feature.function == "static" and code in STATIC else {})
