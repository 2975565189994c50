"""The figures of one output with their intervals: what is right, how it ranks, what its probabilities mean, what refusals cost.

Shares have Wilson's interval on the number of independent cases (models/statistics/intervals.py); everything else a
bootstrap over persons.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.commissioned import Figure, Subgroup
from models.statistics.binary import fourfold, predictive_values_at
from models.statistics.intervals import share_of
from training import bootstrap
from training.commission.cases import Outcome, shifted, sought_out

ECE_EDGES = np.linspace(0, 1, 16)
BRIEF_RESAMPLES = 400


def figures_of(outcome: Outcome, threshold: float | None, *, called_on: Outcome | None = None, prevalence: float | None = None,
               resamples: int = bootstrap.RESAMPLES) -> tuple[Figure, ...]:
    """Return every figure of an output.

    ``called_on``: the cases that a threshold's figures are of, where it was tuned on the others. ``prevalence``: in practice,
    where the truth set was enriched with cases: calibration is then judged as if practice had the prevalence of the set.
    """
    scored = outcome.scored()
    as_here = shifted(scored, sought_out(scored, prevalence))
    found = [shared("prevalence", outcome, outcome.y), *ranked(scored, resamples), *calibrated(as_here, resamples)]
    if threshold is not None:
        of = called_on or outcome
        judged = of.scored()
        found += called(judged, threshold)
        found += intended(of, threshold)
        if prevalence is not None and judged.positives and judged.negatives:
            values = predictive_values_at(prevalence, fourfold(judged.y, judged.p >= threshold))
            found += [_figure(outcome, f"{name}_at_stated_prevalence", *three, judged.n) for name, three in values.items()]
    return (*found, *banded(scored))


def called(scored: Outcome, threshold: float) -> list[Figure]:
    """Return sensitivity, specificity and predictive values of cases with a score."""
    hit = scored.p >= threshold
    ill = scored.y > 0.5
    return [
        shared("sensitivity", scored, hit[ill], ill), shared("specificity", scored, ~hit[~ill], ~ill),
        shared("ppv", scored, ill[hit], hit), shared("npv", scored, ~ill[~hit], ~hit),
    ]


def intended(outcome: Outcome, threshold: float) -> list[Figure]:
    """Return sensitivity and specificity over all cases, those without a score counted as not called, then as called.

    Leaving out what a test could not judge flatters it (Schuetz 2012, doi:10.1136/bmj.e6717): the truth lies between.
    """
    none, ill = np.isnan(outcome.p), outcome.y > 0.5
    if not none.any():
        return []
    hit = np.nan_to_num(outcome.p, nan=-1.0) >= threshold
    return [
        shared("sensitivity_unscored_as_negative", outcome, hit[ill], ill),
        shared("sensitivity_unscored_as_positive", outcome, (hit | none)[ill], ill),
        shared("specificity_unscored_as_negative", outcome, ~hit[~ill], ~ill),
        shared("specificity_unscored_as_positive", outcome, ~(hit | none)[~ill], ~ill),
    ]


def ranked(scored: Outcome, resamples: int) -> list[Figure]:
    """Return AUROC and Brier score."""
    if not scored.positives or not scored.negatives:
        return [_figure(scored, "auroc", None, None, None, scored.n)]
    return [booted(scored, "auroc", bootstrap.auroc_of(scored.y, scored.p), resamples),
            booted(scored, "brier", bootstrap.mean_of((scored.p - scored.y) ** 2), resamples)]


def calibrated(scored: Outcome, resamples: int) -> list[Figure]:
    """Return slope, in the large, observed over expected and expected calibration error."""
    if min(scored.positives, scored.negatives) < 2:
        return []
    y, p = scored.y, scored.p
    return [
        booted(scored, "calibration_slope", bootstrap.calibration_line_of(y, p, "slope"), resamples),
        booted(scored, "calibration_in_the_large", bootstrap.calibration_line_of(y, p, "citl"), resamples),
        booted(scored, "observed_over_expected", lambda w: (w @ y) / (w @ p), resamples),
        booted(scored, "ece", bootstrap.expected_calibration_error_of(y, p, ECE_EDGES), resamples),
    ]


def banded(scored: Outcome) -> list[Figure]:
    """Return how often the outcome came in each of the release's own bands, which are words for a risk."""
    if not scored.output.bands:
        return []
    words = np.array([scored.output.risk(float(value)) for value in scored.p])
    return [shared(f"observed_in_{word}", scored, scored.y[words == word], words == word)
            for word in ("negligible", "low", "moderate", "high") if (words == word).any()]


def subgroups_of(outcome: Outcome, threshold: float | None, few: int) -> list[Subgroup]:
    """Return the figures of each group; a group with fewer than ``few`` of a kind has no figure of that kind."""
    found = []
    for by, names in outcome.groups.items():
        stated = sorted(set(names.tolist()) - {""})
        if len(stated) + ("" in names) < 2:
            continue
        for group in (*stated, *([""] if (names == "").any() else [])):
            one = outcome.only(names == group)
            found.append(Subgroup(by=by, group=group or "not stated", n=one.n, figures=tuple(_brief(one, threshold, few))))
    return found


def rate(name: str, flags: NDArray[np.bool_], persons: NDArray[np.str_], output: str = "") -> Figure:
    """Return a share over all cases, such as those refused."""
    one = share_of(flags, persons)
    return Figure(name=name, output=output, value=_finite(one.value), low=_finite(one.low), high=_finite(one.high), n=one.n)


def shared(name: str, outcome: Outcome, flags: Any, of: NDArray[np.bool_] | None = None) -> Figure:
    """Return a share of some of the cases (``of``), or of all."""
    return rate(name, np.asarray(flags), outcome.persons if of is None else outcome.persons[of], outcome.output.name)


def booted(scored: Outcome, name: str, statistic: bootstrap.Statistic, resamples: int) -> Figure:
    """Return a figure with its percentile interval over resampled persons."""
    one = bootstrap.figure(statistic, scored.persons.tolist(), truth=scored.y, resamples=resamples)
    return _figure(scored, name, one.value, one.low, one.high, one.n)


def named(figures: tuple[Figure, ...] | list[Figure], name: str, output: str = "") -> Figure | None:
    """Return the figure of that name (and output, where one is named)."""
    return next((one for one in figures if one.name == name and (not output or one.output == output)), None)


def _brief(one: Outcome, threshold: float | None, few: int) -> list[Figure]:
    scored = one.scored()
    found = [shared("unscored", one, np.isnan(one.p))]
    if threshold is not None:
        enough = {"sensitivity": scored.positives >= few, "specificity": scored.negatives >= few}
        found += [each for each in called(scored, threshold) if enough.get(each.name)]
    if min(scored.positives, scored.negatives) >= few:
        found.append(booted(scored, "auroc", bootstrap.auroc_of(scored.y, scored.p), BRIEF_RESAMPLES))
    return found


def _figure(outcome: Outcome, name: str, value: float | None, low: float | None, high: float | None, n: int) -> Figure:
    return Figure(name=name, output=outcome.output.name, value=_finite(value), low=_finite(low), high=_finite(high), n=n)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None
