"""A calibration line for this site: the intercept, or slope and intercept, fitted on some persons and measured on others.

Five parts by person: each is measured with the line fitted on the other four, so every case is measured and none by a line
that saw its person. The line that is proposed is fitted on all. Intervals resample persons with the lines held fixed: fitted
anew in each resample they would follow it, and the level would seem certain. (Steyerberg 2004, doi:10.1002/sim.1844)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

import numpy as np

from models.commissioned import Figure, LocalLine
from models.statistics.binary import auroc, calibration_in_the_large, calibration_line, chance_of
from models.statistics.sample_size import for_calibration_slope, for_new_line, for_observed_over_expected, information_of
from training.commission import figures
from training.commission.cases import Array, Outcome, part_of, shifted, sought_out
from training.commission.requirements import CalibrationRule
from training.commission.words import Language, number, say, span

PARTS = 5
RESAMPLES = 500
ENOUGH = 100  # of the rarer kind, to fit a slope as well
FEWEST = 25  # of the rarer kind, below which not even an intercept is fitted


@dataclass(frozen=True)
class Fitted:
    """A line and what it does; ``crossed`` are all scored cases' logits by lines that did not see their person."""

    output: str
    method: str  # "intercept", "slope_and_intercept", or "" where none is proposed
    slope: float
    intercept: float
    before: tuple[Figure, ...]
    after: tuple[Figure, ...]
    crossed: Array
    right_before: bool  # nothing to mend
    repaired: bool
    events: int  # of the rarer kind
    needed: int  # of them, for the slope's interval to fit where a right model's would
    needed_to_fit: int
    why: str  # "", "few", "apart", "slope", "level"


def fit(outcome: Outcome, rule: CalibrationRule, resamples: int = RESAMPLES, *, prevalence: float | None = None) -> Fitted:
    """Measure the probabilities as they are, mend them where they need it, and measure again.

    ``prevalence``: in practice, where the truth set was enriched with cases. The line is then one for practice.
    """
    plain = outcome.scored()
    more = sought_out(plain, prevalence)
    scored = shifted(plain, more)
    rare = min(scored.positives, scored.negatives)
    before = tuple(one for one in figures.calibrated(scored, resamples) if one.name != "ece")
    needed, to_fit = _needed(scored, rule)
    nothing = Fitted(outcome.output.name, "", 1.0, 0.0, before, (), plain.logit, right(before, rule), repaired=False, events=rare,
                     needed=needed, needed_to_fit=to_fit, why="few" if rare < FEWEST else "")
    if nothing.right_before or rare < FEWEST:
        return nothing
    for method in methods_of(before, rare, to_fit):
        after, crossed = crossed_figures(scored, method, resamples)
        if right(after, rule):
            break
    if not np.isfinite(crossed).all():  # ill and well lie apart: no line is the best
        return replace(nothing, why="apart")
    slope, intercept = line_of(scored.y, scored.logit, method)
    intercept, crossed = intercept + (slope - 1) * more, crossed - more  # from the set's prevalence to that of practice
    needed = _needed_at(scored, after, rule)
    why = "" if right(after, rule) else "slope" if not within(after, "calibration_slope", rule.slope) else "level"
    return Fitted(outcome.output.name, method, slope, intercept, before, after, crossed, right_before=False, repaired=not why,
                  events=rare, needed=needed, needed_to_fit=to_fit, why=why)


def right(found: tuple[Figure, ...], rule: CalibrationRule) -> bool:
    """Tell whether all intervals lie where they must."""
    return all(within(found, name, span_) for name, span_ in rule.spans().items())


def wrong(found: tuple[Figure, ...], rule: CalibrationRule) -> bool:
    """Tell whether some interval lies wholly where it must not."""
    return any(outside(found, name, span_) for name, span_ in rule.spans().items())


def within(found: tuple[Figure, ...], name: str, span_: tuple[float, float]) -> bool:
    """Tell whether a figure's whole interval lies in a span."""
    one = figures.named(found, name)
    return one is not None and one.low is not None and one.high is not None and span_[0] <= one.low and one.high <= span_[1]


def outside(found: tuple[Figure, ...], name: str, span_: tuple[float, float]) -> bool:
    """Tell whether a figure's whole interval lies beside a span: shown to be wrong."""
    one = figures.named(found, name)
    return one is not None and one.low is not None and one.high is not None and (one.high < span_[0] or one.low > span_[1])


def methods_of(before: tuple[Figure, ...], rare: int, to_fit: int) -> tuple[str, ...]:
    """Return the changes to try, the smallest first: the intercept alone, unless the slope is shown to be wrong.

    A slope is fitted only with ``ENOUGH`` events, and as many as keep it from overfitting.
    """
    one = figures.named(before, "calibration_slope")
    may_be_one = one is None or one.low is None or one.high is None or one.low <= 1.0 <= one.high
    enough = rare >= max(ENOUGH, to_fit)
    return ("intercept", "slope_and_intercept") if may_be_one and enough else ("slope_and_intercept",) if enough else ("intercept",)


