"""Coverage by class and subgroup: kept where people are alike, seen to fail where a group differs."""

from __future__ import annotations

import numpy as np
import pytest

from training.prediction_sets import Aim, checked, failing, for_manifest, halves, interval_checked
from training.split_scores import SplitScores


def cases(n: int, seed: int, *, shift: float = 0.0, a_patient: int = 1) -> SplitScores:
    """Made-up scores; in the group "other" the logit lies ``shift`` higher."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(float)
    group = rng.choice(["one", "other"], n, p=[0.7, 0.3])
    p = 1 / (1 + np.exp(-(rng.normal(2 * truth - 1.5, 1.0) + shift * (group == "other"))))
    patients = np.array([f"{seed}-{i // a_patient}" for i in range(n)])
    return SplitScores("o", "O", 0.3, truth, p, patients, {"place": group}, {})


def rows(found: dict) -> dict[tuple[str, str], dict]:
    return {(row["class"], row["group"]): row for row in found["coverage"]}


def test_where_people_are_alike_every_group_is_covered() -> None:
    found = checked(cases(2000, 1), cases(3000, 2), Aim.of(), calibrated_on="half", guaranteed=True)

    assert {row["verdict"] for row in found["coverage"]} == {"holds"}
    assert failing([found]) == []
    assert sum(found["sets"].values()) == pytest.approx(1)


def test_a_group_that_differs_is_named() -> None:
    found = checked(cases(2000, 1), cases(3000, 2, shift=1.5), Aim.of(), calibrated_on="half", guaranteed=True)

    assert rows(found)["without the outcome", "other"]["verdict"] == "gap"
    assert rows(found)["without the outcome", "one"]["verdict"] == "holds"
    assert [line for line in failing([found]) if "place other" in line and "without" in line]
    assert failing([found], apart=("place", "population")) == []


def test_several_cases_a_patient_have_an_interval_over_patients_and_no_exact_law() -> None:
    row = rows(checked(cases(600, 1), cases(900, 2, a_patient=3), Aim.of(), calibrated_on="half", guaranteed=True))
    assert row["with the outcome", "everybody"]["p_value"] is None
    assert row["with the outcome", "everybody"]["interval"] == "bootstrap over patients"


def test_few_are_too_few() -> None:
    test = cases(40, 2)
    row = rows(checked(cases(600, 1), test, Aim.of(), calibrated_on="half", guaranteed=True))
    assert row["with the outcome", "other"]["verdict"] == "too_few"


def test_triage_is_left_out_where_calibration_has_one_class() -> None:
    calibration = cases(300, 1)
    alone = calibration.only(calibration.truth == 0)
    assert checked(alone, cases(200, 2), Aim.of(), calibrated_on="half", guaranteed=True)["triage"] is None


def test_halves_hold_whole_patients_whatever_the_order() -> None:
    whole = cases(400, 3, a_patient=4)
    first, second = halves(whole)
    turned, _ = halves(whole.only(np.arange(400) >= 0))

    assert not set(first.patients.tolist()) & set(second.patients.tolist())
    assert len(first.truth) + len(second.truth) == 400
    assert sorted(first.patients.tolist()) == sorted(turned.patients.tolist())


def test_an_interval_that_holds_too_seldom_in_a_group_is_a_gap() -> None:
    rng = np.random.default_rng(5)
    group = np.array(["low"] * 300 + ["high"] * 300)
    inside = np.where(group == "low", rng.random(600) < 0.9, rng.random(600) < 0.6).astype(float)
    test = SplitScores("dose", "Dose", None, inside, inside, np.arange(600).astype(str), {"dose": group}, {"coverage": inside})

    verdicts = {row["group"]: row["verdict"] for row in interval_checked(test, 0.9, 0.1)["coverage"]}

    assert verdicts["high"] == "gap"
    assert verdicts["low"] == "holds"


def test_limits_go_into_a_manifest_and_infinity_does_not() -> None:
    calibration = cases(300, 1)
    few = calibration.only((calibration.truth == 0) | (np.cumsum(calibration.truth) <= 5))

    stated = for_manifest(few, Aim.of())

    assert (stated.q1, stated.n1) == (None, 5)
    assert stated.q0 is not None
