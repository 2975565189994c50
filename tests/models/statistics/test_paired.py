"""Paired comparisons: published examples, closed forms, and the bootstrap that they must agree with."""

from __future__ import annotations

from math import comb, isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from models.statistics.binary import auroc, brier
from models.statistics.paired import aurocs, kappa, mcnemar, over_persons, proportions


def two_scores(n: int, seed: int, *, second: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cases of which four in ten have the finding, and two scores that share half of their noise."""
    random = np.random.default_rng(seed)
    truth = random.random(n) < 0.4
    shared = random.normal(size=n)
    first, other = (strength * truth + (shared + random.normal(size=n)) / sqrt(2) for strength in (1.0, second))
    return truth, first, other


@pytest.mark.parametrize(("first_only", "second_only", "n", "p"), [
    (7, 1, 21, 0.0391),  # Fagerland, Lydersen, Laake 2013, airway hyper-responsiveness before and after transplantation
    (6, 16, 161, 0.0347),  # the same, complete response before and after consolidation
    (3, 3, 10, 1.0), (0, 0, 10, 1.0),
])
def test_mcnemar_gives_the_published_mid_p(first_only: int, second_only: int, n: int, p: float) -> None:
    found = mcnemar(first_only, second_only, n).p
    assert found == pytest.approx(p, abs=5e-5)


def test_mcnemar_mid_p_is_the_exact_p_less_half_of_the_seen_table_at_both_ends() -> None:
    exact = 2 * sum(comb(11, k) for k in range(3)) / 2**11
    assert mcnemar(2, 9, 40).p == pytest.approx(exact - comb(11, 2) / 2**11)


def test_mcnemar_keeps_its_level() -> None:
    """Of all tables with ten discordant cases, those called different at 5 % come no more often than that."""
    chance = sum(comb(10, k) / 2**10 for k in range(11) if mcnemar(k, 10 - k, 10).p < 0.05)
    assert chance < 0.05


def test_difference_of_shares_has_the_interval_of_bonett_and_price() -> None:
    """Their formula by hand: (1 + 1)/(21 + 2) against (7 + 1)/(21 + 2)."""
    first = [True] * 1 + [True] * 7 + [False] * 1 + [False] * 12
    second = [True] * 1 + [False] * 7 + [True] * 1 + [False] * 12
    found = proportions(first, second)
    a, b = 2 / 23, 8 / 23
    reach = 1.959964 * sqrt((a + b - (a - b) ** 2) / 23)
    assert (found.first, found.second, found.difference) == pytest.approx((8 / 21, 2 / 21, -6 / 21))
    assert (found.low, found.high, found.p) == pytest.approx((a - b - reach, a - b + reach, 0.0391), abs=1e-4)


def test_delong_is_the_sum_over_all_pairs_that_its_authors_wrote_down() -> None:
    truth, first, second = two_scores(60, 1)
    found = aurocs(truth, first, second)

    def components(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        higher = (score[truth][:, None] > score[~truth]) + 0.5 * (score[truth][:, None] == score[~truth])
        return higher.mean(axis=1), higher.mean(axis=0)

    (v1, w1), (v2, w2) = components(first), components(second)
    variance = np.var(v2 - v1, ddof=1) / truth.sum() + np.var(w2 - w1, ddof=1) / (~truth).sum()
    assert (found.first, found.second) == pytest.approx((auroc(truth, first), auroc(truth, second)))
    assert (found.high - found.low) / (2 * 1.959964) == pytest.approx(sqrt(variance))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.difference) / sqrt(variance)))


def test_delong_counts_ties_as_one_half() -> None:
    found = aurocs([1, 1, 0, 0], [1, 2, 1, 0], [1, 1, 1, 1])
    assert (found.first, found.second) == (7 / 8, 0.5)


def test_delong_interval_is_that_of_the_bootstrap() -> None:
    truth, first, second = two_scores(400, 2, second=1.6)
    found = aurocs(truth, first, second)
    drawn = over_persons([str(one) for one in range(400)], lambda at: auroc(truth[at], first[at]),
                         lambda at: auroc(truth[at], second[at]), resamples=600)
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.012)
    assert found.difference == pytest.approx(drawn.difference)


def test_delong_keeps_its_level_where_both_are_equally_good() -> None:
    wrong = sum(aurocs(*two_scores(120, seed)).p < 0.05 for seed in range(600))
    assert 12 <= wrong <= 50  # of 600, 30 are expected


def test_several_cases_of_one_person_widen_the_interval_as_drawing_persons_does() -> None:
    """Each case three times is no news: summed over persons the interval stays as wide as that of the single cases."""
    truth, first, second = two_scores(150, 3, second=1.5)
    once = aurocs(truth, first, second)
    persons = [str(one) for one in range(150)] * 3
    thrice = aurocs(np.tile(truth, 3), np.tile(first, 3), np.tile(second, 3), persons)
    naive = aurocs(np.tile(truth, 3), np.tile(first, 3), np.tile(second, 3))
    assert (thrice.high - thrice.low) == pytest.approx(once.high - once.low, rel=0.02)
    assert (naive.high - naive.low) == pytest.approx((once.high - once.low) / sqrt(3), rel=0.02)


def test_persons_with_cases_of_both_classes_are_summed_as_drawing_persons_does() -> None:
    random = np.random.default_rng(4)
    whose = np.repeat(np.arange(120), 3)
    own = random.normal(size=120)[whose]
    truth = random.random(360) < 0.5
    first, second = truth + own + random.normal(size=360), 1.3 * truth + own + random.normal(size=360)
    found = aurocs(truth, first, second, [str(one) for one in whose])
    drawn = over_persons([str(one) for one in whose], lambda at: auroc(truth[at], first[at]), lambda at: auroc(truth[at], second[at]),
                         resamples=600)
    assert found.high - found.low == pytest.approx(drawn.high - drawn.low, rel=0.15)


def test_two_areas_of_one_class_are_refused_with_what_was_found() -> None:
    with pytest.raises(ValueError, match="found 1 and 2"):
        aurocs([1, 0, 0], [1, 2, 3], [1, 2, 3])


def test_brier_difference_over_persons_holds_the_difference_and_a_better_model_lies_below_zero() -> None:
    random = np.random.default_rng(5)
    chance = random.random(300)
    truth = random.random(300) < chance
    worse = np.clip(chance + random.normal(scale=0.3, size=300), 0.01, 0.99)
    found = over_persons([str(one) for one in range(300)], lambda at: brier(truth[at], worse[at]),
                         lambda at: brier(truth[at], chance[at]), resamples=400)
    assert found.low < found.difference < found.high < 0


def test_an_interval_that_most_draws_cannot_give_is_none() -> None:
    truth = np.array([1, 0, 0])
    found = over_persons(["a", "b", "c"], lambda at: auroc(truth[at], at), lambda at: auroc(truth[at], -at), resamples=200)
    assert (isnan(found.low), isnan(found.high)) == (True, True)


def test_kappa_of_the_textbook_table_is_two_fifths() -> None:
    """20 both yes, 5 first alone, 10 second alone, 15 both no: kappa is (0.7 - 0.5) / 0.5, its interval that of the bootstrap."""
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = kappa(first, second)
    assert (found.value, found.agreed) == pytest.approx((0.4, 0.7))
    drawn = over_persons([str(one) for one in range(50)], lambda _: 0.0,
                         lambda at: kappa(np.array(first)[at], np.array(second)[at]).value, resamples=1500)
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.03)


def test_kappa_of_two_who_always_say_yes_is_unknown_though_they_agree() -> None:
    found = kappa([True] * 4, [True] * 4)
    assert isnan(found.value)
    assert found.agreed == 1.0


def test_shares_of_persons_with_several_cases_are_no_surer_than_those_of_the_persons() -> None:
    """Each case three times is no news: neither the interval nor p may say that it is."""
    random = np.random.default_rng(9)
    first, second = random.random(80) < 0.8, random.random(80) < 0.65
    once = proportions(first, second)
    persons = [str(one) for one in range(80)] * 3
    thrice, naive = proportions(np.tile(first, 3), np.tile(second, 3), persons), proportions(np.tile(first, 3), np.tile(second, 3))
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.05)
    assert naive.high - naive.low < 0.65 * (once.high - once.low)
    assert thrice.p is not None
    assert once.p is not None
    assert naive.p is not None
    assert naive.p < 0.2 * once.p < thrice.p
    assert proportions(first, second, persons[:80]) == once


def test_shares_that_never_differ_are_known_as_well_as_there_are_persons() -> None:
    same = [True] * 60
    few, many = proportions(same, same, ["a", "b"] * 30), proportions(same, same)
    assert few.high - few.low > 3 * (many.high - many.low)
