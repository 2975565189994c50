"""Sample sizes: worked by hand, against a published recommendation, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from models.statistics.binary import calibration_line, chance_of
from models.statistics.intervals import wilson
from models.statistics.sample_size import (
    LARGEST,
    Information,
    buderer,
    for_auroc,
    for_calibration_slope,
    for_lower_bound,
    for_new_line,
    for_observed_over_expected,
    for_share,
    information_of,
)

WIDE = 1.959964  # a half width of so many standard errors


def test_buderers_formula_worked_by_hand() -> None:
    """1.96² · 0.9 · 0.1 / 0.1² = 34.6 ill persons, of whom one in five comes: 173."""
    assert buderer(0.90, 0.10, 0.20) == 173
    assert buderer(0.85, 0.10, 0.80) == 62


@pytest.mark.parametrize(("share", "width"), [(0.9, 0.05), (0.97, 0.02), (1.0, 0.05), (0.5, 0.1)])
def test_the_smallest_number_is_enough_and_one_less_is_not(share: float, width: float) -> None:
    def half(n: int) -> float:
        low, high = wilson(share * n, n)
        return (high - low) / 2

    n = for_share(share, width)
    assert half(n) <= width < half(n - 1)


def test_a_lower_bound_that_no_number_reaches_is_said() -> None:
    n = for_lower_bound(0.97, 0.95)
    assert n is not None
    assert wilson(0.97 * n, n)[0] >= 0.95 > wilson(0.97 * (n - 1), n - 1)[0]
    assert for_lower_bound(0.95, 0.95) is None


def test_observed_over_expected_is_the_closed_form() -> None:
    """Riley 2021: n = (1 - φ) / (φ SE²)."""
    assert for_observed_over_expected(0.1, WIDE * 0.1) == math.ceil(0.9 / (0.1 * 0.01))


def test_the_slope_takes_about_what_is_published() -> None:
    """Pavlou 2021 (doi:10.1177/09622802211007522): prevalence 0.1, AUROC 0.75, standard error of the slope 0.1: 1536 people.

    They approximate the spread of the logits; with the exact one it is 1514.
    """
    z = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)

    def of(mean: float, sd: float) -> tuple[float, float]:
        p = chance_of(mean + sd * z)
        below = np.cumsum(1 - p) - (1 - p) / 2
        return float(p.mean()), float((p * below).sum() / (p.sum() * (1 - p).sum()))

    def mean_of(sd: float) -> float:
        return float(optimize.brentq(lambda mean: of(mean, sd)[0] - 0.1, -10, 5))

    sd = float(optimize.brentq(lambda one: of(mean_of(one), one)[1] - 0.75, 0.2, 4))
    n = for_calibration_slope(information_of(mean_of(sd) + sd * z), WIDE * 0.1)
    assert n == pytest.approx(1536, rel=0.02)


def test_people_drawn_in_that_number_know_the_slope_that_well() -> None:
    rng = np.random.default_rng(4)
    logit = rng.normal(-1, 1, 100_000)
    n = for_calibration_slope(information_of(logit), 0.3)
    slopes = []
    for _ in range(150):
        x = rng.choice(logit, n)
        slopes.append(calibration_line(rng.random(n) < chance_of(x), x).slope)
    assert np.std(slopes) * WIDE == pytest.approx(0.3, rel=0.15)


def test_where_everybody_has_one_logit_no_number_tells_a_slope() -> None:
    assert for_calibration_slope(Information(0.2, 0.2, 0.2), 0.2) == LARGEST


def test_a_better_ranking_takes_fewer_cases() -> None:
    assert for_auroc(0.9, 0.2, 0.03) < for_auroc(0.7, 0.2, 0.03)


def test_a_new_line_takes_more_the_less_the_score_tells() -> None:
    """Riley 2020: p / ((S - 1) ln(1 - R² / S)); and the overall risk to ± 0.05."""
    assert for_new_line(0.1, 0.02) == math.ceil(max(1 / (-0.1 * math.log(1 - 0.02 / 0.9)), (1.96 / 0.05) ** 2 * 0.09))
    assert for_new_line(0.5, 0.001) > for_new_line(0.5, 0.3)
