"""Figures of a yes/no outcome against closed forms, scikit-learn and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from models.statistics.binary import (
    auroc,
    brier,
    calibration_in_the_large,
    calibration_line,
    chance_of,
    expected_calibration_error,
    fourfold,
    logit_of,
    predictive_values_at,
    reliability,
)


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray]:
    """Truths that follow 0.4 + 0.8 times the stated logit, 3000 of them."""
    rng = np.random.default_rng(2)
    logit = rng.normal(-1, 1.3, 3000)
    return (rng.random(3000) < chance_of(0.4 + 0.8 * logit)).astype(float), logit


def test_the_fourfold_table_counts_and_divides() -> None:
    found = fourfold([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0])
    assert (found.true_positive, found.false_positive, found.false_negative, found.true_negative) == (2, 1, 1, 4)
    assert (found.sensitivity, found.specificity, found.ppv, found.npv, found.prevalence) == (2 / 3, 0.8, 2 / 3, 0.8, 3 / 8)
    assert math.isnan(fourfold([0, 0], [0, 0]).sensitivity)


def test_ranking_and_distance_agree_with_scikit_learn(made: tuple[np.ndarray, np.ndarray]) -> None:
    y, logit = made
    rounded = np.round(logit, 1)  # with ties
    assert auroc(y, rounded) == pytest.approx(roc_auc_score(y, rounded), abs=1e-12)
    assert brier(y, chance_of(logit)) == pytest.approx(brier_score_loss(y, chance_of(logit)), abs=1e-12)
    assert math.isnan(auroc([1, 1], [0.2, 0.3]))


def test_the_calibration_line_is_the_maximum_likelihood_one_and_finds_what_was_put_in(made: tuple[np.ndarray, np.ndarray]) -> None:
    y, logit = made
    line = calibration_line(y, logit)
    fitted = LogisticRegression(C=np.inf, tol=1e-8).fit(logit[:, None], y)
    assert (line.slope, line.intercept) == pytest.approx((fitted.coef_[0, 0], fitted.intercept_[0]), abs=1e-4)
    assert abs(line.slope - 0.8) < 3 * line.slope_se
    low, high = line.interval()
    assert low < line.slope < high


def test_standard_errors_are_what_new_samples_scatter_by() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        logit = rng.normal(-1, 1.2, 500)
        line = calibration_line(rng.random(500) < chance_of(logit), logit)
        found.append((line.slope, line.slope_se))
    slopes, errors = np.array(found).T
    assert slopes.std() == pytest.approx(errors.mean(), rel=0.15)


def test_a_person_repeated_four_times_widens_the_robust_error_twofold(made: tuple[np.ndarray, np.ndarray]) -> None:
    y, logit = made
    persons = [str(i) for i in np.repeat(np.arange(len(y)), 4)]
    once = calibration_line(y, logit)
    plain, robust = calibration_line(np.repeat(y, 4), np.repeat(logit, 4)), calibration_line(np.repeat(y, 4), np.repeat(logit, 4),
        persons)
    assert plain.slope_se == pytest.approx(once.slope_se / 2)
    assert robust.slope_se == pytest.approx(once.slope_se, rel=0.05)


def test_the_level_is_the_shift_that_makes_the_mean_right(made: tuple[np.ndarray, np.ndarray]) -> None:
    y, logit = made
    shift, error = calibration_in_the_large(y, logit)
    assert chance_of(logit + shift).mean() == pytest.approx(y.mean(), abs=1e-9)
    assert error == pytest.approx(1 / math.sqrt((chance_of(logit + shift) * (1 - chance_of(logit + shift))).sum()))


@pytest.mark.parametrize("y", [[0, 0, 0, 0], [0, 0, 1, 1]])
def test_no_line_where_there_is_none_to_find(y: list[int]) -> None:
    """One class alone, or two that lie apart."""
    assert math.isnan(calibration_line(y, [-2.0, -1.0, 1.0, 2.0]).slope)


def test_predictive_values_follow_the_prevalence_by_bayes() -> None:
    found = fourfold(np.repeat([1, 0], [100, 100]), np.r_[np.ones(90), np.zeros(10), np.ones(20), np.zeros(80)])
    at = predictive_values_at(0.05, found)
    assert at["ppv"][0] == pytest.approx(0.9 * 0.05 / (0.9 * 0.05 + 0.2 * 0.95))
    assert at["npv"][0] == pytest.approx(0.8 * 0.95 / (0.8 * 0.95 + 0.1 * 0.05))
    assert all(low < value < high for value, low, high in at.values())
    perfect = predictive_values_at(0.05, fourfold([1, 1, 0, 0], [1, 1, 0, 0]))
    assert all(math.isfinite(one) for three in perfect.values() for one in three)


def test_bins_hold_everybody_and_the_error_is_their_mean_gap() -> None:
    p = np.array([0.05] * 50 + [0.95] * 50)
    y = np.array([0] * 40 + [1] * 10 + [1] * 50)
    rows = reliability(y, p, bins=2)
    assert [row["n"] for row in rows] == [50, 50]
    assert rows[0]["low"] < 0.2 < rows[0]["high"]
    assert expected_calibration_error(y, p) == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)
    assert reliability([], []) == []


def test_logits_and_chances_are_each_others_inverse_and_stay_finite() -> None:
    assert chance_of(logit_of([0.01, 0.5, 0.99])) == pytest.approx([0.01, 0.5, 0.99])
    assert np.isfinite(logit_of([0.0, 1.0])).all()
