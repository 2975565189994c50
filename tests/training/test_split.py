"""Splits are by patient: the rule is checked."""

from __future__ import annotations

import pytest

from models.errors import UnusableInput
from training.data.split import check_split


def test_patient_in_two_splits_is_refused_without_naming_the_patient() -> None:
    with pytest.raises(UnusableInput, match="one patient must be in one split") as error:
        check_split([("dupont-jean", "train"), ("b", "test"), ("dupont-jean", "test")], what="scans")
    assert "dupont" not in str(error.value)


def test_whole_patients_pass() -> None:
    check_split([("a", "train"), ("a", "train"), ("b", "test")], what="scans")
