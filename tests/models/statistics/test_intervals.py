"""Intervals: published worked examples, the ends, and what several cases of one person do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.statistics.intervals import clopper_pearson, difference, share_of, wilson

# Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), table I, method 3, and the exact method 5
PUBLISHED = [(81, 263, 0.2553, 0.3662, 0.2527, 0.3676), (15, 148, 0.0624, 0.1605, 0.0578, 0.1617), (0, 20, 0.0, 0.1611, 0.0, 0.1684),
             (1, 29, 0.0061, 0.1718, 0.0009, 0.1776)]


@pytest.mark.parametrize(("hits", "n", "low", "high", "exact_low", "exact_high"), PUBLISHED)
def test_intervals_of_a_share_are_the_published_ones(
    hits: int, n: int, low: float, high: float, exact_low: float, exact_high: float
) -> None:
    assert [round(end, 4) for end in wilson(hits, n)] == [low, high]
    assert [round(end, 4) for end in clopper_pearson(hits, n)] == [exact_low, exact_high]


# Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I), table II, method 10
@pytest.mark.parametrize(("cells", "low", "high"), [
    ((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090), ((10, 10, 0, 20), 0.6791, 1.0), ((5, 56, 0, 29), -0.0381,
        0.1926),
])
def test_the_difference_of_two_shares_has_newcombes_interval(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    gap, found_low, found_high = difference(*cells)
    assert gap == pytest.approx(cells[0] / cells[1] - cells[2] / cells[3])
    assert (round(found_low, 4), round(found_high, 4)) == (low, high)


def test_nothing_has_no_interval() -> None:
    assert all(math.isnan(end) for end in (*wilson(0, 0), *clopper_pearson(0, 0), *difference(0, 0, 1, 2)))
    empty = share_of([], [])
    assert math.isnan(empty.value)
    assert empty.n == 0


def test_all_or_none_reaches_the_end_exactly() -> None:
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 7)[0] == 0.0
    assert share_of([1, 1, 1], ["a", "b", "c"]).high == 1.0


def test_one_case_a_person_is_plain_wilson() -> None:
    flags = np.arange(263) < 81
    found = share_of(flags, [str(i) for i in range(263)])
    assert (found.low, found.high) == pytest.approx(wilson(81, 263))
    assert found.effective_n == 263


def test_images_that_repeat_a_person_do_not_narrow_the_interval() -> None:
    """Each person's four images say the same: they are worth as many cases as there are persons, by the ratio's variance."""
    rng = np.random.default_rng(0)
    person = rng.random(100) < 0.3
    four = share_of(np.repeat(person, 4), [str(i) for i in np.repeat(np.arange(100), 4)])
    one = share_of(person, [str(i) for i in range(100)])
    assert four.value == one.value
    assert four.effective_n == pytest.approx(99)  # (persons - 1): the variance is estimated
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.02)


def test_images_that_all_agree_count_persons() -> None:
    assert share_of([1] * 40, [str(i % 10) for i in range(40)]).low == pytest.approx(wilson(10, 10)[0])


def test_clustered_wilson_keeps_its_level_where_plain_wilson_does_not() -> None:
    """60 persons with 1 to 8 alike images each, 600 draws: 95 % intervals hold the truth about as often as they say."""
    rng = np.random.default_rng(1)
    held = plain = 0
    for _ in range(600):
        sizes = rng.integers(1, 9, 60)
        chance = np.repeat(rng.beta(1.4, 0.6, 60), sizes)  # mean 0.7, alike within a person
        persons = np.repeat(np.arange(60), sizes).astype(str)
        flags = rng.random(len(chance)) < chance
        found = share_of(flags, persons)
        held += found.low <= 0.7 <= found.high
        low, high = wilson(flags.sum(), len(flags))
        plain += low <= 0.7 <= high
    assert held / 600 >= 0.92
    assert plain / 600 < 0.85
