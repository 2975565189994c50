"""Calibration and populations: what was put in is found again."""

from __future__ import annotations

import numpy as np
import pytest

from training.calibrate import platt, population, threshold_at_equal_ppv, threshold_at_sensitivity


def test_platt_finds_the_slope_and_intercept_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 40_000)
    truth = rng.random(40_000) < 1 / (1 + np.exp(-(0.6 * logit - 0.8)))
    found = platt(truth.astype(float), logit)
    assert found.slope == pytest.approx(0.6, abs=0.03)
    assert found.intercept == pytest.approx(-0.8, abs=0.05)


def test_platt_leaves_unknown_truths_out() -> None:
    logit = np.array([-2, -1, -0.5, 0.5, 1, 2, 50.0])
    truth = np.array([0, 0, 1, 0, 1, 1, np.nan])
    assert platt(truth, logit) == platt(truth[:-1], logit[:-1])


def test_threshold_keeps_the_sensitivity_and_no_higher_one_does() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(500) < 0.3
    probability = np.clip(0.3 * truth + rng.random(500) * 0.7, 0, 1)
    threshold = threshold_at_sensitivity(truth, probability, 0.95)
    cases = np.sort(probability[truth])
    assert (cases >= threshold).mean() >= 0.95
    assert (cases > threshold).mean() < 0.95


def test_equal_ppv_threshold_maximises_the_smaller_of_sensitivity_and_ppv() -> None:
    truth = np.array([0, 0, 0, 1, 0, 1, 1])
    probability = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9])
    threshold = threshold_at_equal_ppv(truth, probability)
    flagged = probability >= threshold
    reached = min(truth[flagged].mean(), flagged[truth == 1].mean())
    assert reached == pytest.approx(0.75) or reached == pytest.approx(2 / 3)


def test_distance_is_about_one_inside_and_large_outside() -> None:
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(20, 20))
    members = (rng.normal(size=(3000, 20)) @ mixing).astype(np.float32)
    fitted = population(members[:2000], np.zeros(2000, np.int64))
    assert fitted.distance(members[2000:]).mean() == pytest.approx(1.0, abs=0.1)
    assert fitted.distance(members[2000:] + 12 * mixing[0].astype(np.float32)).min() > 2


def test_nearest_class_mean_counts() -> None:
    features = np.concatenate([np.random.default_rng(3).normal(c, 1, (500, 4)) for c in (-20, 20)]).astype(np.float32)
    fitted = population(features, np.repeat([0, 1], 500))
    assert fitted.distance(np.full((1, 4), 20, np.float32))[0] < 1 < fitted.distance(np.zeros((1, 4), np.float32))[0]
