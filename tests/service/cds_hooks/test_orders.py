"""The warfarin card: the expected dose beside the draft, a suggestion that is never recommended, and silence where all is well."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources.R4B.medicationrequest import MedicationRequest

from models.manifest import Code, Manifest, Output, read_manifest
from models.prediction import Contribution, Explanation, Finding, Identity, Prediction
from models.read_fhir import Reading
from models.record import Record
from service.cds_hooks.dose import Draft, drafts_of, weekly_mg
from service.cds_hooks.orders import dose_card
from service.cds_hooks.write_card import Made, Occasion
from service.fhir.assessed import Assessed
from service.site import Device
from tests.make import ROOT
from tests.service.cds_hooks.spec import check_card
from tests.service.cds_hooks.test_dose import ATC, DAILY, bundle, mg, order

DOSE = Code(system="urn:diaphane:codes", code="warfarin-weekly-dose", display="Weekly dose")
Json = dict[str, Any]


def result(value: float = 33.0, low: float = 22.0, high: float = 49.0) -> Prediction:
    dose = Finding("dose", "Weekly dose", "Dose hebdomadaire", DOSE, "quantity", value, "mg/wk", logit=3.5, low=low, high=high,
                   interval_level=0.9)
    reference = Finding("iwpc", "IWPC equation", "Équation IWPC", DOSE, "quantity", 31.0, "mg/wk")
    reasons = (Contribution("age", "Age", "Âge", 70.0, "a", -0.2, 0.82, missing=False, finding="dose"),)
    identity = Identity("warfarin_dose", "1.0.0", "0" * 64, "0" * 64, "1" * 64, "", "fp32", "diaphane")
    return Prediction(identity, (dose, reference), Explanation("additive_contributions", "", contributions=reasons))


def manifest() -> Manifest:
    """The words of a release that exists, with the outputs of a dose."""
    told = read_manifest(ROOT / "models/released/icu_mortality-1.0.0")
    outputs = [Output(name=name, label="Weekly dose", label_fr="", code=DOSE, kind="quantity", unit="mg/wk", index=0)
               for name in ("dose", "iwpc")]
    return told.model_copy(update={"name": "warfarin_dose", "outputs": outputs, "moment": "while ordering", "moment_h": None})


def shown(
    draft: Json, hook: str = "order-select", predicted: Prediction | None = None, language: Any = "en",
    strengths: tuple[float, ...] = Draft.strengths_mg,
) -> Made | None:
    predicted = predicted or result()
    reading = Reading(Record({}, {}))
    assessed = Assessed(manifest(), predicted, reading, datetime.now(UTC), language, Device())
    occasion = Occasion(hook, "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea", "warfarin-dose", language, "https://ai.example.org")
    return dose_card(occasion, assessed, predicted, Draft(draft, weekly_mg(draft), strengths))


def daily(value: float) -> Json:
    return order({"timing": DAILY, "doseAndRate": mg(value)})


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_card_says_the_dose_its_interval_the_equation_and_the_draft(language: str) -> None:
    made = shown(daily(10), language=language)
    assert made is not None
    check_card(made.card)
    for part in ("33", "22", "49", "31", "70", "IWPC"):
        assert part in made.card["detail"]
    assert made.card["indicator"] == "warning"


def test_the_suggestion_edits_the_draft_and_recommends_nothing() -> None:
    made = shown(daily(10))
    assert made is not None
    [suggestion] = made.card["suggestions"]
    [action] = suggestion["actions"]
    assert suggestion["isRecommended"] is False
    assert made.card["selectionBehavior"] == "at-most-one"
    assert (action["type"], action["resource"]["id"], action["resource"]["status"]) == ("update", "m1", "draft")
    MedicationRequest.model_validate(action["resource"])
    assert weekly_mg(action["resource"]) == 31.5
    assert made.shown.suggestions == (suggestion["uuid"],)
    assert "systemActions" not in made.card


def test_a_draft_without_dose_gets_one_suggested() -> None:
    made = shown(order())
    assert made is not None
    check_card(made.card)
    assert made.card["indicator"] == "info"
    assert len(made.card["suggestions"]) == 1


def test_signing_a_dose_within_the_interval_brings_no_card() -> None:
    assert shown(daily(5), "order-sign") is None


@pytest.mark.parametrize("dose", [1, 10])
def test_signing_a_dose_outside_the_interval_is_warned_of(dose: float) -> None:
    made = shown(daily(dose), "order-sign")
    assert made is not None
    check_card(made.card)
    assert made.card["indicator"] == "warning"
    assert "lies outside" in made.card["summary"]


def test_the_dose_that_is_drafted_already_is_not_suggested_again() -> None:
    made = shown(daily(4.5))
    assert made is not None
    assert "suggestions" not in made.card
    check_card(made.card)


def test_no_dose_outside_the_interval_is_suggested() -> None:
    made = shown(order(), predicted=result(value=9.0, low=8.0, high=10.0))
    assert made is not None
    assert "suggestions" not in made.card


def test_no_dose_well_above_the_computed_one_is_suggested() -> None:
    five_mg = {"text": "Coumadine 5 mg", **ATC}
    for value, doses in ((28.0, []), (33.0, [35.0]), (21.0, [17.5])):
        [draft] = drafts_of(bundle(order(concept=five_mg)), None)
        made = shown(draft.resource, predicted=result(value=value, low=12.0, high=60.0), strengths=draft.strengths_mg)
        assert made is not None
        assert [weekly_mg(one["actions"][0]["resource"]) for one in made.card.get("suggestions", [])] == doses
        assert "2 or 5 mg" not in made.card["detail"]


def test_instructions_that_cannot_be_read_are_not_struck_out() -> None:
    taper = order({**daily(10)["dosageInstruction"][0], "sequence": 1}, {**daily(5)["dosageInstruction"][0], "sequence": 2})
    for draft in (taper, order({"text": "as the INR asks"})):
        made = shown(draft)
        assert made is not None
        assert "suggestions" not in made.card
        assert "could not be read" in made.card["summary"]


def test_a_draft_without_id_cannot_be_edited() -> None:
    draft = daily(10)
    del draft["id"]
    made = shown(draft)
    assert made is not None
    assert "suggestions" not in made.card
