"""The site's own figures: one verdict a result, with intervals, and no group so small that it points at somebody."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.stats import binomtest

from service.review.verdict.agreement import LEAST, agreement, agreement_of, wilson
from service.store.verdicts import NewVerdict, Settled, add
from tests.make_store import store_for


@pytest.mark.parametrize(("count", "total"), [(0, 3), (9, 10), (50, 50), (131, 200)])
def test_intervals_are_those_of_scipy(count: int, total: int) -> None:
    ours, theirs = wilson(count, total), binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert (pytest.approx(theirs.low, abs=1e-6), pytest.approx(theirs.high, abs=1e-6)) == (ours.low, ours.high)


def test_small_groups_are_counted_together_only() -> None:
    places = ["A"] * LEAST + ["B"]
    found = [Settled("m-1.0.0", "agree", {"sex": "F", "age": "65-79", "department": place}, 1e9) for place in places]
    told = agreement(found)
    assert ["A"] == [one.name for one in told.subgroups["department"]]
    assert (LEAST + 1, 1) == (told.overall.total, told.left_out)


def test_the_verdict_in_force_counts_and_what_waits_does_not(tmp_path: Path) -> None:
    store = store_for(tmp_path)
    verdicts = {1: [("agree", "validated"), ("reject", "withdrawn")], 2: [("agree", "")], 3: [("correct", "corrected")]}
    for target, given in verdicts.items():
        for after, (decision, effect) in enumerate(given):
            with store.session() as session:
                add(session, NewVerdict(
                    f"{target}-{after}".ljust(22, "A"), "result", target, after, "m-1.0.0", decision, "", "", {"effect": effect},  # type: ignore[arg-type]
                    "first", {"subject": "s"}, {"sex": "M"}, 1e9,
                ))
    told = agreement_of(store, "m")
    assert told is not None
    assert {"agree": 0, "correct": 1, "reject": 1} == {name: share.count for name, share in told.overall.shares.items()}
    assert agreement_of(store, "other") is None
    store.close()
