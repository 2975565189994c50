"""A card says a risk in words and numbers that agree, and what was not used in words that help."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.manifest import Code, Output, read_manifest
from models.prediction import Finding
from models.read_fhir import Ignored
from service.cds_hooks.ignored import ignored_lines
from service.cds_hooks.write_card import RISKS, about, amount, card, headline, indicator, limits, summary_of
from service.words import LANGUAGES, Language, say
from tests.make import ROOT
from tests.service.cds_hooks.test_orders import Occasion

CODE = Code(system="s", code="c", display="d")
MANIFEST = read_manifest(ROOT / "models/released/icu_mortality-1.0.0")


def output(**more: object) -> Output:
    told = {"name": "o", "label": "Outcome", "label_fr": "Événement", "code": CODE, "kind": "probability", "unit": "1", "index": 0}
    return Output.model_validate(told | more)


def finding(value: float, **more: object) -> Finding:
    return Finding("o", "Outcome", "Événement", CODE, "probability", value, "1", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "words"), [
    (0.004, "fewer than 1 in 100"), (0.03, "about 3 in 100"), (0.1, "about 1 in 10"), (0.25, "about 25 in 100"),
    (0.31, "about 3 in 10"), (0.5, "about 5 in 10"), (0.888, "about 9 in 10"), (0.97, "about 97 in 100"),
    (0.999, "more than 99 in 100"),
])
def test_a_probability_is_said_as_people(share: float, words: str) -> None:
    assert about(share, "en") == words


@given(st.floats(0, 1))
def test_the_people_said_are_as_many_as_the_probability(share: float) -> None:
    found = re.fullmatch(r"about (\d+) in (\d+)", about(share, "en"))
    if found:
        assert abs(int(found[1]) / int(found[2]) - share) <= 0.021
    else:
        assert share < 0.01 or share > 0.99


@pytest.mark.parametrize(("risk", "horizon_h", "expected"), [
    ("negligible", 1.0, "info"), ("low", 1.0, "info"), ("moderate", 1.0, "warning"), ("high", 1.0, "critical"),
    ("high", 720.0, "warning"), ("high", None, "warning"),
])
def test_urgency_follows_the_word_and_how_soon_it_comes(risk: str, horizon_h: float | None, expected: str) -> None:
    bands = {"low": 0.1, "moderate": 0.2, "high": 0.3}
    manifest = MANIFEST.model_copy(update={"outputs": [output(bands=bands, horizon_h=horizon_h)]})
    assert indicator(manifest, [finding(0.5, risk=risk)]) == expected


def test_without_words_the_threshold_of_the_release_decides() -> None:
    manifest = MANIFEST.model_copy(update={"outputs": [output(threshold=0.3)]})
    assert indicator(manifest, [finding(0.5, threshold=0.3, above_threshold=True)]) == "warning"
    assert indicator(manifest, [finding(0.1, threshold=0.3, above_threshold=False)]) == "info"


def test_a_headline_says_figure_people_and_word() -> None:
    manifest = MANIFEST.model_copy(update={"outputs": [output(bands={"low": 0.1, "moderate": 0.2, "high": 0.3})]})
    assert headline(manifest, finding(0.31, risk="high"), "en") == "Outcome: 31% (about 3 in 10), high risk"
    assert "31\u00a0% (environ 3 sur 10), risque élevé" in headline(manifest, finding(0.31, risk="high"), "fr")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_summary_of_two_findings_names_the_risk_of_both(language: Language) -> None:
    triage = read_manifest(ROOT / "models/released/ed_triage-1.0.0")
    for risk in ("negligible", "low", "moderate", "high"):
        found = [Finding(one.name, one.label, one.label_fr, one.code, "probability", 0.014, "1", risk=risk) for one in triage.outputs]
        told = summary_of(triage, found, language)
        assert len(told) <= 140
        assert told.count(say(language, RISKS[risk])) == 2


def test_a_quantity_is_said_with_its_interval() -> None:
    dose = Finding("o", "Dose", "Dose", CODE, "quantity", 33.4, "mg/wk", low=22.2, high=49.9, interval_level=0.9)
    assert amount(dose, "en").endswith("(90% interval 22 to 50)")
    assert amount(dose, "en").startswith("33 mg")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_for_a_risk_has_its_words(language: str) -> None:
    assert set(RISKS) == {"negligible", "low", "moderate", "high"}


@given(st.text(min_size=1, max_size=500))
def test_a_summary_is_always_short_enough(text: str) -> None:
    occasion = Occasion("patient-view", "i", "s", "en")
    made = card(occasion, summary=text, indicator="info", detail="d", status="scored", label="x")
    assert len(made.card["summary"]) < 140


def test_what_a_sender_can_mend_is_named_and_the_usual_only_counted() -> None:
    ignored = [Ignored("Creatinine", "unknown_unit", 2), Ignored("HR", "before_start", 40),
               Ignored("Encounter", "other_encounter", 3)]
    lines = ignored_lines(ignored, "en")
    assert lines[0] == "Not used: 2 × Creatinine, a unit that cannot be converted."
    assert len(lines) == 2
    assert "43" in lines[1]
    assert ignored_lines([], "en") == []


def test_what_a_sender_made_up_is_not_repeated() -> None:
    [line] = ignored_lines([Ignored("MaDurand", "camille", 1)], "en")
    assert line == "Not used: 1 × entry, another reason."


def test_where_a_release_learnt_is_said_in_the_language_of_the_card() -> None:
    manifest = read_manifest(ROOT / "models/released/icu_mortality-1.0.0")
    assert ", 2001 à 2008. À recalibrer" in limits(manifest, "fr")
    assert ", 2001 to 2008. Recalibrate" in limits(manifest, "en")
