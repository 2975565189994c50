"""Learn: from judged cases to another head of a released graph, output by output, and how old and new do on the same cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from training.calibrate import threshold_at_sensitivity
from training.refit.anchored import AS_IT_IS, FEWEST, Anchored, Cases, Choice, chosen_fit, cross_fitted, noise_of
from training.refit.compare import Both, Compared, chance, compare, subgroups
from training.refit.scored import Learnt, Scored

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lesson:
    """What one output learnt: its fit, the threshold it would have, and old against new on two kinds of cases.

    ``learnt``: cross-fitted, of train and val; ``test``: the sealed local test. ``both`` are the cases of the test.
    """

    of: Learnt
    fit: Anchored
    threshold: float | None
    learnt: Compared
    test: Compared
    both: Both
    named: dict[str, NDArray[np.str_]]
    groups: dict[tuple[str, str], Compared]
    noise: float  # share of wrong verdicts that explains them best


def learn(of: Learnt, base: Scored, old: Scored, manifest: Manifest, *, learnt_from: tuple[str, ...], seed: int,
          went: Callable[[], None] = lambda: None) -> Lesson:
    """Fit one output on some sides of the split and compare on the sealed test.

    ``base`` is what the head is fitted on and ``old`` the release that serves, the same cases in the same order; without a
    fine-tuned network they are one.
    """
    lowest = _lowest(manifest, of) if manifest.task == "risk" else None
    learning, testing = _chosen(of, base, learnt_from), _chosen(of, base, ("test",))
    cases = _cases(of, base, learning, lowest)
    found = chosen_fit(cases, seed=seed, lowest=lowest, went=went)
    enough = min(cases.y.sum(), (1 - cases.y).sum()) >= FEWEST
    crossed = cross_fitted(cases, seed=seed, lowest=lowest, went=went) if enough else cases.old
    before = of.output.threshold
    seen = Both(cases.y, old.logits[learning, of.logit], crossed, cases.groups)
    after = _threshold(seen, before)
    tested = _cases(of, base, testing, lowest)
    both = Both(tested.y, old.logits[testing, of.logit], found.logits(tested.z, tested.old), tested.groups, (before, after))
    seen = replace(seen, thresholds=(before, after))
    named = {by: np.array([old.rows[i].subgroups.get(by, "") for i in (*learning, *testing)]) for by in ("sex", "age", "view")}
    pooled = Both(*(np.concatenate([getattr(seen, name), getattr(both, name)]) for name in ("y", "old", "new", "groups")),
                  thresholds=both.thresholds)
    tested_names = {by: names[len(learning):] for by, names in named.items()}
    return Lesson(of, found, after, compare(seen), compare(both), both, tested_names, subgroups(pooled, named),
                  noise_of(cases, seed=seed))


def is_gain(lesson: Lesson) -> bool:
    """Tell whether an output is better beyond chance on cases its fit did not see, and not worse on the sealed test."""
    learnt, test = lesson.learnt.figures, lesson.test.figures
    loss, area = learnt.get("log_loss"), learnt.get("auroc")
    better = (loss is not None and loss.high < 0) or (area is not None and area.low > 0)
    return better and "log_loss" in test and test["log_loss"].difference <= 0


def left_alone(lesson: Lesson) -> Lesson:
    """Return a lesson from which nothing is taken: the output stays as it is."""
    threshold = lesson.of.output.threshold
    both = replace(lesson.both, new=lesson.both.old, thresholds=(threshold, threshold))
    nothing = Anchored(0.0, 1.0, np.zeros_like(lesson.fit.weights), Choice(AS_IT_IS), lesson.fit.losses)
    return replace(lesson, fit=nothing, threshold=threshold, both=both, test=compare(both))


def on_all(of: Learnt, old: Scored) -> Both:
    """Return the old release on every verdict of an output, learnt from or not."""
    chosen = _chosen(of, old, ("train", "val", "test"))
    logits = old.logits[chosen, of.logit]
    return Both(old.truth(of.output.name)[chosen], logits, logits, old.groups[chosen])


def _chosen(of: Learnt, scored: Scored, splits: tuple[str, ...]) -> NDArray[np.intp]:
    """Return the places of cases on some sides with a verdict on this output, and with what it asks for there."""
    known = ~np.isnan(scored.truth(of.output.name)) & np.array([row.split in splits for row in scored.rows], bool)
    if of.given:
        known &= scored.truth(of.given) == 1
    return np.flatnonzero(known)


def _cases(of: Learnt, base: Scored, chosen: NDArray[np.intp], lowest: Floats | None) -> Cases:
    """Return cases of one output; terms of other outputs are no columns of it."""
    columns = base.columns[chosen]
    if lowest is not None:
        columns = np.where(np.isnan(lowest), 0.0, columns)
    return Cases(columns, base.logits[chosen, of.logit], base.truth(of.output.name)[chosen], base.groups[chosen])


def _lowest(manifest: Manifest, of: Learnt) -> Floats:
    """Bound every term's slope at 0: a table may fade and never turn round. NaN for terms of other outputs."""
    first = manifest.outputs[0].name
    return np.array([-1.0 if (term.output or first) == of.output.name else np.nan for term in manifest.terms])


def _threshold(seen: Both, before: float | None) -> float | None:
    """Keep the threshold; lower it where, on cases the fit did not see, it would miss more than the old one did."""
    ill = seen.y > 0.5
    if before is None or not ill.any():
        return before
    reached = float((chance(seen.old)[ill] >= before).mean())
    if reached == 0 or (chance(seen.new)[ill] >= before).mean() >= reached:
        return before
    return min(before, threshold_at_sensitivity(seen.y, chance(seen.new), reached))
