"""A threshold for this site: tuned on one half of the persons, shown on the other, with a margin for people to come."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.commissioned import Figure, LocalThreshold
from models.statistics.intervals import effective_number, wilson
from training.commission import figures
from training.commission.cases import Array, Flags, Outcome, part_of
from training.commission.requirements import Threshold
from training.commission.words import Language, number, percent, say, span

CONFIDENCE = 0.95  # that the next positives keep the target too
DIGITS = 4  # a threshold is rounded down: never a case lost by it


@dataclass(frozen=True)
class Tuned:
    """A threshold with what it does on the check half; ``value`` None: none could be found.

    ``first`` is the threshold that the tuning half gave alone, ``other`` what the check half would have given; ``value`` is the
    lower. The sensitivity of ``checked`` is that of ``first``, which the check half had no part in: ``value`` has no less. The
    other figures of ``checked`` are of ``value``.
    """

    output: str
    old: float | None
    value: float | None
    first: float | None
    other: float | None
    tuned: tuple[Figure, ...]
    checked: tuple[Figure, ...]
    checked_old: tuple[Figure, ...]
    target: float
    next: int
    positives: int  # on the tuning half
    kept: bool | None  # the check half: the estimate reaches the target; None: nothing to check


def tune(outcome: Outcome, rule: Threshold) -> Tuned:
    """Return the highest threshold whose sensitivity on the tuning half keeps the target in both senses.

    The lower end of its 95 % interval is at least the target, and with a chance of 95 % so is the share among the ``next``
    positives that come (beta-binomial, Jeffreys' prior): an interval alone is about the mean of all who will come, and the
    next sample scatters about it.
    """
    scored = outcome.scored()
    check = check_part(scored.persons)
    tuning, checking = scored.only(~check), scored.only(check)
    old, first, other = outcome.output.threshold, highest(tuning, rule), highest(checking, rule)
    at_old = tuple(figures.called(checking, old)) if old is not None else ()
    if first is None:
        return Tuned(outcome.output.name, old, None, None, other, (), (), at_old, rule.target, rule.next, tuning.positives, None)
    value = first if other is None else min(first, other)
    reached = figures.called(checking, first)[0]
    checked = (reached, *figures.called(checking, value)[1:])
    kept = None if reached.value is None else reached.value >= rule.target
    return Tuned(outcome.output.name, old, value, first, other, tuple(figures.called(tuning, value)), checked, at_old, rule.target,
                 rule.next, tuning.positives, kept)


def check_part(persons: NDArray[np.str_]) -> Flags:
    """Return which cases are of persons that no threshold is tuned on."""
    return np.asarray(part_of(persons, "threshold", 2) == 1)


def highest(tuning: Outcome, rule: Threshold) -> float | None:
    """Return the highest threshold that keeps the target on these cases, rounded down; None when there are too few."""
    ill = tuning.y > 0.5
    p, persons = tuning.p[ill], tuning.persons[ill]
    if not len(p):
        return None
    _, place = np.unique(persons, return_inverse=True)
    reaching = np.sort(p)[: len(p) - int(np.ceil(rule.target * len(p) - 1e-9)) + 1]  # higher ones call too few
    for candidate in np.unique(reaching)[::-1]:
        value = floor(float(candidate) * 10**DIGITS) / 10**DIGITS
        hit = (p >= value).astype(np.float64)
        worth = effective_number(hit, place, int(place.max()) + 1)
        share = float(hit.mean())
        if share >= rule.target and wilson(share * worth, worth)[0] >= rule.target and next_keep(share, worth, rule) >= CONFIDENCE:
            return value
    return None


def next_keep(share: float, worth: float, rule: Threshold) -> float:
    """Return the chance that at least the target of the next positives is called, after ``share`` of ``worth`` was."""
    if not rule.next:
        return 1.0
    needed = int(np.ceil(rule.target * rule.next - 1e-9))
    a, b = share * worth + 0.5, (1 - share) * worth + 0.5
    return float(stats.betabinom.sf(needed - 1, rule.next, a, b))


def trade_off(outcome: Outcome, points: int = 120) -> dict[str, Array]:
    """Return sensitivity, specificity and called share at thresholds over all scored cases, for the picture."""
    scored = outcome.scored()
    ill = scored.y > 0.5
    places = np.quantile(scored.p, np.linspace(0, 1, points)) if scored.n else np.zeros(0)
    grid = np.unique(np.concatenate([places, [0.0, 1.0]]))
    hit = scored.p[None, :] >= grid[:, None]
    with np.errstate(invalid="ignore"):
        return {"threshold": grid, "sensitivity": hit[:, ill].mean(axis=1) if ill.any() else np.full(len(grid), np.nan),
                "specificity": (~hit[:, ~ill]).mean(axis=1) if (~ill).any() else np.full(len(grid), np.nan),
                "called": hit.mean(axis=1)}


def told(tuned: Tuned, language: Language) -> LocalThreshold | None:
    """Return the proposal in words; None where there is none."""
    if tuned.value is None:
        return None
    reached = figures.named(tuned.checked, "sensitivity")
    before = figures.named(tuned.checked_old, "sensitivity")
    reason = say(
        language, "{first} is the highest threshold whose sensitivity on the tuning half keeps {target} with the lower end of its "
                  "interval, and among the next {next} cases with the finding with a chance of 95 % ({positives} such cases tuned "
                  "it). On the other half, which had no part in it, its sensitivity is {reached}; at the release's own threshold "
                  "of {old} it is {before}.",
        first=number(language, tuned.first, DIGITS), target=percent(language, tuned.target), next=tuned.next,
        positives=tuned.positives, reached=span(language, reached), old=number(language, tuned.old, 3), before=span(language, before))
    cost, at_old = figures.named(tuned.checked, "specificity"), figures.named(tuned.checked_old, "specificity")
    if cost is not None and cost.value is not None:
        reason += " " + say(
            language, "What it costs there: the proposed threshold of {value} has a specificity of {cost}; the release's own has "
                      "{own}.",
            value=number(language, tuned.value, DIGITS), cost=span(language, cost), own=span(language, at_old))
    if tuned.other is not None and tuned.value != tuned.first:
        reason += " " + say(language, "The other half alone would have given {other}: the lower of the two is proposed, as a margin.",
                            other=number(language, tuned.other, DIGITS))
    return LocalThreshold(output=tuned.output, old=tuned.old, proposed=tuned.value, reason=reason, figures=tuned.checked)
