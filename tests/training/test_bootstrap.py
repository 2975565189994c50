"""Intervals: weighted statistics agree with plain ones, patients are the unit, and a thousand resamples are quick."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from training import bootstrap

RNG = np.random.default_rng(7)
SCORE = np.round(RNG.normal(size=400), 1)  # rounded, so that there are ties
TRUTH = (RNG.random(400) < 1 / (1 + np.exp(-1.5 * SCORE))).astype(float)
PROBABILITY = 1 / (1 + np.exp(-SCORE))
ONE = np.ones((1, 400))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=40))
def test_weights_mean_the_same_as_repeating_cases(rows: list[tuple[bool, int, int]]) -> None:
    truth, score, times = (np.array(column) for column in zip(*rows, strict=True))
    again = np.repeat(np.arange(len(rows)), times)
    if not 0 < truth[again].sum() < len(again):
        return
    weights = times[None].astype(float)
    assert bootstrap.auroc_of(truth, score)(weights)[0] == pytest.approx(roc_auc_score(truth[again], score[again]))
    expected = average_precision_score(truth[again], score[again])
    assert bootstrap.average_precision_of(truth, score)(weights)[0] == pytest.approx(expected)
    assert bootstrap.median_of(score)(weights)[0] == pytest.approx(np.median(score[again]))


def test_calibration_line_is_the_maximum_likelihood_fit() -> None:
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(SCORE[:, None], TRUTH)
    slope = bootstrap.calibration_line_of(TRUTH, PROBABILITY, "slope")(ONE)[0]
    intercept = bootstrap.calibration_line_of(TRUTH, PROBABILITY, "intercept")(ONE)[0]
    assert (slope, intercept) == pytest.approx((fitted.coef_[0, 0], fitted.intercept_[0]), abs=1e-3)


def test_citl_is_zero_when_the_mean_is_right() -> None:
    share = np.full(400, TRUTH.mean())
    assert bootstrap.calibration_line_of(TRUTH, share, "citl")(ONE)[0] == pytest.approx(0, abs=1e-6)


def test_the_calibration_line_is_found_for_low_risks_too() -> None:
    rng = np.random.default_rng(3)
    logit = rng.normal(-2.9, 0.7, 3000)
    truth = (rng.random(3000) < 1 / (1 + np.exp(-(0.3 * logit - 0.2)))).astype(float)
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(logit[:, None], truth)
    ones, p = np.ones((1, 3000)), 1 / (1 + np.exp(-logit))
    found = [bootstrap.calibration_line_of(truth, p, what)(ones)[0] for what in ("slope", "intercept")]
    assert found == pytest.approx([fitted.coef_[0, 0], fitted.intercept_[0]], abs=1e-3)


def test_a_separable_sample_gives_numbers_not_an_overflow() -> None:
    slope = bootstrap.calibration_line_of([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "slope")(np.ones((1, 4)))
    assert np.isfinite(slope).all()


def test_expected_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    edges = np.array([0.0, 0.5, 1.0])
    error = bootstrap.expected_calibration_error_of([0, 1, 1, 1], [0.1, 0.3, 0.7, 0.9], edges)(np.ones((1, 4)))
    assert error[0] == pytest.approx((abs(1 - 0.4) + abs(2 - 1.6)) / 4)


def test_confusion_figures_are_those_of_the_table() -> None:
    truth, called = [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]
    ones = np.ones((1, 8))
    expected = {"sensitivity": 2 / 3, "specificity": 4 / 5, "ppv": 2 / 3, "npv": 4 / 5, "accuracy": 6 / 8,
                "event1": 2 / 3}
    assert {k: bootstrap.confusion_of(truth, called, k)(ones)[0] for k in expected} == pytest.approx(expected)


def test_repeating_every_image_of_a_patient_does_not_narrow_the_interval() -> None:
    once = bootstrap.figure(bootstrap.auroc_of(TRUTH, SCORE), np.arange(400))
    thrice = bootstrap.figure(
        bootstrap.auroc_of(np.tile(TRUTH, 3), np.tile(SCORE, 3)), np.tile(np.arange(400), 3), truth=np.tile(TRUTH, 3)
    )
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert (thrice.n, thrice.patients, thrice.events) == (1200, 400, 3 * TRUTH.sum())


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng, hits = np.random.default_rng(1), 0
    for trial in range(200):
        sample = rng.random(80) < 0.3
        found = bootstrap.figure(bootstrap.mean_of(sample), np.arange(80), resamples=400, seed=trial)
        hits += found.low <= 0.3 <= found.high
    assert 180 <= hits <= 198  # binomial 99.9 % band around 0.94, what a percentile interval of 80 gives


def test_a_perfect_share_still_has_an_honest_interval() -> None:
    found = bootstrap.share([True] * 60, [f"p{i // 2}" for i in range(60)])
    assert (found.value, found.high, found.interval) == (1.0, 1.0, "exact over patients")
    assert found.low == pytest.approx(0.025 ** (1 / 30))  # 30 patients, not 60 images


def test_a_figure_without_one_class_says_so_instead_of_guessing() -> None:
    found = bootstrap.figure(bootstrap.auroc_of(np.zeros(10), np.arange(10)), np.arange(10), resamples=20)
    assert found.as_json()["value"] is None
    assert (found.low, found.high) == (None, None)


def test_figures_of_nobody_are_empty_not_an_error() -> None:
    assert bootstrap.figure(bootstrap.auroc_of([], []), []).as_json()["value"] is None
    assert bootstrap.share([], []).as_json()["n"] == 0


def test_a_thousand_resamples_of_20000_cases_take_about_a_second_of_cpu() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-score))
    started = time.process_time()
    bootstrap.figure(bootstrap.auroc_of(truth, score), np.arange(20_000))
    assert time.process_time() - started < 3.0  # 1 s on an idle core; three times that on a shared one
