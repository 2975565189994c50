"""The gate of a refit: what is required before a release is written, and what was seen. What cannot be judged is not met.

First the verdicts themselves: enough of them, and such that the release is recognisably the model its card speaks of; where
it is not, either the model does not fit the place or the verdicts are wrong, and nothing is to be learnt before somebody has
looked. Then old against new on the same people.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from models.commissioned import Gate
from models.statistics.paired import Difference
from training.refit.anchored import AS_IT_IS, Anchored
from training.refit.compare import Compared


@dataclass(frozen=True)
class Bars:
    """The numbers of the gate. ``margin`` is how much AUROC may be lost at worst, as the lower end of the interval."""

    margin: float = 0.05
    learnt: int = 100  # cases to learn from
    learnt_each: int = 20  # of them with and without the finding
    tested: int = 40  # cases of the sealed test
    tested_each: int = 8
    below_stated: float = 0.15  # how far the AUROC here may lie below the stated one, at the upper end of its interval
    noise: float = 0.15  # share of verdicts that may look wrong
    sensitivity: float = 0.05
    subgroup: float = 0.05  # AUROC that a subgroup may lose
    echo: float = 0.5  # share of the contradictions its own probabilities expect, below which verdicts look like its echo
    echo_p: float = 0.001  # and the chance of so few


@dataclass(frozen=True)
class Evidence:
    """What is judged: the fit, how many cases it had, the sealed test, the cross-fitted cases, subgroups of both, and the AUROC
    that the release's own evaluation states (None: none).
    """

    fit: Anchored
    noise: float  # share of wrong verdicts that explains them best
    learnt: Compared
    test: Compared
    groups: dict[tuple[str, str], Compared]
    here: tuple[float, float, float] | None  # AUROC of the old release on all verdicts, with its interval
    stated: float | None
    tuned: tuple[int, int] | None = None  # a fine-tuned network: verdicts it and its head learnt from, of the rarer kind
    threshold: float | None = None  # of the output; without one nothing is called, and nothing missed
    contradicted: tuple[int, float] | None = None  # verdicts against the old release's call, and how many its probabilities expect


def judge(evidence: Evidence, bars: Bars | None = None) -> tuple[Gate, ...]:
    """Return every requirement with what was seen."""
    told = bars or Bars()
    return (*_of_verdicts(evidence, told), *_of_change(evidence, told))


def passed(gates: tuple[Gate, ...]) -> bool:
    """Tell whether all is met."""
    return all(one.met for one in gates)


def _of_verdicts(evidence: Evidence, bars: Bars) -> tuple[Gate, ...]:
    learnt, test, noise = evidence.learnt, evidence.test, evidence.noise
    n, few = evidence.tuned or (learnt.n, min(learnt.events, learnt.n - learnt.events))
    few_tested = min(test.events, test.n - test.events)
    found = [
        Gate(name="verdicts to learn from", required=f"at least {bars.learnt}, {bars.learnt_each} of either kind",
             seen=f"{n}, {few} of the rarer kind", met=n >= bars.learnt and few >= bars.learnt_each,
             why="Fewer would move the model by chance. Judge what the queue offers (python -m service learn queue)."),
        Gate(name="sealed local test", required=f"at least {bars.tested} cases, {bars.tested_each} of either kind",
             seen=f"{test.n}, {few_tested} of the rarer kind", met=test.n >= bars.tested and few_tested >= bars.tested_each,
             why="Nobody can tell old from new on fewer. Judge the cases the queue offers for the test."),
    ]
    if evidence.stated is not None:
        least = evidence.stated - bars.below_stated
        found.append(Gate(
            name="the release does here what its card says",
            required=f"AUROC not clearly below {least:.3f} (stated {evidence.stated:.3f})",
            seen="not measured" if evidence.here is None else _interval(*evidence.here),
            met=None if evidence.here is None else evidence.here[2] >= least,
            why="Where it is far worse, either it does not fit the place or the verdicts are wrong. Look at both first."))
    found.append(Gate(
        name="verdicts that look wrong", required=f"at most {bars.noise:.0%}", seen=f"{noise:.0%} explains the verdicts best",
        met=noise <= bars.noise,
        why="Verdicts that contradict the model where it is surest are more often slips than discoveries. Read some of them again."))
    if evidence.contradicted is not None:
        found.append(_own(*evidence.contradicted, bars))
    return tuple(found)


def _own(seen: int, expected: float, bars: Bars) -> Gate:
    """Verdicts that only repeat the release teach it to be surer of itself, and its log loss falls: readers must differ at times."""
    few = seen < bars.echo * expected and float(stats.poisson.cdf(seen, expected)) < bars.echo_p
    return Gate(
        name="verdicts of their own",
        required=f"not clearly fewer contradictions than {bars.echo:.0%} of what its probabilities expect",
        seen=f"{seen} contradict, {expected:.0f} expected", met=not few,
        why="Readers who saw the answer agreed more often than the release itself claims to be right. Have some cases read blind.")


def _of_change(evidence: Evidence, bars: Bars) -> tuple[Gate, ...]:
    test, learnt = evidence.test.figures, evidence.learnt.figures
    loss, sensitivity = test.get("log_loss"), test.get("sensitivity")
    worse = [f"{by} {group}" for (by, group), one in evidence.groups.items() if _loses(one.figures, bars.subgroup)]
    gained = [part for part, figures in (("sealed test", test), ("cross-fitted", learnt)) if _gains(figures)]
    return (
        Gate(name="something was learnt", required="a fit that differs from the release",
             seen=f"{'fine-tuned network; head: ' if evidence.tuned else ''}{evidence.fit.choice.told}",
             met=bool(evidence.tuned) or evidence.fit.choice.shape != AS_IT_IS,
             why="Cross-validation kept the release as it is: the verdicts confirm it."),
        Gate(name="ranking on the sealed test", required=f"change of AUROC above {-bars.margin:.3f} at the lower end of its interval",
             seen=_told(test.get("auroc")), met=_at_least(test.get("auroc"), -bars.margin)),
        Gate(name="log loss on the sealed test", required="not above the old one", seen=_told(loss),
             met=None if loss is None else loss.difference <= 0),
        Gate(name="better beyond chance",
             required="log loss or AUROC better with an interval that leaves out 0, on the sealed test or cross-fitted",
             seen=", ".join(gained) or f"neither: {_told(loss)}; {_told(learnt.get('log_loss'))}", met=bool(gained)),
        _level(evidence.test),
        Gate(name="sensitivity on the sealed test", required=f"not more than {bars.sensitivity:.2f} below the old one",
             seen=_told(sensitivity) if evidence.threshold is not None else "no threshold",
             met=evidence.threshold is None or (None if sensitivity is None else sensitivity.difference >= -bars.sensitivity)),
        Gate(name="subgroups",
             required=f"none clearly worse in AUROC or log loss, none worse in both by more than {bars.subgroup:.2f} of AUROC",
             seen="; ".join(worse) or f"none of {len(evidence.groups)}", met=not worse),
    )


def _level(test: Compared) -> Gate:
    """Calibration in the large: nearer to 0 than before, or not distinguishable from 0."""
    old, new = test.level.get("old"), test.level.get("new")
    known = old is not None and new is not None
    return Gate(
        name="calibration on the sealed test", required="its level not farther off than before, or an interval that holds 0",
        seen=f"{_interval(*old)} before, {_interval(*new)} now" if old is not None and new is not None else "not measured",
        met=(abs(new[0]) <= abs(old[0]) or new[1] <= 0 <= new[2]) if known and old is not None and new is not None else None)


def _gains(figures: dict[str, Difference]) -> bool:
    loss, area = figures.get("log_loss"), figures.get("auroc")
    return (loss is not None and loss.high < 0) or (area is not None and area.low > 0)


def _loses(figures: dict[str, Difference], most: float) -> bool:
    """Tell whether a subgroup pays: one figure worse beyond chance, or both worse. One alone is often chance in few cases."""
    loss, area = figures["log_loss"], figures.get("auroc")
    return loss.low > 0 or (area is not None and (area.high < 0 or (area.difference < -most and loss.difference > 0)))


def _at_least(found: Difference | None, bound: float) -> bool | None:
    return None if found is None else found.low > bound


def _told(found: Difference | None) -> str:
    if found is None:
        return "not measured"
    return f"{found.first:.3f} → {found.second:.3f}, {_interval(found.difference, found.low, found.high)}"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
