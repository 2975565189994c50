"""Subgroup gaps: a planted gap stops, chance does not, few people are said to be few, and somebody can answer for a gap."""

from __future__ import annotations

import numpy as np
import pytest

from training import bootstrap, fairness, measures
from training.fairness import Gap, Tolerance, gaps


def people(n: int = 1500, *, worse_by: float = 0.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Made-up truths, probabilities and sexes; of the women who have the outcome the logit is ``worse_by`` lower."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["female", "male"], n)
    truth = (rng.random(n) < 0.3).astype(float)
    logit = rng.normal(2.5 * truth - 1.8, 1.0) - worse_by * truth * (sex == "female")
    return truth, 1 / (1 + np.exp(-logit)), sex


def judged(truth: np.ndarray, p: np.ndarray, sex: np.ndarray, **more: object) -> dict[tuple[str, str], Gap]:
    patients = [f"p{i}" for i in range(len(truth))]
    found = gaps(truth, p, patients, {"sex": sex.tolist()}, output="o", threshold=0.3, resamples=200, **more)  # type: ignore[arg-type]
    return {(one.group, one.figure): one for one in found}


def test_a_planted_gap_is_found_on_the_side_of_who_is_worse_off() -> None:
    truth, p, sex = people(worse_by=1.5)

    found = judged(truth, p, sex)

    assert found["female", "sensitivity"].verdict == "gap"
    assert found["male", "sensitivity"].verdict == "within"  # better off: nothing to stop for
    assert "sex female" in found["female", "sensitivity"].said


def test_the_figures_are_those_of_the_group_and_of_the_rest() -> None:
    truth, p, sex = people(400)
    woman = sex == "female"

    one = judged(truth, p, sex)["female", "auroc"]

    assert one.value == pytest.approx(measures.auroc(truth[woman], p[woman]))
    assert one.rest == pytest.approx(measures.auroc(truth[~woman], p[~woman]))
    assert one.gap == pytest.approx(one.value - one.rest)
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.gap < one.high


def test_without_a_difference_a_release_is_seldom_stopped() -> None:
    stopped = 0
    for seed in range(40):
        truth, p, sex = people(600, seed=seed)
        found = gaps(truth, p, np.arange(600).astype(str), {"sex": sex.tolist()}, output="o", threshold=0.3, resamples=60,
                     tolerance=Tolerance.of({"auroc": 0.0, "sensitivity": 0.0, "specificity": 0.0, "calibration_in_the_large": 0.0}))
        stopped += any(one.verdict == "gap" and one.figure == "auroc" for one in found)
    assert stopped <= 7  # at a tolerance of nothing 5 of 100, two groups that mirror each other; with one of 0.1 none


def test_few_cases_or_few_patients_are_too_few_to_say() -> None:
    truth, p, sex = people(300)
    sex[:] = "male"
    sex[:25] = "female"
    assert {one.verdict for key, one in judged(truth, p, sex).items() if key[1] != "specificity"} == {"too_few"}

    truth, p, sex = people(600)
    of_few = gaps(truth, p, [f"p{i % 15}" for i in range(600)], {"sex": sex.tolist()}, output="o", threshold=0.3, resamples=20)
    assert {one.verdict for one in of_few} == {"too_few"}
    assert all(one.low is None for one in of_few)


def test_images_of_one_patient_do_not_narrow_the_interval() -> None:
    truth, p, sex = people(400)
    once = judged(truth, p, sex)["female", "auroc"]
    three = [np.repeat(one, 3) for one in (truth, p, sex)]
    patients = [f"p{i // 3}" for i in range(1200)]

    again = gaps(*three[:2], patients, {"sex": three[2].tolist()}, output="o", threshold=0.3, resamples=200)
    widths = next(one for one in again if (one.group, one.figure) == ("female", "auroc"))

    assert once.low is not None
    assert once.high is not None
    assert widths.low is not None
    assert widths.high is not None
    assert widths.high - widths.low == pytest.approx(once.high - once.low, rel=0.25)


def test_an_interval_has_a_width_where_everybody_was_found() -> None:
    truth, p, sex = people(400)
    p[truth == 1] = 0.9

    one = judged(truth, p, sex)["female", "sensitivity"]

    assert (one.gap, one.interval) == (0.0, "Newcombe over patients")
    assert one.low is not None
    assert one.high is not None
    assert one.low < 0 < one.high


def test_newcombe_gives_the_published_interval() -> None:
    """Newcombe 1998, table II, method 10: 56 of 70 against 48 of 80."""
    assert [round(end, 4) for end in fairness.newcombe(56, 70, 48, 80)] == [0.0524, 0.3339]


@pytest.mark.parametrize(("low", "high", "verdict"), [
    (-0.30, -0.15, "gap"), (-0.30, -0.05, "undecided"), (-0.09, 0.30, "within"), (0.15, 0.30, "within"),
])
def test_only_a_whole_interval_beyond_the_tolerance_is_a_gap(low: float, high: float, verdict: str) -> None:
    assert fairness.judged("sensitivity", (low + high) / 2, low, high, 0.10) == verdict


def test_calibration_errs_on_both_sides() -> None:
    assert fairness.judged("calibration_in_the_large", 0.8, 0.6, 1.0, 0.5) == "gap"
    assert fairness.judged("calibration_in_the_large", -0.8, -1.0, -0.6, 0.5) == "gap"


def test_who_answers_for_a_gap_lets_it_pass_and_must_say_why() -> None:
    truth, p, sex = people(worse_by=1.5)
    found = list(judged(truth, p, sex).values())
    stopping = fairness.beyond(found, Tolerance.of())
    assert stopping
    accepted = [{"output": one.output, "by": one.by, "group": one.group, "figure": one.figure, "who": "The board", "why": "Known."}
                for one in stopping]

    assert fairness.beyond(found, Tolerance.of({"accepted_gaps": accepted})) == []
    with pytest.raises(ValueError, match="must say its why"):
        Tolerance.of({"accepted_gaps": [{**accepted[0], "why": " "}]})


def test_an_attribute_that_is_left_out_or_only_shown_stops_nothing() -> None:
    truth, p, sex = people(worse_by=1.5)
    patients = np.arange(len(truth)).astype(str)

    left_out = gaps(truth, p, patients, {"dose": sex.tolist()}, output="o", threshold=0.3, resamples=50)
    shown = gaps(truth, p, patients, {"nurse": sex.tolist()}, output="o", threshold=0.3, resamples=50)

    assert left_out == []
    assert any(one.verdict == "gap" for one in shown)
    assert fairness.beyond(shown, Tolerance.of()) == []


def test_means_of_cases_have_gaps_too() -> None:
    near = np.array([1.0] * 90 + [0.0] * 10 + [1.0] * 40 + [0.0] * 60)
    groups = {"age": ["old"] * 100 + ["young"] * 100}

    found = fairness.gaps_of_means({"coverage": near}, np.arange(200).astype(str), groups, output="dose", resamples=200)

    assert {one.group: one.verdict for one in found} == {"old": "within", "young": "gap"}


def test_the_same_seed_gives_the_same_gaps() -> None:
    truth, p, sex = people(300)
    assert judged(truth, p, sex) == judged(truth, p, sex)
    assert bootstrap.SEED
