"""What would change a score is the score of the changed record, and nothing is promised beyond that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.codes import range_of
from models.explain.what_if import WhatIf, what_if
from models.model import Model
from models.prediction import Prediction
from models.read_fhir import read_bundle
from models.record import Record, Series, View
from tests.make import ROOT, icu_record
from tests.make_release import tiny_release

ICU = ROOT / "models/released/icu_mortality-1.0.0"
SICK = ROOT / "data-samples/stay/high-risk.json"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("released"), "risk"))


def asked(model: Model, record: Record) -> tuple[View, tuple[WhatIf, ...], Prediction]:
    result = model.predict(record)
    assert isinstance(result, Prediction)
    hours = model.manifest.moment_h
    view = record.up_to(record.latest_minute if hours is None else 60 * hours)
    return view, what_if(model, view, result), result


def test_the_changed_figure_is_that_of_the_changed_record(tiny: Model) -> None:
    _, changes, result = asked(tiny, icu_record(gcs=4.0))
    coma = next(one for one in changes if one.code == "GCS")

    awake = tiny.predict(icu_record(gcs=15.0))

    assert isinstance(awake, Prediction)
    assert coma.result == pytest.approx(awake.main.value, abs=1e-6)
    assert (coma.value, coma.moved_to, coma.found) == (4.0, 15.0, result.main.value)


def test_what_lies_in_its_reference_range_is_not_moved(tiny: Model) -> None:
    _, changes, _ = asked(tiny, icu_record(gcs=15.0, heart_rate=80.0, creatinine_mg_dl=1.0))
    assert not changes


def test_a_change_that_raises_the_risk_is_not_told(tiny: Model) -> None:
    for gcs in (3.0, 8.0, 14.0):
        _, changes, _ = asked(tiny, icu_record(gcs=gcs, heart_rate=150.0, creatinine_mg_dl=6.0))
        assert all(one.result < one.found for one in changes)


def test_the_record_is_left_as_it_was(tiny: Model) -> None:
    record = icu_record(gcs=4.0)
    before = tiny.predict(record)
    asked(tiny, record)
    after = tiny.predict(record)
    assert isinstance(before, Prediction)
    assert isinstance(after, Prediction)
    assert before.main.value == after.main.value


def test_each_line_of_the_released_model_can_be_computed_again_by_hand() -> None:
    model = Model(ICU)
    record = read_bundle(json.loads(SICK.read_text("utf-8"))).record
    view, changes, _ = asked(model, record)
    assert changes
    for one in changes:
        reference = range_of(one.code, "reference")
        low = -float("inf") if reference.low is None else reference.low
        high = float("inf") if reference.high is None else reference.high
        series = {code: view.series(code) for code in view.codes}
        series[one.code] = replace(series[one.code], values=series[one.code].values.clip(low, high))
        moved = model.predict(Record({code: Series(s.minutes, s.values) for code, s in series.items()}, record.static, record.origin))
        assert isinstance(moved, Prediction)
        assert one.result == pytest.approx(moved.main.value, abs=1e-5)


def test_releases_without_measurements_out_of_range_say_nothing(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "risk"))
    _, changes, _ = asked(model, icu_record(gcs=None, creatinine_mg_dl=1.0))
    assert not changes
