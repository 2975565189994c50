"""Statistics of change against known values and against simulation: level, power, and limits that keep what they promise."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy import stats

from models.statistics.drift import (
    benjamini_hochberg,
    binomial_cusum,
    bound_of,
    change_of,
    cusum_limit,
    dispersion_of,
    ewma,
    ewma_reach,
    holm,
    laney_limits,
    shewhart_limits,
)

SHARES = np.array([0.1] * 9 + [0.07, 0.03])


def test_the_test_of_homogeneity_is_that_of_scipy() -> None:
    first, second = [50, 60, 40, 50, 0], [20, 35, 15, 30, 0]
    change = change_of(first, second)
    assert change is not None
    known = stats.chi2_contingency(np.array([first[:4], second[:4]]), correction=False)
    assert change.p == pytest.approx(known.pvalue)
    assert change.bins == 4


def test_psi_beyond_chance_is_nought_on_average_where_nothing_changed() -> None:
    rng = np.random.default_rng(0)
    found = [change_of(rng.multinomial(500, SHARES), rng.multinomial(120, SHARES)) for _ in range(400)]
    raw = np.mean([one.psi - one.excess_psi for one in found if one])
    assert np.mean([one.psi for one in found if one]) == pytest.approx(raw, rel=0.35)
    assert np.mean([one.p < 0.05 for one in found if one]) == pytest.approx(0.05, abs=0.03)
    assert max(one.excess_psi for one in found if one) < 0.2


def test_bins_that_hold_too_few_join_and_too_few_cases_say_nothing() -> None:
    assert change_of([5, 3, 2], [1, 1, 1]) is None
    joined = change_of([1000, 1000, 1, 0], [10, 12, 0, 0])
    assert joined is not None
    assert joined.bins == 2


def test_what_was_never_seen_before_is_far_beyond() -> None:
    change = change_of([100, 100, 100, 0, 0], [0, 0, 0, 80, 0])
    assert change is not None
    assert change.p < 1e-20
    assert change.excess_psi > 1
    assert change.ks == pytest.approx(1.0, abs=0.01)


def test_holm_and_benjamini_hochberg_are_those_of_the_papers() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(p) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert benjamini_hochberg(p) == pytest.approx(dict(zip("abcd", stats.false_discovery_control(list(p.values())), strict=True)))


def test_bounds_of_a_share_are_those_of_clopper_and_pearson() -> None:
    low, high = bound_of(9, 434, level=0.975)
    known = stats.binomtest(9, 434).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((known.low, known.high))
    assert bound_of(0, 50)[0] == 0.0
    assert bound_of(50, 50)[1] == 1.0


def test_ordinary_weeks_pass_the_limit_of_a_cumulative_sum_no_oftener_than_it_says() -> None:
    rng, arl = np.random.default_rng(1), 100.0
    limit, alarms, weeks = cusum_limit(arl), 0, 0
    for _ in range(60):
        path = binomial_cusum(rng.binomial(120, 0.05, 200).tolist(), [120] * 200, 0.05, 2.0)
        over = next((place for place, at in enumerate(path) if at > limit), None)
        alarms += over is not None
        weeks += 200 if over is None else over + 1
    assert weeks / max(1, alarms) > arl


def test_twice_the_odds_pass_it_within_weeks_and_spread_slows_it() -> None:
    path = binomial_cusum([12] * 20, [120] * 20, 0.05, 2.0)
    assert next(place for place, at in enumerate(path) if at > log(100)) < 6
    assert binomial_cusum([12] * 20, [120] * 20, 0.05, 2.0, dispersion=3)[-1] == pytest.approx(path[-1] / 3)
    assert binomial_cusum([0] * 9, [100] * 9, 0.05, 2.0)[-1] == 0.0


def test_dispersion_is_one_of_a_binomial_and_more_where_weeks_differ() -> None:
    rng = np.random.default_rng(2)
    assert dispersion_of(rng.binomial(200, 0.1, 300).tolist(), [200] * 300) == pytest.approx(1.0, abs=0.2)
    shares = rng.beta(5, 45, 300)
    assert dispersion_of(rng.binomial(200, shares).tolist(), [200] * 300) > 3


def test_laney_widens_limits_where_weeks_differ_more_than_chance_and_empty_weeks_have_none() -> None:
    rng = np.random.default_rng(3)
    calm, spread = rng.binomial(400, 0.1, 60).tolist(), rng.binomial(400, rng.beta(10, 90, 60)).tolist()
    low, high = laney_limits(calm, [400.0] * 60, 0.1)[0]
    lower, higher = laney_limits(spread, [400.0] * 60, 0.1)[0]
    assert higher - lower > 1.5 * (high - low)
    assert laney_limits([0.0], [0.0], 0.1) == [(0.0, 1.0)]


def test_limits_of_a_mean_allow_for_the_error_of_the_reference() -> None:
    (low, high), = shewhart_limits(10.0, 2.0, [100.0], 100.0)
    assert high - low == pytest.approx(2 * 3 * 2 * np.sqrt(2 / 100))
    assert ewma([1.0, 1.0], 0.0) == pytest.approx([0.2, 0.36])
    rng, over = np.random.default_rng(4), 0
    for _ in range(40):
        centre = rng.normal(0, 1 / np.sqrt(400))  # the reference's own mean is off by this much
        path = ewma(rng.normal(0, 1 / np.sqrt(100), 100).tolist(), centre)
        over += any(abs(at - centre) > ewma_reach(1.0, 100, 400) for at in path)
    assert over <= 4
