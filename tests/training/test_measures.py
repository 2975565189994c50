"""Figures of merit agree with scikit-learn and with cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from training import measures

RNG = np.random.default_rng(5)
SCORE = np.round(RNG.random(300), 2)
TRUTH = (RNG.random(300) < SCORE).astype(int)


def test_auroc_and_average_precision_agree_with_scikit_learn() -> None:
    assert measures.auroc(TRUTH, SCORE) == pytest.approx(metrics.roc_auc_score(TRUTH, SCORE))
    assert measures.average_precision(TRUTH, SCORE) == pytest.approx(metrics.average_precision_score(TRUTH, SCORE))


def test_the_roc_curve_encloses_the_auroc() -> None:
    false_positive_rate, sensitivity = measures.roc(TRUTH, SCORE)
    assert np.trapezoid(sensitivity, false_positive_rate) == pytest.approx(measures.auroc(TRUTH, SCORE))
    assert (false_positive_rate[0], sensitivity[-1]) == (0.0, 1.0)


def test_auroc_of_one_class_is_not_a_number() -> None:
    assert np.isnan(measures.auroc([1, 1], [0.2, 0.3]))
    assert np.isnan(measures.average_precision([0, 0], [0.2, 0.3]))


def test_net_benefit_of_treating_all_is_prevalence_less_weighted_rest() -> None:
    truth, everyone = np.array([1, 0, 0, 0]), np.ones(4)
    assert measures.net_benefit(truth, everyone, np.array([0.2]))[0] == pytest.approx(0.25 - 0.75 * 0.2 / 0.8)


def test_a_reliability_bin_holds_its_lower_edge_and_the_last_holds_one() -> None:
    rows = measures.reliability([0, 1, 1], [0.0, 0.5, 1.0], np.array([0, 0.5, 1.0]))
    assert [(r["low"], r["n"], r["observed"]) for r in rows] == [(0.0, 1.0, 0.0), (0.5, 2.0, 1.0)]


def test_bland_altman_limits_are_bias_and_1_96_standard_deviations() -> None:
    found = measures.bland_altman([1.0, 2.0, 3.0], [1.1, 2.0, 3.2])
    assert found["bias"] == pytest.approx(0.1)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.1)


def test_dice_of_half_overlap_is_one_half() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:, :2], b[:, 1:3] = True, True
    assert measures.dice(a, b) == 0.5
    assert measures.dice(np.zeros(3, bool), np.zeros(3, bool)) == 1.0


def test_hausdorff_of_a_shifted_cube_is_the_shift_in_millimetres() -> None:
    a, b = np.zeros((10, 10, 10), bool), np.zeros((10, 10, 10), bool)
    a[2:6, 2:6, 2:6], b[2:6, 2:6, 4:8] = True, True
    assert measures.hausdorff_95_mm(a, b, (1.0, 1.0, 0.5)) == pytest.approx(1.0)


def test_hausdorff_to_nothing_is_infinite() -> None:
    cube = np.ones((2, 2, 2), bool)
    assert measures.hausdorff_95_mm(cube, ~cube, (1, 1, 1)) == float("inf")
    assert measures.hausdorff_95_mm(~cube, ~cube, (1, 1, 1)) == 0.0
