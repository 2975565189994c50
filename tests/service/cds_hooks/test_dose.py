"""A draft of warfarin is found, its weekly dose read or not guessed, and the draft that comes back differs in its dose alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from fhir.resources.R4B.medicationrequest import MedicationRequest
from hypothesis import given
from hypothesis import strategies as st

from service.cds_hooks.dose import daily_doses_mg, drafts_of, rounded_daily_mg, weekly_mg, with_dose

ATC = {"coding": [{"system": "http://www.whocc.no/atc", "code": "B01AA03"}]}
DAILY = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}
Json = dict[str, Any]


def mg(value: float) -> list[Json]:
    return [{"doseQuantity": {"value": value, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}}]


def order(*dosages: Json, concept: Json = ATC, name: str = "m1") -> Json:
    told: Json = {"resourceType": "MedicationRequest", "id": name, "status": "draft", "intent": "order",
                  "medicationCodeableConcept": concept, "subject": {"reference": "Patient/p1"}}
    return told | ({"dosageInstruction": list(dosages)} if dosages else {})


def bundle(*orders: Json) -> Json:
    return {"resourceType": "Bundle", "entry": [{"resource": one} for one in orders]}


@pytest.mark.parametrize(("dosages", "weekly"), [
    ([{"timing": DAILY, "doseAndRate": mg(5)}], 35.0),
    ([{"timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}, "doseAndRate": mg(2.5)}], 35.0),
    ([{"timing": {"repeat": {"frequency": 1, "period": 2, "periodUnit": "d"}}, "doseAndRate": mg(5)}], 17.5),
    ([{"timing": {"repeat": {"frequency": 1, "period": 24, "periodUnit": "h"}}, "doseAndRate": mg(5)}], 35.0),
    ([{"timing": {"repeat": {"frequency": 3, "period": 1, "periodUnit": "wk"}}, "doseAndRate": mg(5)}], 15.0),
    ([{"timing": {"repeat": {"dayOfWeek": ["mon", "wed", "fri"]}}, "doseAndRate": mg(5)},
      {"timing": {"repeat": {"dayOfWeek": ["tue", "thu", "sat", "sun"]}}, "doseAndRate": mg(2.5)}], 25.0),
    ([{"timing": {"repeat": {"timeOfDay": ["08:00:00"]}}, "doseAndRate": mg(4)}], 28.0),
    ([{"timing": {"code": {"coding": [{"code": "QD"}]}}, "doseAndRate": mg(4)}], 28.0),
    ([{"timing": DAILY, "doseQuantity": {"value": 5, "unit": "mg"}}], 35.0),  # as examples of the specification have it
    ([{"timing": {"repeat": {"frequency": 3, "period": 1, "periodUnit": "wk", "dayOfWeek": ["mon", "wed", "fri"]}},
       "doseAndRate": mg(5)}], 15.0),
    ([{"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk", "dayOfWeek": ["mon", "wed", "fri"]}},
       "doseAndRate": mg(5)}], 15.0),
    ([{"timing": {"repeat": {"frequency": 1, "period": 2, "periodUnit": "wk", "dayOfWeek": ["mon"]}}, "doseAndRate": mg(5)}], None),
    ([{"timing": {"repeat": {"boundsDuration": {"value": 3, "code": "mo"}}, "code": {"coding": [{"code": "BID"}]}},
       "doseAndRate": mg(2.5)}], 35.0),
    ([{"timing": {"repeat": {"boundsDuration": {"value": 3, "code": "mo"}}}, "doseAndRate": mg(5)}], None),
    ([{"timing": {"repeat": {"frequency": 1, "period": 1}}, "doseAndRate": mg(5)}], None),
    ([{"timing": {"repeat": {"frequency": 2}}, "doseAndRate": mg(5)}], None),
    # 10 mg for two days, then 5 mg; and 5 mg, then 4 mg: one after the other
    ([{"timing": {"repeat": {**DAILY["repeat"], "boundsDuration": {"value": 2, "code": "d"}}}, "doseAndRate": mg(10)},
      {"timing": DAILY, "doseAndRate": mg(5)}], None),
    ([{"sequence": 1, "timing": DAILY, "doseAndRate": mg(5)}, {"sequence": 2, "timing": DAILY, "doseAndRate": mg(4)}], None),
    ([{"sequence": 1, "timing": {"repeat": {"dayOfWeek": ["mon", "wed", "fri"]}}, "doseAndRate": mg(5)},
      {"sequence": 2, "timing": {"repeat": {"dayOfWeek": ["tue", "thu", "sat", "sun"]}}, "doseAndRate": mg(2.5)}], 25.0),
    ([], None),
    ([{"timing": DAILY}], None),
    ([{"doseAndRate": mg(5)}], None),
    ([{"timing": DAILY, "doseAndRate": [*mg(5), *mg(6)]}], None),
    ([{"timing": DAILY, "doseAndRate": [{"doseRange": {"low": {"value": 2}, "high": {"value": 5}}}]}], None),
    ([{"timing": DAILY, "doseAndRate": mg(5), "asNeededBoolean": True}], None),
    ([{"timing": {"repeat": {"frequency": 1, "frequencyMax": 2, "period": 1, "periodUnit": "d"}}, "doseAndRate": mg(5)}], None),
    ([{"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "mo"}}, "doseAndRate": mg(5)}], None),
    ([{"timing": DAILY, "doseAndRate": [{"doseQuantity": {"value": 5, "unit": "g", "code": "g"}}]}], None),
    ([{"timing": DAILY, "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "{tbl}"}}]}], None),
    ([{"timing": DAILY, "doseAndRate": mg(-5)}], None),
    ([{"timing": DAILY, "doseAndRate": mg(5)}, {"text": "and as the INR asks"}], None),
])
def test_a_weekly_dose_is_read_or_not_guessed(dosages: list[Json], weekly: float | None) -> None:
    assert weekly_mg(order(*dosages)) == weekly


def test_tablets_count_when_the_code_says_their_strength() -> None:
    five_mg = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "855332"}]}
    one_and_a_half = {"timing": DAILY, "doseAndRate": [{"doseQuantity": {"value": 1.5, "unit": "{tbl}"}}]}
    of_the_sandbox = {"timing": DAILY, "doseQuantity": {"value": 1.5, "system": "http://unitsofmeasure.org", "code": "{pill}"}}
    for dosage in (one_and_a_half, of_the_sandbox):
        [draft] = drafts_of(bundle(order(dosage, concept=five_mg)), None)
        assert draft.weekly_mg == 52.5


@pytest.mark.parametrize("concept", [
    ATC, {"text": "Warfarine 5 mg"}, {"text": "COUMADINE 2 mg, comprimé"},
    {"coding": [{"display": "Warfarin Sodium 5 MG Oral Tablet"}]},
    {"coding": [{"system": "http://snomed.info/sct", "code": "372756006"}]},
    {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "855288"}]},
])
def test_warfarin_is_known_by_code_or_name(concept: Json) -> None:
    assert len(drafts_of(bundle(order(concept=concept)), None)) == 1


@pytest.mark.parametrize("concept", [{"text": "Apixaban"}, {}, {"coding": [{"system": "http://www.whocc.no/atc", "code": "B01AA02"}]},
                                     {"coding": [{"system": "http://example.org", "code": "B01AA03"}]}, {"text": "warfarinised"}])
def test_other_drugs_are_left_alone(concept: Json) -> None:
    assert drafts_of(bundle(order(concept=concept)), None) == []


@pytest.mark.parametrize(("concept", "strengths"), [
    (ATC, (2.0, 5.0)), ({"text": "COUMADINE 5 mg, comprimé sécable"}, (5.0,)), ({"text": "Warfarine 2,5 mg"}, (2.5,)),
    ({"text": "Warfarine 2 mg ou 5 mg"}, (2.0, 5.0)), ({"text": "Warfarine 1/2 mg"}, (2.0, 5.0)),
    ({"text": "Warfarine 35 mg/semaine"}, (2.0, 5.0)),
    ({"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "855318"}]}, (3.0,)),
])
def test_a_dose_is_made_of_the_tablets_that_are_ordered(concept: Json, strengths: tuple[float, ...]) -> None:
    [draft] = drafts_of(bundle(order(concept={"coding": [], **concept, **({} if concept.get("coding") else ATC)})), None)
    assert draft.strengths_mg == strengths
    assert rounded_daily_mg(28.0, (5.0,)) == 5.0
    assert rounded_daily_mg(28.0, (2.0,)) == 4.0


def test_an_order_not_to_give_warfarin_is_no_draft_of_it() -> None:
    assert drafts_of(bundle(order() | {"doNotPerform": True}), None) == []


def test_a_medication_that_is_pointed_at_is_looked_up() -> None:
    pointing = order()
    del pointing["medicationCodeableConcept"]
    contained = [{"resourceType": "Medication", "id": "w", "code": ATC}]
    inside = {**pointing, "medicationReference": {"reference": "#w"}, "contained": contained}
    beside = {**pointing, "medicationReference": {"reference": "Medication/w2"}}
    assert len(drafts_of(bundle(inside), None)) == 1
    assert len(drafts_of(bundle(beside, {"resourceType": "Medication", "id": "w2", "code": ATC}), None)) == 1
    assert drafts_of(bundle(beside), None) == []


def test_only_what_was_selected_is_looked_at() -> None:
    both = bundle(order(name="m1"), order(name="m2"))
    assert [one.id for one in drafts_of(both, ["MedicationRequest/m2"])] == ["m2"]
    assert [one.id for one in drafts_of(both, ["m1", "ServiceRequest/9"])] == ["m1"]
    assert drafts_of(both, []) == []
    assert len(drafts_of(both, None)) == 2


@pytest.mark.parametrize("orders", [{}, {"entry": None}, {"entry": [None, 1, {"resource": []}]}, {"entry": "x"}])
def test_odd_orders_are_none(orders: Json) -> None:
    assert drafts_of(orders, None) == []


@given(st.floats(1, 150, allow_nan=False))
def test_a_rounded_dose_is_one_that_tablets_give_and_none_is_nearer(weekly: float) -> None:
    daily = rounded_daily_mg(weekly)
    assert daily in daily_doses_mg()
    assert all(abs(daily - weekly / 7) <= abs(other - weekly / 7) for other in daily_doses_mg())
    halves = [one / 2 for one in range(7)]
    assert any(two * 2 + five * 5 == daily for two in halves for five in halves)


def test_usual_doses_round_to_half_a_milligram() -> None:
    assert [rounded_daily_mg(7 * one) for one in (1.0, 2.1, 2.4, 3.3, 4.8, 5.2, 6.4)] == [1.0, 2.0, 2.5, 3.5, 5.0, 5.0, 6.5]


def test_the_draft_comes_back_whole_with_another_dose() -> None:
    old = {
        "sequence": 1, "text": "10 mg/j", "patientInstruction": "10 mg", "timing": {"repeat": {
            "boundsPeriod": {"start": "2026-01-15"}, "frequency": 2, "period": 1, "periodUnit": "d"}},
        "route": {"coding": [{"system": "http://snomed.info/sct", "code": "26643006"}]}, "asNeededBoolean": False,
        "doseAndRate": mg(5),
    }
    draft = order(old, {"text": "second"}) | {"note": [{"text": "kept"}], "encounter": {"reference": "Encounter/e1"},
                                              "text": {"status": "generated", "div": "<div>10 mg</div>"}}
    before = copy.deepcopy(draft)

    changed = with_dose(draft, 4.5, "Warfarin 4.5 mg")

    assert draft == before
    MedicationRequest.model_validate(changed)
    assert weekly_mg(changed) == 31.5
    assert changed["dosageInstruction"] == [{
        "sequence": 1, "text": "Warfarin 4.5 mg", "route": old["route"],
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d", "boundsPeriod": {"start": "2026-01-15"}}},
        "doseAndRate": [{"doseQuantity": {"value": 4.5, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}}],
    }]
    rest = {"dosageInstruction", "text"}
    assert {k: v for k, v in changed.items() if k not in rest} == {k: v for k, v in before.items() if k not in rest}
