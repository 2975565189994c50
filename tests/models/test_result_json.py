"""A kept result comes back with its findings and reasons; what follows from the rest is not kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.errors import UnusableInput
from models.model import Model
from models.prediction import Prediction, Refusal, to_json
from models.result_json import result_of_json, result_to_json
from tests.make import icu_record, tiny_release


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("released"), "risk"))


def back(told: dict[str, Any]) -> Any:
    return result_of_json(json.loads(json.dumps(told)))


def test_a_prediction_comes_back_with_findings_reasons_and_identity(model: Model) -> None:
    result = model.predict(icu_record(gcs=None))
    assert isinstance(result, Prediction)
    again = back(result_to_json(result))
    assert (again.identity, again.findings) == (result.identity, result.findings)
    assert (again.flags, again.quality) == (result.flags, result.quality)
    assert again.explanation.measurements == result.explanation.measurements
    assert again.explanation.bias == result.explanation.bias


def test_the_parts_that_are_kept_still_sum_to_the_score(model: Model) -> None:
    again = back(result_to_json(model.predict(icu_record(heart_rate=133))))
    whole = sum(part.logit for part in again.explanation.measurements) + again.explanation.bias["death"]
    assert whole == pytest.approx(again.main.logit, abs=1e-5)  # what float32 leaves


def test_terms_are_left_out_where_measurements_gather_them(model: Model) -> None:
    result = model.predict(icu_record())
    told, whole = result_to_json(result), to_json(result)
    assert told["explanation"]["contributions"] == []
    assert len(json.dumps(told)) < 0.75 * len(json.dumps(whole))


def test_a_refusal_comes_back_whole(model: Model) -> None:
    result = model.predict(icu_record(age_years=3.0))
    assert isinstance(result, Refusal)
    assert back(result_to_json(result)) == result


@pytest.mark.parametrize("told", [{}, {"status": "refused"}, {"identity": {"name": 1}, "quality": {}, "flags": [], "timings_ms": {}}])
def test_what_is_no_result_is_refused_in_words(told: dict[str, Any]) -> None:
    with pytest.raises(UnusableInput, match="A kept result"):
        result_of_json(told)
