"""Conformal sets: the guarantee holds in finite samples by the exact law, and what breaks it is seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.statistics import conformal


def scores(rng: np.random.Generator, n: int, *, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Made-up truths and probabilities; ``shift`` moves the logit, as another hospital would."""
    truth = (rng.random(n) < 0.3).astype(float)
    logit = rng.normal(2 * truth - 1.5 + shift, 1.0)
    return truth, 1 / (1 + np.exp(-logit))


def test_the_rank_is_the_finite_sample_one() -> None:
    assert [conformal.rank(n, 0.1) for n in (8, 9, 19, 99)] == [9, 9, 18, 90]


def test_the_limit_is_the_ranked_score_of_each_class() -> None:
    p = np.concatenate([np.arange(1, 20) / 100, 1 - np.arange(1, 10) / 100])
    truth = np.array([0.0] * 19 + [1.0] * 9)

    limits = conformal.class_limits(truth, p, 0.1)

    assert (limits.q0, round(limits.q1, 9), limits.n0, limits.n1) == (0.18, 0.09, 19, 9)


def test_with_too_few_cases_an_answer_is_never_ruled_out() -> None:
    limits = conformal.class_limits([0.0] * 30 + [1.0] * 8, np.linspace(0.1, 0.9, 38), 0.1)

    assert limits.q1 == float("inf")
    assert conformal.sets([0.0001], limits)[0, 1]


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("n", [19, 60, 250])
def test_coverage_of_new_cases_follows_the_exact_law(alpha: float, n: int) -> None:
    """3000 worlds: the number covered of 40 new cases is beta-binomial, and never less on average than 1 - alpha."""
    rng, worlds, new = np.random.default_rng(n), 3000, 40
    calibration, fresh = rng.normal(size=(worlds, n)), rng.normal(size=(worlds, new))
    k = conformal.rank(n, alpha)
    limits = np.sort(calibration, axis=1)[:, k - 1]
    covered = (fresh <= limits[:, None]).sum(axis=1)
    law = conformal.coverage_law(n, new, alpha)

    assert law.mean() / new >= 1 - alpha - 1e-12
    assert law.mean() / new <= 1 - alpha + 1 / (n + 1) + 1e-12
    assert covered.mean() == pytest.approx(law.mean(), abs=4 * law.std() / np.sqrt(worlds))
    seen = np.searchsorted(np.sort(covered), np.arange(new + 1), side="right") / worlds
    distance = np.abs(seen - law.cdf(np.arange(new + 1))).max()
    assert distance < 1.63 / np.sqrt(worlds)  # Kolmogorov's bound at 1 %; discrete laws only keep it more easily


def test_each_class_is_covered_as_stated_whatever_the_model() -> None:
    """The probabilities are badly calibrated on purpose: the sets do not mind."""
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(300):
        truth, p = scores(rng, 400)
        new_truth, new_p = scores(rng, 400)
        hits = conformal.covered(new_truth, new_p**3, conformal.class_limits(truth, p**3, 0.1))
        shares.append((hits[new_truth == 0].mean(), hits[new_truth == 1].mean()))
    least = np.mean(shares, axis=0)
    assert (least > 0.895).all()
    assert (least < 0.915).all()


def test_so_few_covered_is_surprising_only_where_people_differ() -> None:
    rng = np.random.default_rng(2)
    chances = {0.0: [], 1.0: []}
    for shift, found in chances.items():
        for _ in range(40):
            truth, p = scores(rng, 500)
            limits = conformal.class_limits(truth, p, 0.1)
            new_truth, new_p = scores(rng, 300, shift=shift)
            told = conformal.coverage(conformal.covered(new_truth, new_p, limits)[new_truth == 0], limits.n0, 0.1)
            found.append(told.p_value)
    assert np.mean(np.array(chances[0.0]) < 0.025) < 0.1
    assert np.mean(np.array(chances[1.0]) < 0.025) > 0.99


def test_intervals_are_those_of_scipy_and_of_nobody_there_are_none() -> None:
    exact = stats.binomtest(17, 20).proportion_ci(method="exact")

    told = conformal.coverage([True] * 17 + [False] * 3, 99, 0.1)

    assert (told.low, told.high, told.share) == (exact.low, exact.high, 0.85)
    assert conformal.coverage([], 99, 0.1).share is None
    assert conformal.coverage([True], 99, 0.1, independent=False).p_value is None


def test_both_statements_of_triage_hold_with_their_confidence() -> None:
    """In 120 worlds the true rate below and the true PPV above break their bound in at most 5 of 100, but for chance."""
    rng, broken, told = np.random.default_rng(3), {"below": 0, "above": 0}, {"below": 0}
    large_truth, large_p = scores(rng, 40_000)
    for _ in range(120):
        truth, p = scores(rng, 800)
        found = conformal.triage(truth, p, largest_rate_below=0.06, smallest_ppv_above=0.8, confidence=0.95)
        thresholds = (found.low, found.high)
        assert None in thresholds or thresholds == tuple(sorted(thresholds))
        told["below"] += found.low is not None
        broken["below"] += found.low is not None and large_truth[large_p < found.low].mean() > 0.06
        broken["above"] += found.high is not None and large_truth[large_p >= found.high].mean() < 0.8
    assert max(broken.values()) <= stats.binom.ppf(0.999, 120, 0.05)
    assert told["below"] > 96  # it is of use: four in five sets of 800 patients suffice


def test_triage_that_cannot_be_shown_has_no_threshold() -> None:
    rng = np.random.default_rng(4)
    truth, p = (rng.random(60) < 0.3).astype(float), rng.random(60)

    found = conformal.triage(truth, p, largest_rate_below=0.01, smallest_ppv_above=0.95)

    assert (found.low, found.high) == (None, None)
    assert conformal.triaged(truth, p, found)["below"].n == 0


def test_a_model_that_tells_all_apart_leaves_nobody_between() -> None:
    truth = np.array([0.0] * 200 + [1.0] * 200)
    p = np.concatenate([np.linspace(0.01, 0.2, 200), np.linspace(0.8, 0.99, 200)])

    found = conformal.triage(truth, p, largest_rate_below=0.1, smallest_ppv_above=0.9)

    assert found.low == found.high
    counts = conformal.triaged(truth, p, found)
    assert counts["below"].n + counts["above"].n == 400


def test_alpha_must_be_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal.rank(10, 1.0)
