"""The gate of a promotion: met by a candidate as good as the live one, and by nothing less; what cannot be judged is not met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from models.statistics.paired import proportions
from service.releases import compare
from service.releases.compare import comparison
from service.releases.promotion import Rules, detail_of, gates_of, not_worse
from service.store.shadows import Pair

RULES = Rules(cases=300, positives=60)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals by drawing persons are tested elsewhere: here few draws do."""
    monkeypatch.setattr(compare, "RESAMPLES", 80)


@dataclass
class Signed:
    """A sign-off as far as the gate looks at one."""

    decision: str = "accepted"
    advice: str = "go"


def said(value: float, threshold: float = 0.5) -> dict[str, Any]:
    return {"status": "scored", "seconds": 0.2, "findings": {"pneumonia": {
        "value": value, "logit": float(np.log(value / (1 - value))), "above_threshold": value >= threshold}}}


def pairs(*, worse: float = 0.0, slope: float = 1.0, refused: int = 0, failed: int = 0, seconds: float = 0.2, judged: int = 400,
          threshold: float = 0.5, persons: int = 400) -> list[Pair]:
    """Four hundred cases, of which a share ``worse`` of the candidate's scores is noise."""
    random = np.random.default_rng(11)
    found = []
    for number in range(400):
        logit = random.normal(scale=2)
        chance = 1 / (1 + np.exp(-logit))
        truth = bool(random.random() < chance)
        other = random.normal(scale=2) if random.random() < worse else logit + random.normal(scale=0.1)
        candidate = said(float(1 / (1 + np.exp(-other / slope))), threshold)
        status = "failed" if number < failed else "refused" if number < failed + refused else "scored"
        found.append(Pair(str(number % persons), "live-1.0.0", status, "", candidate if status == "scored" else {"findings": {}},
                          said(float(chance)), seconds, {"pneumonia": truth} if number < judged else {}))
    return found


def missed(found: list[Pair], *, signed: Any = None, alarms: int = 0) -> list[str]:
    compared = comparison("candidate-1.1.0", "live-1.0.0", found)
    return [one.name for one in gates_of(compared, signed or Signed(), alarms, RULES) if not one.met]


def test_a_candidate_as_good_as_the_live_one_meets_all() -> None:
    assert missed(pairs()) == []


@pytest.mark.parametrize(("changes", "gates"), [
    ({"worse": 0.4}, ["auroc", "sensitivity", "calibration"]),
    ({"slope": 3.0}, ["calibration"]),
    ({"threshold": 0.9}, ["sensitivity"]),
    ({"refused": 40}, ["refusals"]),
    ({"failed": 8}, ["failures"]),
    ({"seconds": 0.9}, ["latency"]),
    ({"judged": 60}, ["positives"]),
    ({"judged": 0}, ["positives", "auroc", "sensitivity", "calibration"]),
])
def test_each_fault_is_found_by_its_own_gate(changes: dict[str, Any], gates: list[str]) -> None:
    found = missed(pairs(**changes))
    assert set(gates) <= set(found)
    assert not set(found) - set(gates) - {"auroc"}  # few judged cases leave the interval of the area wide


def test_nobody_signed_a_no_or_an_open_alarm_keep_it_out() -> None:
    compared = comparison("candidate-1.1.0", "live-1.0.0", pairs())
    assert [one.name for one in gates_of(compared, None, 0, RULES) if not one.met] == ["signed"]
    assert missed(pairs(), signed=Signed("declined")) == ["signed"]
    assert missed(pairs(), alarms=2) == ["alarms"]


def test_without_a_live_release_nothing_can_be_compared_and_that_is_not_met() -> None:
    gates = {one.name: one.met for one in gates_of(None, Signed(), 0, RULES)}
    assert gates == {"signed": True, "alarms": True, "cases": None}


def test_many_cases_of_few_persons_say_less() -> None:
    def reach(persons: int) -> float:
        figure = comparison("c", "l", pairs(persons=persons, worse=0.2)).outputs[0].judged.auroc
        assert figure is not None
        return figure.high - figure.low

    assert reach(20) != reach(400)


def test_what_is_kept_of_a_promotion_says_required_seen_and_the_bias() -> None:
    compared = comparison("candidate-1.1.0", "live-1.0.0", pairs())
    kept = detail_of(gates_of(compared, Signed(), 0, RULES), compared)
    assert {"name", "required", "seen", "met", "why"} == set(kept["gates"][0])
    assert kept["comparison"]["pairs"] == 400
    assert "had seen the live result" in kept["bias"]


def test_the_gate_speaks_french() -> None:
    gates = gates_of(None, None, 0, RULES, "fr")
    assert all(one.required for one in gates)


def test_few_cases_in_which_no_test_finds_a_loss_do_not_prove_that_there_is_none() -> None:
    """Four of thirty more are missed: p is above 0.05, and thirteen in a hundred would be."""
    lost = proportions([True] * 30, [True] * 26 + [False] * 4)
    assert lost.p is not None
    assert lost.p > 0.05
    assert not not_worse(lost, Rules())
    assert not_worse(proportions([True] * 30, [True] * 30), Rules())
    assert not_worse(proportions([True] * 200, [True] * 197 + [False] * 3), Rules())
