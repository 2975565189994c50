"""The order of work: which models speak, in which order, and that callers do not get each other's answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from models.errors import UnusableInput
from models.model import Model
from models.prediction import Prediction, Reason, Refusal
from models.read_dicom import read_dicom
from models.shelf import Shelf
from models.volume import Header, Volume
from service.pipeline import Wanted, run
from tests.make import dicom_bytes, icu_bundle, icu_record, radiograph_dataset, radiograph_pixels, tiny_release
from tests.service.house import DICOM, FHIR


@pytest.fixture(scope="module")
def shelf(released: Path) -> Shelf:
    return Shelf(released)


def radiograph(**changes: Any) -> Volume:
    return read_dicom([dicom_bytes(radiograph_dataset(**changes))])


def test_only_models_meant_for_the_case_speak(shelf: Shelf) -> None:
    (outcome,) = run(radiograph(), shelf, Wanted())

    assert "tiny_chest" == outcome.model.name
    assert isinstance(outcome.result, Prediction)


def test_a_record_goes_to_every_risk_model_and_to_no_other(shelf: Shelf) -> None:
    assert ["tiny_risk"] == [outcome.model.name for outcome in run(icu_record(), shelf, Wanted())]


def test_when_none_fits_all_say_why(shelf: Shelf) -> None:
    outcomes = run(radiograph(Modality="US"), shelf, Wanted())

    assert [Reason.WRONG_MODALITY] * 2 == [o.result.reason for o in outcomes if isinstance(o.result, Refusal)]


def test_a_blank_image_is_refused_by_the_model_it_was_meant_for_alone(shelf: Shelf) -> None:
    header = Header(modality="DX", body_part="CHEST")
    blank = Volume(np.zeros((1, 256, 256), np.float32), units="display", header=header)

    (outcome,) = run(blank, shelf, Wanted())

    assert ("tiny_chest", "blank") == (outcome.model.name, outcome.reason)


def test_a_model_asked_for_speaks_even_when_it_does_not_fit(shelf: Shelf) -> None:
    (outcome,) = run(radiograph(Modality="US"), shelf, Wanted(model="tiny_chest-1.0.0"))

    assert ("tiny_chest", "wrong_modality") == (outcome.model.name, outcome.reason)


@pytest.mark.parametrize(("name", "code"), [("none", "unknown_model"), ("tiny_risk", "wrong_model")])
def test_a_model_that_cannot_be_asked_is_the_senders_mistake(shelf: Shelf, name: str, code: str) -> None:
    with pytest.raises(UnusableInput) as caught:
        run(radiograph(), shelf, Wanted(model=name))
    assert code == caught.value.code


def test_both_versions_of_a_model_are_kept_and_the_highest_serves(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0"):
        tiny_release(tmp_path, "risk", version=version)

    assert ["1.10.0"] == [outcome.model.version for outcome in run(icu_record(), Shelf(tmp_path), Wanted())]


def test_a_picture_is_drawn_of_a_refusal_too(shelf: Shelf) -> None:
    (outcome, *_) = run(radiograph(Modality="US"), shelf, Wanted(picture=True))

    assert outcome.picture is not None
    assert outcome.picture.startswith(b"\x89PNG")


def test_eight_callers_at_once_each_get_their_own_answer(client: TestClient, released: Path) -> None:
    model = Model(released / "tiny_chest-1.0.0")
    bodies = [dicom_bytes(radiograph_dataset(radiograph_pixels(pneumonia=bool(i % 2), seed=i))) for i in range(8)]
    expected = [model.predict(read_dicom([body])).identity.input_sha256 for body in bodies]

    def ask(i: int) -> Sequence[str]:
        return [
            client.post("/v1/images", content=bodies[i], headers=DICOM).json()["series"][0]["results"][0]["identity"][
                "input_sha256"]
            for _ in range(6)
        ]

    with ThreadPoolExecutor(8) as threads:
        answered = list(threads.map(ask, range(8)))

    assert len(set(expected)) == 8
    assert [[digest] * 6 for digest in expected] == answered


def test_callers_of_both_addresses_do_not_mix(client: TestClient) -> None:
    def ask(age: int) -> float:
        bundle = icu_bundle(birth_date=f"{2026 - age}-01-15", hours=6)
        answer = client.post("/v1/records", content=json.dumps(bundle), headers=FHIR).json()
        return float(answer["results"][0]["findings"][0]["value"])

    ages = [30, 45, 60, 75] * 4
    alone = {age: ask(age) for age in set(ages)}
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(ask, ages))

    assert [alone[age] for age in ages] == together
