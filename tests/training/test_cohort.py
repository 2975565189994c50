"""Cohorts: cases become arrays by the functions that serve them, and a patient's rows never part."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.record import Record, Series
from training.data.cohort import Case, Cohort, cohort_of, folds_of, joined
from training.recipe import Recipe
from training.risk_features import feature_of
from training.sources import SOURCES, source_of


def case(group: str, label: float, rate: float) -> Case:
    series = {"HR": Series(np.array([60.0, 600.0]), np.array([rate, 200.0]))}
    return Case(Record(series, {"age_years": 70.0}), (label,), group, {"sex": "female"})


def test_a_cohort_sees_nothing_after_its_moment() -> None:
    features = [feature_of("last HR"), feature_of("static age_years"), feature_of("last pH")]
    found = cohort_of([case("a", 1, 90), case("b", 0, 80)], features, "0" * 64, {"train": 2}, moment_h=2)
    np.testing.assert_array_equal(found.x, np.array([[90, 70, np.nan], [80, 70, np.nan]], np.float32))
    assert (found.y.tolist(), found.groups.tolist(), found.subgroups["sex"].tolist()) == (
        [[1], [0]], ["a", "b"], ["female", "female"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=8, max_size=80), st.integers(2, 5), st.integers(0, 3))
def test_rows_of_one_patient_lie_in_one_fold_and_every_row_is_held_out_once(groups: list[int], folds: int, seed: int) -> None:
    names = np.array([str(group) for group in [*groups, groups[0]]])  # at least one patient twice
    y = (np.arange(len(names)) % 3 == 0).astype(np.float32)[:, None]
    seen = np.zeros(len(names))
    for inside, outside in folds_of(y, names, folds, seed):
        assert not set(names[inside]) & set(names[outside])
        assert len(inside) + len(outside) == len(names)
        seen[outside] += 1
    assert (seen == 1).all()


def test_folds_have_like_numbers_of_events() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([str(i) for i in rng.integers(0, 400, 1000)])
    y = (rng.random(1000) < 0.1).astype(np.float32)[:, None]
    events = [float(y[outside].sum()) for _, outside in folds_of(y, groups, 5, 1)]
    assert max(events) - min(events) <= 5


def test_a_patient_in_two_splits_is_an_error() -> None:
    def cohort(split: str, features: object, root: Path) -> Cohort:
        return Cohort(np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32), np.array(["a", split]), "0" * 64, {split: 2})

    with pytest.raises(ValueError, match="one split, found 1 in two"):
        joined(SimpleNamespace(cohort=cohort), [], Path(), ("train", "val"))


def test_counts_of_the_splits_are_kept_and_common_ones_added() -> None:
    def cohort(split: str, features: object, root: Path) -> Cohort:
        return Cohort(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32), np.array([split]), "0" * 64,
                      {split: 1, "died": 1})

    assert joined(SimpleNamespace(cohort=cohort), [], Path(), ("train", "val")).counts == {"train": 1, "val": 1, "died": 2}


def test_a_recipe_names_its_data() -> None:
    assert source_of(Recipe("x", {"data": "challenge2012"})) is SOURCES["challenge2012"]
    with pytest.raises(ValueError, match="one of challenge2012"):
        source_of(Recipe("x", {"data": "nowhere"}))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_gives_what_fitting_and_evaluating_ask_for(name: str) -> None:
    assert all(callable(getattr(SOURCES[name], what)) for what in ("records", "cohort", "data_sha256"))
