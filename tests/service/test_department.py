"""POST /v1/department, from the body to the answer: figures, who is left out, the trend, FHIR, and what is refused."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.department import score_department
from models.errors import UnusableInput
from models.model import Model
from models.shelf import RELEASED, Shelf
from service.asked import Asked
from service.department import DepartmentQuery, answer_department, body_of, observations
from service.metrics import Metrics
from service.problem import ProblemError
from service.reading import Reading
from service.scoring import Stop
from service.settings import Settings
from tests.make_department import tiny_department
from training.samples.ed_triage import DANGER_ZONE, HIGH_RISK, LOW_RISK, bundle

HISTORY = [{"month": f"{2024 + t // 12}-{t % 12 + 1:02d}", "attendances": 3000 + 10 * t} for t in range(15)]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("released")
    tiny_department(folder)
    triage = next(RELEASED.glob("ed_triage-*"))
    (folder / triage.name).symlink_to(triage)
    return Shelf(folder)


def ask(shelf: Shelf, body: object, content_type: str = "application/json", **query: Any) -> dict[str, Any]:
    """Send a body as the web does once it has arrived."""
    settings = Settings()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = Asked(content, content_type, DepartmentQuery(**query), "request-1", settings, Metrics(), Reading(settings))
    return dict(json.loads(answer_department(asked, shelf, Stop())))


def test_bundles_are_triaged_and_summed(shelf: Shelf) -> None:
    triage = shelf.get("ed_triage")
    found = ask(shelf, {"present": [bundle(LOW_RISK), bundle(HIGH_RISK)]})
    assert (found["present"], found["scored"], found["left_out"]) == (2, 2, [])
    assert found["triage"] == triage.id
    outlooks = {one["name"]: one for one in found["outlooks"]}
    high = outlooks["critical"]["shares"][1]["of_mean"]
    assert high > 10 * outlooks["critical"]["shares"][0]["of_mean"]
    assert outlooks["critical"]["expected"] == pytest.approx(sum(s["of_mean"] for s in outlooks["critical"]["shares"]))
    assert len(outlooks["multi_resource"]["probabilities"]) == 3
    assert found["completeness_error"] <= found["completeness_tolerance"]


def test_probabilities_and_bundles_may_be_mixed(shelf: Shelf) -> None:
    found = ask(shelf, {"present": [{"multi_resource": 0.5, "critical": 0.25}, bundle(LOW_RISK)]})
    assert found["outlooks"][1]["shares"][0] == {"place": 0, "of_mean": 0.25, "of_variance": 0.1875}


def test_who_is_refused_or_unreadable_is_left_out_with_the_reason(shelf: Shelf) -> None:
    unreadable = bundle(replace(LOW_RISK, patient=None))
    unreadable["entry"] += bundle(replace(HIGH_RISK, patient=None, number=2))["entry"]  # two people in one Bundle
    found = ask(shelf, {"present": [bundle(DANGER_ZONE), unreadable, bundle(LOW_RISK)]})
    assert [(one["place"], one["reason"]) for one in found["left_out"]] == [
        (0, "out_of_distribution"), (1, "several_subjects"),
    ]
    assert (found["present"], found["scored"]) == (3, 1)


def test_a_history_is_forecast_one_month_on(shelf: Shelf) -> None:
    found = ask(shelf, {"present": [], "history": HISTORY}, language="fr")["forecast"]
    assert found["month"] == "2025-04"
    assert sum(found["steps"].values()) == pytest.approx(np.log(found["median"]))
    assert 2900 < found["median"] < 3500
    assert found["label"] == "Passages du mois suivant"


def test_a_month_that_is_missing_from_the_history_is_said(shelf: Shelf) -> None:
    with pytest.raises(UnusableInput, match="every month") as error:
        ask(shelf, {"present": [], "history": HISTORY[:4] + HISTORY[5:]})
    assert error.value.code == "bad_history"


def test_the_picture_is_a_png(shelf: Shelf) -> None:
    found = ask(shelf, {"present": [{"multi_resource": 0.5, "critical": 0.02}] * 20}, picture="png")
    with Image.open(io.BytesIO(base64.b64decode(found["picture"]))) as image:
        assert image.format == "PNG"


def test_as_fhir_each_outcome_is_an_observation_about_a_place_and_about_nobody(shelf: Shelf) -> None:
    found = ask(shelf, {"present": [bundle(HIGH_RISK), bundle(DANGER_ZONE)]}, fhir=True)
    made = [entry["resource"] for entry in found["fhir"]["entry"]]
    assert [one["resourceType"] for one in made] == ["Observation", "Observation"]
    for one, outlook in zip(made, found["outlooks"], strict=True):
        assert one["subject"] == {"reference": "#department"}
        assert one["contained"][0]["resourceType"] == "Location"
        assert one["valueQuantity"]["value"] == pytest.approx(outlook["expected"], abs=1e-4)
        codes = [part["code"]["coding"][0]["code"] for part in one["component"]]
        assert codes == ["median", "band-50", "band-90"]
        assert one["component"][2]["valueRange"]["high"]["value"] == outlook["bands"][1]["high"]
        assert ": 1." in one["note"][0]["text"]
        assert one["meta"]["security"][0]["code"] == "AIAST"
    said = json.dumps(found)
    assert not any(word in said for word in ("Patient/", "HORTENSE", "ANSELME", "1942", "1971"))


def test_the_observations_are_valid_r4(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from fhir.resources.R4B.bundle import Bundle

    model = Model(tiny_department(tmp_path))
    department = score_department(model, [{"multi_resource": 0.5, "critical": 0.02}, None])
    written = observations(department, "request-1", datetime(2026, 1, 1, tzinfo=UTC), "fr")
    assert len(Bundle.model_validate(written).entry) == 2


@pytest.mark.parametrize(("body", "code"), [
    (b"", "empty_body"), (b"{", "not_json"), (b"[]", "bad_body"), (b'{"present": 3}', "bad_body"),
    (b'{"present": [3]}', "bad_body"), (b'{"present": [{"critical": 2}]}', "bad_probability"),
    (b'{"present": [], "history": [{"month": "2024-13", "attendances": 1}]}', "bad_body"),
    (b'{"present": [], "other": 1}', "bad_body"),
])
def test_a_body_that_cannot_be_used_is_refused_by_name(shelf: Shelf, body: bytes, code: str) -> None:
    with pytest.raises((UnusableInput, ProblemError)) as error:
        ask(shelf, body)
    assert code == (error.value.code if isinstance(error.value, UnusableInput) else error.value.problem.code)


def test_what_a_body_holds_is_never_repeated() -> None:
    with pytest.raises(UnusableInput) as error:
        body_of(b'{"present": [], "Marguerite": "1940-01-01", "history": [{"month": "Duval", "attendances": 3}]}')
    assert not any(word in str(error.value) for word in ("Marguerite", "Duval", "1940"))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_body_or_refused_in_words(content: bytes) -> None:
    try:
        assert body_of(content).present is not None
    except UnusableInput as error:
        told = error.code
    except ProblemError as error:
        told = error.problem.code
    else:
        return
    assert told in {"bad_body", "not_json", "empty_body"}


@pytest.mark.parametrize(("query", "code"), [({"model": "ed_triage"}, "wrong_model"), ({"triage": "nobody"}, "unknown_model")])
def test_a_release_of_another_kind_is_refused(shelf: Shelf, query: dict[str, str], code: str) -> None:
    with pytest.raises(ProblemError) as error:
        ask(shelf, {"present": []}, **query)
    assert error.value.problem.code == code


def test_another_content_type_is_refused(shelf: Shelf) -> None:
    with pytest.raises(ProblemError) as error:
        ask(shelf, {"present": []}, content_type="text/csv")
    assert error.value.problem.code == "unsupported_media_type"
