"""The choice of what to judge next: unsure, unlike, and drawn, never learnt from who tests."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.learn.choice import Candidate, choose, uncertainty_of


def people(count: int, *, seed: int = 0, test_share: float = 0.1) -> list[Candidate]:
    """Make candidates in two clouds, one person each, a tenth of them on the side of the test."""
    chance = np.random.default_rng(seed)
    return [
        Candidate(f"result {i}", f"g{i}", "test" if chance.random() < test_share else "train", float(chance.random()),
                  {"a": float(chance.normal() + 6 * (i % 2)), "b": float(chance.normal())}, {"sex": "FM"[i % 2]})
        for i in range(count)
    ]


def test_who_tests_is_picked_at_random_alone() -> None:
    found = choose(people(400), [], 50, np.random.default_rng(1))
    assert {"uncertain": 20, "unlike": 10, "control": 10, "test": 10} == Counter(one.why for one in found)
    assert {True} == {one.candidate.split == "test" for one in found if one.why == "test"}
    assert {False} == {one.candidate.split == "test" for one in found if one.why != "test"}
    assert 50 == len({one.candidate.key for one in found})


def test_uncertain_picks_are_among_the_most_uncertain() -> None:
    every = people(400)
    limit = np.quantile([one.uncertainty for one in every if one.split == "train"], 0.6)
    found = [one for one in choose(every, [], 50, np.random.default_rng(1)) if one.why == "uncertain"]
    assert all(one.candidate.uncertainty >= limit for one in found)


def test_picks_spread_over_what_was_not_judged() -> None:
    """Everything judged is of the left cloud: of what is unlike it, nearly all is of the right one."""
    every = people(200, test_share=0)
    known = [one for i, one in enumerate(people(400, seed=5, test_share=0)) if i % 2 == 0]
    found = [one for one in choose(every, known, 40, np.random.default_rng(1)) if one.why == "unlike"]
    assert sum(one.candidate.numbers["a"] > 3 for one in found) >= 7
    assert found[0].distance >= found[-1].distance


def test_a_wild_number_does_not_make_a_case_the_farthest_of_all() -> None:
    every = [Candidate(f"r{i}", f"g{i}", "train", 0.5, {"a": float(i % 7), "b": float(i % 5)}) for i in range(60)]
    wild = Candidate("wild", "w", "train", 0.5, {"a": 1e30, "b": float("nan")})
    (first, *_) = [one for one in choose([*every, wild], every[:3], 30, np.random.default_rng(1)) if one.why == "unlike"]
    assert first.distance < 5


def test_one_person_is_picked_once_to_learn_from() -> None:
    every = [Candidate(f"r{i}", f"g{i % 4}", "train", 0.9) for i in range(40)]
    learnt = [one for one in choose(every, [], 40, np.random.default_rng(1)) if one.why in ("uncertain", "unlike")]
    assert len(learnt) == len({one.candidate.group for one in learnt})


def test_random_picks_that_wait_count() -> None:
    found = choose(people(400), [], 50, np.random.default_rng(1), {"control": 10, "test": 7})
    assert (0, 3) == (sum(one.why == "control" for one in found), sum(one.why == "test" for one in found))


def test_whoever_judges_the_beginning_of_the_list_judges_some_of_each() -> None:
    found = choose(people(400), [], 50, np.random.default_rng(1))
    assert {"uncertain", "unlike", "control", "test"} == {one.why for one in found[:8]}


def test_drawing_is_unbiased() -> None:
    """Over many draws every person of the test side is drawn about as often."""
    every = people(60, test_share=0.5)
    counts = Counter(one.candidate.key for seed in range(100) for one in choose(every, [], 15, np.random.default_rng(seed))
                     if one.why == "test")
    testing = sum(one.split == "test" for one in every)
    expected = 100 * 3 / testing
    assert testing == len(counts)
    assert max(abs(n - expected) for n in counts.values()) < 5 * np.sqrt(expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 40), st.integers(5, 30), st.integers(0, 5))
def test_any_number_of_people_gives_a_list_without_repeats(count: int, wanted: int, seed: int) -> None:
    found = choose(people(count, seed=seed), people(3, seed=9), wanted, np.random.default_rng(seed))
    assert len(found) == len({one.candidate.key for one in found}) <= max(wanted + 2, 0)


@pytest.mark.parametrize(("status", "findings", "quality", "expected"), [
    ("scored", [{"value": 0.3, "threshold": 0.3}], {}, 1.0),
    ("scored", [{"value": 0.999, "threshold": 0.3}], {}, 0.0),
    ("scored", [{"value": 0.01, "threshold": 0.5}, {"value": 0.5, "threshold": 0.5}], {}, 1.0),
    ("scored", [{"value": 12.0, "kind": "volume"}], {}, 0.0),
    ("refused", [], {"outsider": 1.05, "features": 0.2}, 0.95),
    ("refused", [], {"outsider": 9.0}, 0.0),
    ("refused", [], {}, 0.0),
])
def test_uncertainty_is_one_at_a_threshold_or_limit(status: str, findings: list, quality: dict, expected: float) -> None:
    assert expected == pytest.approx(uncertainty_of(status, findings, quality), abs=0.01)
