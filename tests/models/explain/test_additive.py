"""Contributions keep their names, their numbers and their sum."""

from __future__ import annotations

from math import exp

import pytest

from models.explain.additive import strongest
from models.model import Model
from models.prediction import Contribution
from tests.make import icu_record, tiny_release


@pytest.fixture(scope="module")
def risk(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("risk"), "risk"))


def test_every_term_is_named_in_the_order_of_the_graph(risk: Model) -> None:
    parts = risk.predict(icu_record()).explanation.contributions
    assert [part.term for part in parts] == [term.name for term in risk.manifest.terms]
    assert parts[4].label_fr == "Âge avec Glasgow, minimum"
    assert parts[4].value is None


def test_measurements_gather_the_terms_of_one_code_and_keep_the_sum(risk: Model) -> None:
    explanation = risk.predict(icu_record(gcs=6)).explanation
    codes = {f.params.get("code", f.name) for f in risk.manifest.features}
    assert {part.term for part in explanation.measurements} <= codes
    assert sum(part.logit for part in explanation.measurements) == pytest.approx(
        sum(part.logit for part in explanation.contributions)
    )


def test_a_pair_is_shared_half_and_half(risk: Model) -> None:
    explanation = risk.predict(icu_record(gcs=3)).explanation
    by_term = {part.term: part.logit for part in explanation.contributions}
    pairs = [t for t in risk.manifest.terms if len(t.features) == 2]
    age = next(f.name for f in risk.manifest.features if f.params.get("code") == "age_years" or f.name == "age")
    halves = sum(by_term[t.name] / 2 for t in pairs if age in t.features)
    gathered = next(p for p in explanation.measurements if p.label.startswith("Age"))
    single = sum(by_term[t.name] for t in risk.manifest.terms if t.features == [age])
    assert gathered.logit == pytest.approx(single + halves)


def test_a_value_is_told_low_usual_or_high_by_its_reference_range(risk: Model) -> None:
    parts = {
        part.term: part for part in risk.predict(icu_record(gcs=8, creatinine_mg_dl=4.0)).explanation.contributions
    }
    assert [parts[name].flag for name in ("age", "heart_rate_last", "gcs_lowest", "creatinine_last")] == [
        "",
        "normal",
        "low",
        "high",
    ]
    assert (parts["creatinine_last"].value, parts["creatinine_last"].reference_high) == (4.0, 1.2)


def test_odds_multiplier_is_the_exponential_and_never_overflows(risk: Model) -> None:
    parts = risk.predict(icu_record(gcs=3)).explanation.contributions
    assert [part.odds_multiplier for part in parts] == pytest.approx([exp(part.logit) for part in parts])


def parts_of(*logits: float) -> tuple[Contribution, ...]:
    return tuple(Contribution(f"t{v}", "", "", None, "", v, 1.0, False) for v in logits)


def test_the_eight_largest_are_shown_whichever_way_they_point() -> None:
    shown, rest = strongest(parts_of(0.01, 0.02, 0.03, 0.04, 0.05, -0.9, -0.8, -0.7, -0.6, -0.5))
    assert [part.logit for part in shown] == [0.05, 0.04, 0.03, -0.9, -0.8, -0.7, -0.6, -0.5]
    assert max(abs(part.logit) for part in rest) < min(abs(part.logit) for part in shown)


def test_what_speaks_against_is_shown_even_when_it_is_small() -> None:
    shown, rest = strongest(parts_of(*[v / 10 for v in range(1, 11)], -0.01))
    assert [part.logit for part in shown] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, -0.01]
    assert [part.logit for part in rest] == [0.3, 0.2, 0.1]


def test_nothing_is_lost_between_what_is_shown_and_the_rest() -> None:
    parts = parts_of(*[v / 10 for v in range(-6, 9)])
    shown, rest = strongest(parts)
    assert len(shown) == 8
    assert sum(part.logit for part in [*shown, *rest]) == pytest.approx(sum(part.logit for part in parts))
    assert strongest(()) == ([], [])
