"""What $predict is asked: Parameters and Bundles are read exactly, and what is wrong is named without its value."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnusableInput
from models.shelf import Shelf
from service.fhir.exchange import Refused, parse
from service.fhir.predict import KNOWN, Predictor, read_wish
from service.metrics import Metrics
from service.problem import ProblemError
from service.site import Site
from tests.make import icu_bundle, tiny_release


def parameters(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(rows)}


SUBJECT = {"name": "subject", "resource": {"resourceType": "Bundle", "type": "collection"}}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("released")
    tiny_release(folder, "risk")
    tiny_release(folder, "image_classification")
    return Shelf(folder)


@pytest.fixture(scope="module")
def predictor(shelf: Shelf) -> Predictor:
    return Predictor(shelf, Site(), Metrics())


def faults(body: dict[str, Any], query: dict[str, str] | None = None) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        read_wish(body, query)
    return [(fault.expression, fault.message) for fault in refused.value.faults]


def test_every_parameter_of_the_definition_is_read() -> None:
    wish = read_wish(parameters(
        {"name": "model", "valueString": "tiny_risk"}, {"name": "model", "valueCode": "other-1.0.0"}, SUBJECT,
        {"name": "encounter", "valueReference": {"reference": "Encounter/1"}},
        {"name": "moment", "valueDateTime": "2026-03-02T08:00:00+01:00"}, {"name": "language", "valueCode": "fr-FR"},
    ))
    assert ("tiny_risk", "other-1.0.0") == wish.models
    assert ("Encounter/1", "fr") == (wish.encounter, wish.language)
    assert datetime.fromisoformat("2026-03-02T08:00:00+01:00") == wish.moment
    assert SUBJECT["resource"] == wish.record


def test_a_bundle_is_the_record_and_the_query_says_the_rest() -> None:
    wish = read_wish(icu_bundle(hours=1), {"model": "tiny_risk", "language": "fr", "_format": "json"})
    assert (("tiny_risk",), "fr") == (wish.models, wish.language)


@pytest.mark.parametrize(("body", "place"), [
    (parameters({"name": "model", "valueString": "a b"}, SUBJECT), "Parameters.parameter.where(name='model')"),
    (parameters({"name": "mode", "valueString": "x"}, SUBJECT), "Parameters.parameter[0].name"),
    (parameters(SUBJECT, SUBJECT), "Parameters.parameter.where(name='subject')"),
    (parameters(SUBJECT, {"name": "patient", "valueReference": {"reference": "Patient/1"}}), "Parameters.parameter"),
    (parameters({"name": "model", "valueString": "x"}), "Parameters.parameter"),
    (parameters({"name": "model", "valueInteger": 3}, SUBJECT), "Parameters.parameter[0]"),
    (parameters({"name": "subject", "resource": {"resourceType": "Patient"}}), "Parameters.parameter[0].resource"),
    (parameters(SUBJECT, {"name": "moment", "valueDateTime": "2026-03-02"}), "Parameters.parameter.where(name='moment')"),
    (parameters(SUBJECT, {"name": "language", "valueCode": "de"}), "Parameters.parameter.where(name='language')"),
    ({"resourceType": "Parameters", "parameter": {"name": "model"}}, "Parameters.parameter"),
    ({"resourceType": "Patient"}, "Resource"),
    ({}, "Resource"),
])
def test_what_is_wrong_with_a_call_is_named_by_its_place(body: dict[str, Any], place: str) -> None:
    assert place in [where for where, _ in faults(body)]


def test_parameters_stand_in_the_body_or_in_the_query_never_in_both() -> None:
    assert [("Parameters", "Give the parameters in the body or in the query, not in both.")] == faults(
        parameters(SUBJECT), {"model": "tiny_risk"})


def test_refusals_never_repeat_a_value() -> None:
    for name in (*KNOWN, "DUPONT"):
        for _, message in faults(parameters({"name": name, "valueString": "DUPONT Jeanne"}, {"name": "model", "valueString": "a b"})):
            assert "DUPONT" not in message


@pytest.mark.parametrize("text", [
    b'{"a": 1, "a": 2}', b'{"a": NaN}', b"[]", b"null", b'"text"', b"{", b"\xff\xfe{\x00}\x00", "{}".encode("utf-16"),
    b'{"a": "\\ud800"}', b'{"a":' * 100_000,
])
def test_what_is_not_one_json_object_in_utf8_is_refused(text: bytes) -> None:
    with pytest.raises(UnusableInput) as refused:
        parse(text)
    assert refused.value.code in ("not_json", "too_deep")


_WORD = st.text(max_size=8)
_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _WORD,
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD, inner, max_size=3), max_leaves=8)
_ROW = st.fixed_dictionaries({}, optional={
    "name": st.sampled_from([*KNOWN, "other"]) | _JSON, "valueString": _JSON, "valueReference": _JSON, "valueDateTime": _JSON,
    "resource": _JSON | st.just({"resourceType": "Bundle", "type": "collection"}), "part": _JSON, "valueCode": _JSON,
})


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(_ROW | _JSON, max_size=4))
def test_any_parameters_are_read_or_refused_and_nothing_else_happens(rows: list[Any]) -> None:
    with suppress(Refused):
        wish = read_wish({"resourceType": "Parameters", "parameter": rows})
        assert (wish.record is None) != (wish.patient == "")


def test_without_a_stay_the_release_declines_and_names_the_encounter(predictor: Predictor) -> None:
    bundle = icu_bundle(hours=4)
    bundle["entry"] = [one for one in bundle["entry"] if one["resource"]["resourceType"] != "Encounter"]
    told, results = predictor.answer(read_wish(bundle), "en")
    guidance = told["entry"][0]["resource"]
    assert ("GuidanceResponse", "data-required") == (guidance["resourceType"], guidance["status"])
    assert "Encounter" == guidance["dataRequirement"][0]["type"]
    assert ["too_few_measurements"] == [str(one.result.reason) for one in results]  # type: ignore[union-attr]


def test_a_record_with_a_fault_is_refused_with_its_element(predictor: Predictor) -> None:
    bundle = icu_bundle(hours=1)
    bundle["entry"][2]["resource"]["status"] = "done"
    with pytest.raises(Refused) as refused:
        predictor.answer(read_wish(bundle), "en")
    assert "Bundle.entry[2].resource.status" in [fault.expression.replace(".resource.ofType(Observation)", ".resource")
                                                 for fault in refused.value.faults]


def test_an_imaging_release_is_no_release_for_records(predictor: Predictor) -> None:
    imaging = next(name for name, model in predictor.shelf.models.items() if model.manifest.task == "image_classification")
    with pytest.raises(UnusableInput) as refused:
        predictor.answer(read_wish(icu_bundle(hours=1), {"model": imaging}), "en")
    assert "wrong_model" == refused.value.code


def test_a_patient_is_read_only_where_the_site_has_a_server(predictor: Predictor) -> None:
    with pytest.raises(ProblemError) as refused:
        predictor.answer(read_wish(parameters({"name": "patient", "valueReference": {"reference": "Patient/1"}})), "en")
    assert "not_supported" == refused.value.problem.code


def test_what_the_record_learnt_after_the_moment_is_not_looked_at(predictor: Predictor) -> None:
    early, late = (
        predictor.answer(read_wish(parameters({"name": "subject", "resource": icu_bundle(hours=48)},
                                              {"name": "moment", "valueDateTime": moment})), "en")[0]
        for moment in ("2026-03-01T12:00:00+00:00", "2026-03-03T07:00:00+00:00")
    )
    counts = [len(one["entry"][0]["resource"]["basis"]) for one in (early, late)]
    assert counts[0] < counts[1]


def test_the_same_call_gives_the_same_resources(predictor: Predictor) -> None:
    first, second = (predictor.answer(read_wish(json.loads(json.dumps(icu_bundle(hours=6)))), "en")[0] for _ in range(2))
    assert [one["fullUrl"] for one in first["entry"]] == [one["fullUrl"] for one in second["entry"]]
    other = predictor.answer(read_wish(icu_bundle(hours=6, heart_rate=120.0)), "en")[0]
    assert first["entry"][0]["fullUrl"] != other["entry"][0]["fullUrl"]
