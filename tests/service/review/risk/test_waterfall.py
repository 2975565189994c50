"""The waterfall sums exactly, hangs together, and stays inside its drawing."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from math import exp, fsum, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.manifest import Code
from models.prediction import Contribution, Finding
from service.review.risk.scale import logit_of, plain_ticks, quantity_ticks, scale_over, share_of, share_ticks
from service.review.risk.spoken import Spoken
from service.review.risk.waterfall import DOWN, UP, waterfall

CODE = Code(system="s", code="c", display="d")
LOGITS = st.lists(st.floats(-6, 6, allow_nan=False).map(lambda one: round(one, 6)), min_size=1, max_size=60)


def parts_of(logits: list[float]) -> tuple[Contribution, ...]:
    return tuple(Contribution(f"t{place}", "Label", "Libellé", 1.0, "1", one, exp(one), False) for place, one in enumerate(logits))


def finding(logit: float, *, kind: str = "probability", threshold: float | None = 0.2) -> Finding:
    value = share_of(logit) if kind == "probability" else exp(logit)
    return Finding("death", "Death", "Décès", CODE, kind, value, "1", threshold, None, logit)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.floats(-6, 6), st.sampled_from(("probability", "quantity")))
def test_the_steps_sum_to_the_score_exactly_and_hang_together(logits: list[float], bias: float, kind: str) -> None:
    whole = fsum([bias, *logits])
    drawn = waterfall(finding(whole, kind=kind), bias, parts_of(logits))
    assert drawn is not None
    assert drawn.steps[-1].end == pytest.approx(whole, abs=1e-9)
    assert drawn.gap <= 1e-9
    assert fsum([bias, *(one.logit for one in drawn.steps)]) == pytest.approx(whole, abs=1e-9)
    assert drawn.steps[0].start == bias
    for before, after in pairwise(drawn.steps):
        assert before.end == after.start
    assert sum(one.count for one in drawn.steps) == len(logits)
    assert fsum(part.logit for part in drawn.rest) == pytest.approx(fsum(s.logit for s in drawn.steps if s.part is None), abs=1e-9)
    assert drawn.result == pytest.approx(share_of(whole) if kind == "probability" else exp(whole), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(LOGITS, st.floats(-6, 6))
def test_nothing_lies_outside_the_drawing(logits: list[float], bias: float) -> None:
    drawn = waterfall(finding(fsum([bias, *logits])), bias, parts_of(logits))
    assert drawn is not None
    for step in drawn.steps:
        assert 0 <= step.left <= 100
        assert step.left + step.width <= 100.3
        assert 0 <= min(step.came_from, step.goes_to)
        assert max(step.came_from, step.goes_to) <= 100
    assert all(0 <= tick.at <= 100 for tick in drawn.ticks)
    assert drawn.threshold_at is not None
    assert 0 <= drawn.threshold_at <= 100
    assert len(drawn.steps) <= UP + DOWN + 1


def test_a_step_that_raises_goes_right_and_one_that_lowers_goes_left() -> None:
    drawn = waterfall(finding(1.0), 0.0, parts_of([2.0, -1.0]))
    assert drawn is not None
    assert [(one.way, one.goes_to > one.came_from) for one in drawn.steps] == [("raises", True), ("lowers", False)]
    assert [round(one.factor, 6) for one in drawn.steps] == [round(exp(2), 6), round(exp(-1), 6)]
    assert drawn.steps[0].reached == pytest.approx(share_of(2.0))


def test_what_the_graph_leaves_over_is_told() -> None:
    drawn = waterfall(finding(1.00001), 0.0, parts_of([1.0]))
    assert drawn is not None
    assert drawn.gap == pytest.approx(1e-5)


def test_without_parts_nothing_is_drawn() -> None:
    assert waterfall(finding(1.0), 0.0, ()) is None


@given(st.floats(-15, 15))
def test_logits_and_probabilities_are_each_others_reverse(score: float) -> None:
    assert logit_of(share_of(score)) == pytest.approx(score, abs=1e-8)


@pytest.mark.parametrize(("low", "high"), [(-9.0, -1.0), (-2.0, 2.0), (0.1, 0.12), (-3.0, 8.0)])
def test_labels_of_an_axis_leave_room_for_one_another(low: float, high: float) -> None:
    scale = scale_over([low, high])
    for ticks in (share_ticks(scale), quantity_ticks(scale), plain_ticks(scale)):
        assert all(b.at - a.at >= 8 for a, b in pairwise(ticks))


def test_round_numbers_are_where_they_belong() -> None:
    scale = scale_over([log(8), log(60)])
    assert all(tick.at == pytest.approx(scale.at(log(tick.value))) for tick in quantity_ticks(scale))
    assert {tick.value for tick in plain_ticks(scale_over([0, 10], pad=0))} == {0, 2, 4, 6, 8, 10}


@pytest.mark.parametrize(("born", "said"), [
    ("20261120", "2 days"), ("20260522", "6 months"), ("19410930", "85 years"), ("20270101", ""),
])
def test_an_age_is_said_as_people_of_that_age_have_it(born: str, said: str) -> None:
    told = Spoken("en").person({"birth_date": born}, date(2026, 11, 22))["born"]
    assert told.endswith(f"({said})" if said else "2027")
