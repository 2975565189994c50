"""Additive contributions: the graph gives what every term adds; here they get their names and are summed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import exp
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.explain.case import Case
from models.manifest import Feature, Manifest, Term
from models.prediction import Contribution, Explanation, Finding

MAX_EXPONENT = 50.0


def explain(
    manifest: Manifest, findings: tuple[Finding, ...], arrays: Mapping[str, NDArray[Any]], case: Case
) -> Explanation:
    """Return every term's part of the logit, in the graph's order, and the error of their sum."""
    explains = manifest.explains
    parts, logit = arrays["contributions"], float(arrays["logit"][0])
    bias = explains.bias["0"]
    by_name = {feature.name: feature for feature in manifest.features}
    values = dict(zip(by_name, case.graph_input[0].tolist(), strict=True))
    gap = abs(bias + float(parts.sum(dtype=np.float64)) - logit)
    contributions = tuple(
        _contribution(term, by_name, values, part) for term, part in zip(manifest.terms, parts.tolist(), strict=True)
    )
    return Explanation(
        explains.method,
        explains.baseline,
        {findings[0].name: bias},
        contributions=contributions,
        measurements=_by_measurement(manifest, by_name, contributions),
        completeness_error=gap / (1 + abs(logit)),
        completeness_tolerance=explains.completeness_tolerance,
        note=explains.note,
        note_fr=explains.note_fr,
    )


def strongest(
    contributions: tuple[Contribution, ...], *, up: int = 5, down: int = 3
) -> tuple[list[Contribution], list[Contribution]]:
    """Return what is shown, the strongest ``up`` that raise and ``down`` that lower the score, and all the rest."""
    ordered = sorted(contributions, key=lambda part: part.logit)
    raising = [part for part in ordered if part.logit > 0][-up:][::-1]
    shown = [*raising, *[part for part in ordered if part.logit < 0][:down]]
    return shown, [part for part in ordered if part not in shown]


def _by_measurement(
    manifest: Manifest, features: dict[str, Feature], contributions: tuple[Contribution, ...]
) -> tuple[Contribution, ...]:
    """Gather contributions by the code that was measured, in the order of their first term.

    Terms of one measurement overlap (latest, lowest, trend), so only their sum can be read on its own. A pair is shared
    half and half, as Shapley's value shares the interaction of two (1953). The sum stays the sum. Each measurement
    shows its latest value, or else that of its strongest term.
    """
    logits: dict[str, float] = {}
    told: dict[str, list[tuple[bool, float, Contribution]]] = {}
    for term, part in zip(manifest.terms, contributions, strict=True):
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
            gathered.append(Contribution(measured, measured, measured, None, "", logit, multiplier, False))
            continue
        shown = max(terms, key=lambda one: one[:2])[2]
        more = len(terms) - 1
        gathered.append(replace(
            shown, term=measured, logit=logit, odds_multiplier=multiplier,
            label=shown.label + (f" (and {more} more)" if more else ""),
            label_fr=shown.label_fr + (f" (et {more} de plus)" if more else ""),
        ))
    return tuple(gathered)


def _contribution(term: Term, features: dict[str, Feature], values: dict[str, float], part: float) -> Contribution:
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
    )
