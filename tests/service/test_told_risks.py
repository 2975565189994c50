"""What is kept of a risk: whom, where, how urgent, and what scores it again to the same input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.model import Model
from models.prediction import Prediction
from models.read_fhir import read_bundle
from service.fhir.assessed import Assessed
from service.pipeline import Wanted, run
from service.site import Site
from service.store import risks
from service.store.entries import HIGH, ROUTINE
from service.store.store import Store
from service.told_risks import Told, department_of, ended_at, patient_shown, row_of, score_again, stay_in, told, urgency_of, write
from tests.make import ADMISSION
from tests.make_store import store_for
from tests.service.monitoring.home import with_empty_database
from tests.service.review.risk.risk_house import bands_release, stay

NOW = ADMISSION + timedelta(hours=60)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(bands_release(tmp_path_factory.mktemp("released")))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("told")
    with_empty_database(folder / "store")
    opened = store_for(folder)
    yield opened
    opened.close()


def assessed_of(model: Model, bundle: dict[str, Any], *, moment: datetime | None = None) -> Assessed:
    reading = read_bundle(bundle, moment=moment)

    class OfOne:
        models = {model.id: model}  # noqa: RUF012  a shelf with one release

        def get(self, _: str) -> Model:
            return model

    [outcome] = run(reading.record, OfOne(), Wanted(model=model.id, moment=moment))  # type: ignore[arg-type]
    return Assessed(model.manifest, outcome.result, reading, NOW, "en", Site().device, moment)


def told_of(store: Store, model: Model, bundle: dict[str, Any], **more: Any) -> Told:
    assessed = assessed_of(model, bundle, **more)
    return told(store, Site(), assessed, "predict", stay=stay_in(bundle["entry"], assessed.reading.encounter))


@pytest.mark.parametrize("hours", [None, 6, 20])
def test_what_is_kept_scores_to_the_same_input_and_figure(store: Store, model: Model, hours: int | None) -> None:
    moment = None if hours is None else ADMISSION + timedelta(hours=hours)
    one = told_of(store, model, stay(), moment=moment)
    write(store, Site(), [one])
    kept = risks.by_key(store, one.key)
    assert kept is not None
    again = score_again(model, kept.record)
    assert isinstance(again, Prediction)
    assert again.identity.input_sha256 == kept.answer["identity"]["input_sha256"]
    assert again.main.value == kept.value
    assert list(again.flags) == kept.answer["flags"]


def test_the_key_is_of_the_input_and_the_moment_and_not_of_when_it_was_asked(store: Store, model: Model) -> None:
    assert told_of(store, model, stay()).key == told_of(store, model, stay()).key
    others = [told_of(store, model, stay(heart_rate=121)), told_of(store, model, stay(), moment=ADMISSION + timedelta(hours=9))]
    assert len({told_of(store, model, stay()).key, *(one.key for one in others)}) == 3


def test_a_row_says_whom_and_where_and_its_line_how_urgent(store: Store, model: Model) -> None:
    row = row_of(Site(), told_of(store, model, stay(gcs=3)))
    assert (row.department, row.status) == ("Intensive care", "scored")
    assert row.patient == {"name": "ESSAI", "given": "Camille", "birth_date": "19560115", "sex": "F", "id": "IPP-77"}
    assert row.entry is not None
    assert (row.entry.kind, row.entry.urgency, row.entry.patient_id, row.entry.models) == ("risk", HIGH, "IPP-77", (model.id,))
    assert row.entry.patient_name == "ESSAI Camille"
    assert json.dumps(row.record)


def test_moderate_is_routine_and_what_is_no_danger_deserves_no_line(store: Store, model: Model) -> None:
    row = row_of(Site(), told_of(store, model, stay()))
    assert row.entry is not None
    assert row.entry.urgency == ROUTINE
    result = assessed_of(model, stay(heart_rate=60, gcs=15)).result
    assert isinstance(result, Prediction)
    assert urgency_of(model.manifest, result.findings) is None


def test_the_site_file_names_departments() -> None:
    site = Site.model_validate({"review": {"departments": {"Organization/7": "Cardiologie"}}})
    told = {"serviceProvider": {"reference": "Organization/7", "display": "Pôle coeur"}}
    assert department_of(site, told) == "Cardiologie"
    assert department_of(Site(), told) == "Pôle coeur"
    assert department_of(Site(), None) == ""
    assert department_of(Site(), {"location": [{"location": {"display": "x" * 200}}]}) == "x" * 64


@pytest.mark.parametrize(("encounter", "ended"), [
    ({"status": "in-progress"}, False), ({"status": "finished"}, True), ({"period": {"end": "2026-03-01T09:00:00Z"}}, True),
    ({"period": {"end": "2126-03-01T09:00:00Z"}}, False), (None, False),
])
def test_a_stay_that_is_over_is_known_to_be(encounter: dict[str, Any] | None, ended: bool) -> None:
    assert (ended_at(encounter, datetime(2026, 3, 2, tzinfo=UTC)) is not None) is ended


def test_of_nobody_only_the_reference_is_shown() -> None:
    assert patient_shown(None, "Patient/7") == {"name": "", "given": "", "birth_date": "", "sex": "", "id": "Patient/7"}


def test_a_stay_is_found_in_a_bundle_by_its_reference() -> None:
    bundle = stay()
    assert (stay_in(bundle["entry"], "Encounter/e1") or {})["id"] == "e1"
    assert stay_in(bundle["entry"], "Encounter/e2") is None
    assert stay_in(bundle["entry"], "") is None
