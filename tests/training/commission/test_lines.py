"""A line repairs what can be repaired, says so only where the interval shows it, and never saw the person it is measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.manifest import read_manifest
from models.statistics.binary import calibration_line, chance_of
from tests.training.commission.made import ICU, drawn, found_of
from training.commission import figures, gates, lines
from training.commission.cases import Outcome, part_of
from training.commission.requirements import read_requirements

RULE = read_requirements("risk").calibration


def outcome(n: int = 3000, **shape: float) -> Outcome:
    logit, truth, persons = drawn(n, **shape)  # type: ignore[arg-type]
    return Outcome(read_manifest(ICU).outputs[0], truth.astype(float), chance_of(logit), logit, persons, np.full(n, "scored"), {})


def test_a_level_that_is_off_is_mended_by_the_intercept_alone() -> None:
    fitted = lines.fit(outcome(mean=-2, spread=1.3, level=0.9), RULE, 100)
    assert (fitted.method, fitted.slope, fitted.repaired) == ("intercept", 1.0, True)
    assert fitted.intercept == pytest.approx(0.9, abs=0.2)


def test_a_slope_that_is_off_is_mended_too() -> None:
    fitted = lines.fit(outcome(mean=-1, spread=2.0, slope=0.5), RULE, 100)
    assert (fitted.method, fitted.repaired) == ("slope_and_intercept", True)
    assert fitted.slope == pytest.approx(0.5, abs=0.06)
    told = lines.told(fitted, RULE, "en")
    assert told is not None
    assert told.said.startswith("Repaired: ")


def test_what_is_right_gets_no_line() -> None:
    fitted = lines.fit(outcome(mean=-1, spread=2.0), RULE, 100)
    assert fitted.right_before
    assert lines.told(fitted, RULE, "en") is None


def test_with_few_events_it_says_that_it_cannot_and_how_many_it_takes() -> None:
    fitted = lines.fit(outcome(400, mean=-3, spread=1.0, level=0.8), RULE, 100)
    assert lines.FEWEST <= fitted.events < lines.ENOUGH
    assert (fitted.method, fitted.repaired) == ("intercept", False)
    told = lines.told(fitted, RULE, "en")
    assert told is not None
    assert "Cannot say that it is repaired" in told.said
    assert f"It takes about {fitted.needed} cases of the rarer kind to tell; there are {fitted.events}." in told.said
    assert fitted.needed > fitted.events
    assert lines.told(fitted, RULE, "fr").said.startswith("On ne peut pas dire")  # type: ignore[union-attr]


def test_a_handful_of_events_gets_no_line_at_all() -> None:
    fitted = lines.fit(outcome(60, mean=-3, spread=1.0), RULE, 50)
    assert fitted.events < lines.FEWEST
    assert (fitted.method, fitted.why) == ("", "few")


def test_ill_and_well_that_lie_apart_have_no_line() -> None:
    logit = np.r_[np.full(40, -2.0), np.full(40, -1.0)]
    apart = outcome(80)
    fitted = lines.fit(Outcome(apart.output, (logit > -1.5).astype(float), chance_of(logit), logit, apart.persons, apart.status, {}),
                       RULE.model_copy(update={"slope": (0.9, 1.1)}), 50)
    assert not fitted.repaired


def test_nobody_is_measured_by_a_line_that_saw_him() -> None:
    """Turn the truths of one part round: the logits of that part stay, those of the others move."""
    one = outcome(600)
    part = part_of(one.persons, "line", lines.PARTS)
    turned = Outcome(one.output, np.where(part == 2, 1 - one.y, one.y), one.p, one.logit, one.persons, one.status, {})
    before, after = (lines.crossed_figures(each, "slope_and_intercept", 10)[1] for each in (one, turned))
    assert (before[part == 2] == after[part == 2]).all()
    assert (before[part != 2] != after[part != 2]).all()


@pytest.mark.slow
def test_intervals_of_what_was_mended_hold_what_new_people_show() -> None:
    """150 worlds of 800 people: slope and level that the proposed line has in 40 000 new people lie in the intervals about as often
    as those say. Intervals that fit the line anew in each resample would hold the level almost never."""
    rng = np.random.default_rng(7)
    new = rng.normal(-1.5, 1.3, 40_000)
    truth = rng.random(40_000) < chance_of(0.5 + 0.7 * new)
    held_slope = held_level = 0
    for world in range(150):
        one = outcome(800, seed=world + 100, mean=-1.5, spread=1.3, slope=0.7, level=0.5)
        after, _ = lines.crossed_figures(one, "slope_and_intercept", 100)
        slope, intercept = lines.line_of(one.y, one.logit, "slope_and_intercept")
        moved = intercept + slope * new
        real = calibration_line(truth, moved).slope
        low, high = (figures.named(after, "calibration_slope").low, figures.named(after,
                                                                                  "calibration_slope").high)  # type: ignore[union-attr]
        held_slope += low <= real <= high  # type: ignore[operator]
        ratio = figures.named(after, "observed_over_expected")
        held_level += ratio.low <= truth.mean() / chance_of(moved).mean() <= ratio.high  # type: ignore[union-attr, operator]
    assert held_slope / 150 >= 0.85
    assert held_level / 150 >= 0.85


def test_the_gate_sends_to_the_line(tmp_path: Path) -> None:
    found = found_of(tmp_path, ICU, n=1800, mean=-2.0, spread=1.3, level=0.9, attributes={"age_years": 60.0})
    decision, reasons = gates.decide(gates.judge(found, "en"), "en")
    assert decision == "go_with_conditions"
    assert "the proposed line repairs them" in reasons[0]


def sought(whole: Outcome) -> tuple[Outcome, float]:
    """Return all the ill and as many of the well, as an archive is put together; and the prevalence of practice."""
    ill = whole.y > 0.5
    chosen = ill | (np.cumsum(~ill) <= ill.sum())
    return whole.only(chosen), float(ill.mean())


def test_an_archive_of_sought_out_cases_does_not_make_a_right_model_wrong_once_its_prevalence_is_stated() -> None:
    cases, practice = sought(outcome(12000, mean=-3.5, spread=1.5))
    assert practice < 0.12
    unsaid = lines.fit(cases, RULE, 100)
    assert unsaid.method
    assert unsaid.intercept > 1.5  # what a line of this archive would add to every risk in practice
    said = lines.fit(cases, RULE, 100, prevalence=practice)
    assert (said.right_before, said.method) == (True, "")


def test_the_line_of_sought_out_cases_is_that_of_practice() -> None:
    whole = outcome(20000, mean=-3.0, spread=2.0, slope=0.6, level=-1.0)
    cases, practice = sought(whole)
    fitted = lines.fit(cases, RULE, 100, prevalence=practice)
    assert fitted.repaired
    assert (fitted.slope, fitted.intercept) == pytest.approx((0.6, -1.0), abs=0.15)
    expected = calibration_line(whole.y, whole.logit)
    assert (fitted.slope, fitted.intercept) == pytest.approx((expected.slope, expected.intercept), abs=0.15)
    assert chance_of(fitted.crossed).mean() < cases.y.mean()