def line_of(y: Array, logit: Array, method: str) -> tuple[float, float]:
    """Return slope and intercept by maximum likelihood."""
    if method == "intercept":
        return 1.0, calibration_in_the_large(y, logit)[0]
    line = calibration_line(y, logit)
    return line.slope, line.intercept


def crossed_figures(scored: Outcome, method: str, resamples: int) -> tuple[tuple[Figure, ...], Array]:
    """Return the figures of cross-fitted probabilities with their intervals, and the cross-fitted logits."""
    fold = part_of(scored.persons, "line", PARTS)
    crossed = np.empty(scored.n)
    for part in range(PARTS):
        inside = fold == part
        if inside.any():
            slope, intercept = line_of(scored.y[~inside], scored.logit[~inside], method)
            crossed[inside] = intercept + slope * scored.logit[inside]
    measured = replace(scored, p=chance_of(crossed), logit=crossed)
    return tuple(one for one in figures.calibrated(measured, resamples) if one.name != "ece"), crossed


def told(fitted: Fitted, rule: CalibrationRule, language: Language) -> LocalLine | None:
    """Return the proposal in words; None where none is made."""
    if fitted.method not in ("intercept", "slope_and_intercept"):
        return None
    slope = figures.named(fitted.after, "calibration_slope")
    ratio = figures.named(fitted.after, "observed_over_expected")
    level = figures.named(fitted.after, "calibration_in_the_large")
    ends = {"low": number(language, rule.slope[0], 2), "high": number(language, rule.slope[1], 2)}
    if fitted.repaired:
        said = say(language, "Repaired: measured on persons that the line was not fitted on, the slope is {slope}, observed over "
                             "expected {ratio} and calibration in the large {level}; all intervals lie within what is asked for.",
                   slope=span(language, slope, 2), ratio=span(language, ratio, 2), level=span(language, level, 2))
    elif fitted.why == "slope":
        said = say(language, "Cannot say that it is repaired: measured on persons that the line was not fitted on, the slope is "
                             "{slope}, and its interval must lie within {low} to {high}.", slope=span(language, slope, 2), **ends)
        said += " " + (say(language, "It takes about {needed} cases of the rarer kind to tell; there are {events}.",
                                     needed=fitted.needed,
                           events=fitted.events) if fitted.needed else say(language, "More cases would not help: the slope lies "
                               "outside."))
    else:
        said = say(language, "Cannot say that it is repaired: measured on persons that the line was not fitted on, the level is "
                             "not shown to be right: observed over expected {ratio}, calibration in the large {level}.",
                   ratio=span(language, ratio, 2), level=span(language, level, 2))
    method = "intercept" if fitted.method == "intercept" else "slope_and_intercept"
    return LocalLine(output=fitted.output, method=method, slope=fitted.slope, intercept=fitted.intercept, before=fitted.before,
                     after=fitted.after, repaired=fitted.repaired, said=said)


def _needed(scored: Outcome, rule: CalibrationRule) -> tuple[int, int]:
    """Return how many of the rarer kind a right model needs to be shown right, and how many a new slope needs to be fitted."""
    if min(scored.positives, scored.negatives) < 2:
        return 0, 0
    share = min(scored.positives, scored.negatives) / scored.n
    half = min(1 - rule.slope[0], rule.slope[1] - 1)
    ratio = min(-log(rule.observed_over_expected[0]), log(rule.observed_over_expected[1]))
    shown = max(for_calibration_slope(information_of(scored.logit), half), for_observed_over_expected(share, ratio))
    return round(shown * share), round(for_new_line(share, _cox_snell(scored)) * share)


def _needed_at(scored: Outcome, after: tuple[Figure, ...], rule: CalibrationRule) -> int:
    """Return how many of the rarer kind would show this slope to be right; 0 where no number would, for it lies outside."""
    one = figures.named(after, "calibration_slope")
    half = -1.0 if one is None or one.value is None else min(one.value - rule.slope[0], rule.slope[1] - one.value)
    share = min(scored.positives, scored.negatives) / scored.n
    return round(for_calibration_slope(information_of(scored.logit), half) * share) if half > 0 else 0


def _cox_snell(scored: Outcome) -> float:
    """Return Cox and Snell's R² of the line at its best: how much of the outcome the score tells."""
    slope, level = line_of(scored.y, scored.logit, "slope_and_intercept")
    if not np.isfinite(slope) or auroc(scored.y, scored.logit) <= 0.5:
        return 0.0
    p = np.clip(chance_of(level + slope * scored.logit), 1e-12, 1 - 1e-12)
    share = scored.y.mean()
    gain = float((scored.y * np.log(p / share) + (1 - scored.y) * np.log((1 - p) / (1 - share))).sum())
    return 1 - float(np.exp(-2 * gain / scored.n))
