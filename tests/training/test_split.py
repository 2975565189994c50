"""Splits are by patient: the rule is checked, and where it is made it is stable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnusableInput
from training.data.split import check_split, split_of


def test_patient_in_two_splits_is_refused_without_naming_the_patient() -> None:
    with pytest.raises(UnusableInput, match="one patient must be in one split") as error:
        check_split([("dupont-jean", "train"), ("b", "test"), ("dupont-jean", "test")], what="scans")
    assert "dupont" not in str(error.value)


def test_whole_patients_pass() -> None:
    check_split([("a", "train"), ("a", "train"), ("b", "test")], what="scans")


@given(st.text(), st.integers(0, 2**31))
def test_split_of_a_patient_never_changes(patient: str, seed: int) -> None:
    assert split_of(patient, seed=seed) == split_of(patient, seed=seed)


def test_shares_are_kept() -> None:
    counts = dict.fromkeys(("train", "val", "test"), 0)
    for i in range(5000):
        counts[split_of(str(i), seed=1)] += 1
    assert counts["train"] / 5000 == pytest.approx(0.7, abs=0.03)
    assert counts["test"] / 5000 == pytest.approx(0.2, abs=0.03)
