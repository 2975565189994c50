"""Hysteresis, for any sequence of scores: raised at once, ended late, declined moments change nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from models.manifest import Manifest
from models.release import read_release
from service.monitoring.episode import CALM, Rule, Score, State, advance, ever_open, follow, rule_of
from tests.service.monitoring.home import MODEL, monitoring_release

RULE = Rule(raise_at=0.3, clear_below=0.24, clear_readings=3, clear_s=1800)
values = st.none() | st.floats(0, 1, allow_nan=False)
scores = st.lists(st.tuples(st.integers(0, 200), values), unique_by=lambda pair: pair[0], max_size=40).map(
    lambda rows: [Score(60.0 * minute, value) for minute, value in rows])


@settings(max_examples=60)
@given(scores)
def test_the_order_of_hearing_changes_nothing(told: list[Score]) -> None:
    assert follow(CALM, told, RULE) == follow(CALM, told[::-1], RULE) == follow(CALM, sorted(told, key=lambda one: -one.at), RULE)


@settings(max_examples=60)
@given(scores, st.integers(0, 40))
def test_following_in_two_steps_is_following_in_one(told: list[Score], cut: int) -> None:
    ordered = sorted(told, key=lambda one: one.at)
    assert follow(follow(CALM, ordered[:cut], RULE), ordered[cut:], RULE) == follow(CALM, ordered, RULE)


@settings(max_examples=60)
@given(scores)
def test_declined_moments_change_nothing(told: list[Score]) -> None:
    assert follow(CALM, told, RULE) == follow(CALM, [one for one in told if one.value is not None], RULE)


@settings(max_examples=60)
@given(scores)
def test_an_alert_begins_at_a_high_score_and_never_ends_at_one(told: list[Score]) -> None:
    state = CALM
    for score in sorted(told, key=lambda one: one.at):
        before, state = state, advance(state, score, RULE)
        high = score.value is not None and score.value >= RULE.raise_at
        assert not high or state.opened_at is not None
        if before.opened_at is None and state.opened_at is not None:
            assert (high, state.opened_at) == (True, score.at)
        if before.opened_at is not None and state.opened_at is None:
            assert score.value is not None
            assert score.value < RULE.clear_below


@settings(max_examples=60)
@given(scores)
def test_before_an_end_there_were_enough_low_scores_over_enough_time(told: list[Score]) -> None:
    state, seen = CALM, []
    for score in sorted((one for one in told if one.value is not None), key=lambda one: one.at):
        before, state = state, advance(state, score, RULE)
        seen.append(score)
        if before.opened_at is not None and state.opened_at is None:
            low = []
            for one in reversed(seen):
                if one.value is None or one.value >= RULE.clear_below:
                    break
                low.append(one)
            assert len(low) >= RULE.clear_readings
            assert low[0].at - low[-1].at >= RULE.clear_s


@settings(max_examples=60)
@given(scores)
def test_an_episode_stood_if_it_stands_in_the_end(told: list[Score]) -> None:
    assert follow(CALM, told, RULE).opened_at is None or ever_open(CALM, told, RULE)
    assert ever_open(State(opened_at=0.0), told, RULE)


def test_a_release_without_a_lower_limit_clears_below_four_fifths_of_its_threshold() -> None:
    manifest: Manifest = read_release(monitoring_release() / f"{MODEL}-1.0.0")
    assert Rule(0.3, 0.24) == rule_of(manifest)
    output = manifest.outputs[0].model_copy(update={"clear_threshold": 0.1})
    assert Rule(0.3, 0.1) == rule_of(manifest.model_copy(update={"outputs": [output]}))
