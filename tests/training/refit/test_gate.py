"""The gate of a refit: what it lets through, and each thing that stops it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.refit.anchored import AS_IT_IS, WEIGHTS, Anchored, Choice
from training.refit.compare import Both, compare, subgroups
from training.refit.gate import Evidence, judge, passed

GOOD = Anchored(0.0, 1.0, np.ones(3), Choice(WEIGHTS, 100.0))


def both(n: int = 120, *, gain: float = 1.0, shift: float = -2.0, seed: int = 0, rate: float = 0.0) -> Both:
    """Cases where the old logits are ``shift`` too low; the new ones mend a part of it (``gain`` 1: all; below 0: worse)."""
    rng = np.random.default_rng(seed)
    true = 2 * rng.normal(size=n) + rate
    y = (rng.random(n) < 1 / (1 + np.exp(-true))).astype(float)
    new = true + shift * (1 - gain) + rng.normal(0, 0.05, n)
    return Both(y, true + shift, new, np.array([f"g{i}" for i in range(n)]), (0.5, 0.5))


def evidence(**changes: object) -> Evidence:
    names = {"sex": np.array(["F", "M"] * 60)}
    good = Evidence(GOOD, 0.0, compare(both(seed=1)), compare(both()), subgroups(both(), names), (0.9, 0.85, 0.95), 0.92, None, 0.5)
    return replace(good, **changes)  # type: ignore[arg-type]


def missed(told: Evidence) -> set[str]:
    return {one.name for one in judge(told) if not one.met}


def test_a_gain_with_enough_verdicts_passes() -> None:
    assert set() == missed(evidence())
    assert passed(judge(evidence()))


@pytest.mark.parametrize(("changes", "name"), [
    ({"learnt": compare(both(60))}, "verdicts to learn from"),
    ({"test": compare(both(20))}, "sealed local test"),
    ({"test": compare(both(60, rate=-4.0, shift=0.0))}, "sealed local test"),
    ({"here": (0.55, 0.48, 0.62)}, "the release does here what its card says"),
    ({"here": None}, "the release does here what its card says"),
    ({"noise": 0.3}, "verdicts that look wrong"),
    ({"fit": Anchored(0.0, 1.0, np.zeros(3), Choice(AS_IT_IS))}, "something was learnt"),
    ({"test": compare(both(gain=-1.0))}, "log loss on the sealed test"),
    ({"test": compare(both(gain=-1.0)), "learnt": compare(both(gain=-1.0, seed=1))}, "better beyond chance"),
    ({"test": compare(both(gain=3.0))}, "calibration on the sealed test"),
    ({"test": compare(both(gain=-1.0))}, "sensitivity on the sealed test"),
])
def test_each_requirement_stops_what_misses_it(changes: dict, name: str) -> None:
    assert name in missed(evidence(**changes))


def test_a_loss_of_ranking_stops() -> None:
    good = both()
    worse = replace(good, new=good.new + np.random.default_rng(3).normal(0, 4, len(good.y)))
    assert "ranking on the sealed test" in missed(evidence(test=compare(worse)))


def test_one_subgroup_that_loses_stops() -> None:
    good, names = both(), np.array(["F", "M"] * 60)
    turned = replace(good, new=np.where(names == "F", -good.new, good.new))
    assert "subgroups" in missed(evidence(groups=subgroups(turned, {"sex": names})))


def test_what_was_not_measured_is_not_met() -> None:
    none = compare(Both(*(np.zeros(0),) * 3, np.zeros(0, dtype=np.str_), (0.5, 0.5)))
    assert {"ranking on the sealed test", "log loss on the sealed test", "calibration on the sealed test",
            "sensitivity on the sealed test"} <= missed(evidence(test=none))


def test_a_fine_tuned_network_counts_what_it_learnt_from_and_needs_no_new_head() -> None:
    alone = evidence(fit=Anchored(0.0, 1.0, np.zeros(3), Choice(AS_IT_IS)), learnt=compare(both(60, seed=1)))
    assert {"verdicts to learn from", "something was learnt"} <= missed(alone)
    assert set() == missed(replace(alone, tuned=(240, 90)))


def test_a_model_without_a_stated_figure_is_judged_by_the_rest() -> None:
    assert set() == missed(evidence(stated=None, here=None))


def test_verdicts_that_only_repeat_the_release_stop() -> None:
    """All agree: the log loss falls and nothing was learnt of the patients."""
    assert missed(evidence(contradicted=(0, 15.0))) == {"verdicts of their own"}
    assert set() == missed(evidence(contradicted=(12, 15.0)))
    assert set() == missed(evidence(contradicted=(0, 3.0)))  # of a few nobody can tell
