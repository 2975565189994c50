"""A threshold keeps what it promises: on its own half, on the other, and in the next people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.manifest import read_manifest
from models.statistics.binary import chance_of
from tests.training.commission.made import CHEST, CHILDREN, drawn, find_in, found_of, rows_of, truth_of
from training.archive.scored import Names, Row
from training.commission import figures, thresholds
from training.commission.cases import Outcome
from training.commission.requirements import read_requirements
from training.commission.thresholds import Tuned
from training.commission.told import commissioning_of

RULE = read_requirements("image_classification").threshold


def test_the_rule_holds_on_the_tuning_half_and_the_proposal_is_the_lower_of_the_two(tmp_path: Path) -> None:
    found = found_of(tmp_path, n=1500)
    tuned = found.tuned["pneumonia"]
    assert tuned.first is not None
    assert tuned.other is not None
    assert tuned.value == min(tuned.first, tuned.other)
    sensitivity = figures.named(tuned.tuned, "sensitivity")
    assert sensitivity is not None
    assert sensitivity.low is not None
    assert sensitivity.low >= 0.95
    told = thresholds.told(tuned, "en")
    assert told is not None
    assert told.proposed == tuned.value
    assert f"{tuned.positives} such cases tuned it" in told.reason


def test_the_check_half_has_no_part_in_the_first_threshold(tmp_path: Path) -> None:
    """Turn every truth of the check half round: the threshold of the tuning half stays."""
    logit, truth, persons = drawn(800)
    rows, names = rows_of(tmp_path, "pneumonia", logit.tolist(), persons.tolist())
    checked = thresholds.check_part(np.array([names.hash("patient", f"TEST^PATIENT{one}") for one in persons]))
    assert 0.4 < checked.mean() < 0.6
    turned = np.where(checked, 1 - truth, truth)
    one, other = (_tuned(rows, names, labels) for labels in (truth, turned))
    assert one.first == other.first
    assert one.other != other.other


def test_in_nineteen_of_twenty_worlds_the_next_people_keep_the_target() -> None:
    """Tune on 300 positives, see the next 200: sensitivity at least 0.95 in at least nine of ten draws; by the point estimate alone
    it would be every second."""
    rng = np.random.default_rng(5)
    kept = naive = 0
    for _ in range(120):
        p = chance_of(rng.normal(2, 1.5, 500))
        tuning = _outcome(p[:300])
        value = thresholds.highest(tuning, RULE)
        assert value is not None
        kept += (p[300:] >= value).mean() >= 0.95
        naive += (p[300:] >= np.quantile(p[:300], 0.05)).mean() >= 0.95
    assert kept / 120 >= 0.9
    assert naive / 120 < 0.7


def test_too_few_positives_give_no_threshold_and_the_advice_says_how_many() -> None:
    assert thresholds.highest(_outcome(np.full(40, 0.9)), RULE) is None  # 40 of 40: the lower end is 0.91
    assert thresholds.highest(_outcome(np.full(200, 0.9)), RULE) == 0.9


def test_images_of_one_person_count_as_one() -> None:
    assert thresholds.highest(_outcome(np.full(200, 0.9), persons=20), RULE) is None


def test_the_chance_of_the_next_people_is_the_beta_binomial() -> None:
    """Simulated: draw a sensitivity from its posterior, then the next 200."""
    rng = np.random.default_rng(6)
    sensitivity = rng.beta(292.5, 8.5, 200_000)
    simulated = (rng.binomial(200, sensitivity) >= 190).mean()
    assert thresholds.next_keep(292 / 300, 300, RULE) == pytest.approx(simulated, abs=0.005)


def test_the_trade_off_runs_from_all_to_none(tmp_path: Path) -> None:
    curve = thresholds.trade_off(found_of(tmp_path, n=300).outcomes["pneumonia"])
    assert (curve["sensitivity"][0], curve["specificity"][0], curve["called"][0]) == (1.0, 0.0, 1.0)
    assert (np.diff(curve["sensitivity"]) <= 0).all()
    assert (np.diff(curve["specificity"]) >= 0).all()


def test_a_risk_keeps_its_threshold() -> None:
    assert read_requirements("risk").threshold.target == 0.0


def _outcome(p: np.ndarray, persons: int = 0) -> Outcome:
    n = len(p)
    names = np.array([str(i % (persons or n)) for i in range(n)])
    return Outcome(read_manifest(CHEST).outputs[0], np.ones(n), p, np.zeros(n), names, np.full(n, "scored"), {})


def _tuned(rows: list[Row], names: Names, labels: np.ndarray) -> Tuned:
    return find_in(read_manifest(CHEST), CHEST, rows, truth_of(rows, names, "pneumonia", labels.tolist())).tuned["pneumonia"]


def test_the_proposal_says_what_it_costs_in_specificity(tmp_path: Path) -> None:
    proposal = commissioning_of(found_of(tmp_path, n=1600, spread=3.0, attributes=CHILDREN)).thresholds[0]
    cost = next(one for one in proposal.figures if one.name == "specificity")
    assert cost.value is not None
    assert f"has a specificity of {cost.value:.3f}" in proposal.reason
