"""What if changes the value that counts and nothing else, and offers what a person could change."""

from __future__ import annotations

import numpy as np
import pytest

from models.model import Model
from models.prediction import Prediction
from models.record import Event, Record
from models.shelf import RELEASED
from service.problem import ProblemError
from service.review.risk.change import changeable, changed, inputs_of, moved, score
from service.review.risk.measured import view_of
from service.review.risk.missing import missing
from service.scoring import Scoring
from tests.make import icu_record


@pytest.fixture(scope="module")
def model(risk_scoring: Scoring) -> Model:
    return risk_scoring.shelf.get("tiny_risk")


@pytest.fixture(scope="module")
def triage() -> Model:
    return Model(RELEASED / "ed_triage-1.0.0")


def values(record: Record, code: str) -> list[float]:
    return record.up_to(record.latest_minute).series(code).values.tolist()


def test_the_latest_value_is_replaced_and_the_others_stay(model: Model) -> None:
    record = icu_record()
    after = changed(model.manifest, record, None, {"Creatinine": 4.0})
    assert values(after, "Creatinine") == [*values(record, "Creatinine")[:-1], 4.0]
    assert values(after, "HR") == values(record, "HR")
    assert values(record, "Creatinine")[-1] == 1.0


def test_what_came_after_the_moment_is_not_what_is_changed(model: Model) -> None:
    record = icu_record(hours=60)
    after = changed(model.manifest, record, None, {"HR": 150.0})
    assert [place for place, (a, b) in enumerate(zip(values(record, "HR"), values(after, "HR"), strict=True)) if a != b] == [48]


def test_what_was_not_measured_is_added_at_the_moment(model: Model) -> None:
    after = changed(model.manifest, icu_record(gcs=None), None, {"GCS": 8.0})
    assert values(after.__class__.of([Event(2880.0, "GCS", 8.0, "1")], {}), "GCS") == [8.0]
    assert after.up_to(2880).series("GCS").values.tolist() == [8.0]


@pytest.mark.parametrize("given", [{"HR": 150.0}, {"GCS": 3.0, "Creatinine": 3.3}, {"Creatinine": 0.4}])
def test_it_scores_what_predict_scores_of_the_changed_record(model: Model, given: dict[str, float]) -> None:
    record = icu_record()
    tried = score(model, record, None, given)
    again = model.predict(changed(model.manifest, record, None, given))
    assert isinstance(tried, Prediction)
    assert isinstance(again, Prediction)
    assert tried.identity == again.identity
    assert tried.findings == again.findings


def test_age_and_sex_and_unknown_codes_cannot_be_changed(model: Model) -> None:
    assert set(changeable(model.manifest)) == {"HR", "GCS", "Creatinine"}
    for code in ("age_years", "male", "Lactate", "__class__"):
        with pytest.raises(ProblemError):
            changed(model.manifest, icu_record(), None, {code: 1.0})


def test_every_input_has_room_for_its_value_and_a_step(triage: Model) -> None:
    signs = (("HR", 96.0), ("RespRate", 20.0), ("SaO2", 93.0), ("NISysABP", 98.0))
    record = Record.of([Event(0.0, code, value, "1") for code, value in signs], {"age_years": 80.0, "reasons_for_visit": 1.0})
    result = triage.predict(record)
    inputs = inputs_of(triage.manifest, record, None, result, {})
    assert {"HR", "RespRate", "SaO2", "SBP"} <= {one.code for one in inputs}
    assert not {one.code for one in inputs} & {"age_years", "male", "reasons_for_visit", "reason_fever", "ShockIndex"}
    for one in inputs:
        assert one.low < one.high
        assert one.step > 0
        if one.value is not None:
            assert one.low <= one.value <= one.high


def test_a_ratio_follows_what_it_is_computed_from(triage: Model) -> None:
    record = Record.of([Event(0.0, "HR", 90.0, "1"), Event(0.0, "NISysABP", 120.0, "1")], {})
    after = changed(triage.manifest, record, None, {"SBP": 90.0})
    assert values(after, "NISysABP") == [90.0]
    row = triage.prepare(after)[0]
    names = [one.name for one in triage.manifest.features]
    assert row[names.index("shockindex_first")] == pytest.approx(1.0)


def test_a_vital_sign_in_the_danger_zone_is_declined_by_the_model(triage: Model) -> None:
    record = Record.of([Event(0.0, code, value, "1") for code, value in (("HR", 90.0), ("RespRate", 15.0), ("SaO2", 98.0))],
                       {"age_years": 50.0, "reasons_for_visit": 1.0, "reason_cough": 2.0})
    assert isinstance(triage.predict(record), Prediction)
    assert score(triage, record, None, {"HR": 150.0}).status == "refused"
    assert score(triage, record, None, {"HR": 900.0}).status == "refused"


def test_what_moved_is_told_with_before_and_after(model: Model) -> None:
    record = icu_record()
    before, after = model.predict(record), score(model, record, None, {"HR": 160.0})
    assert isinstance(before, Prediction)
    assert isinstance(after, Prediction)
    [one] = moved(before, after, "death")
    assert one.part.term == "HR"
    assert one.change == pytest.approx(after.main.logit - before.main.logit, abs=1e-5)  # type: ignore[operator]


def test_what_is_missing_says_what_it_would_add(model: Model) -> None:
    record = icu_record(gcs=None)
    result = model.predict(record)
    assert isinstance(result, Prediction)
    [lack] = missing(model, record, None, result, "death")
    tried = [score(model, record, None, {"GCS": value}) for value in lack.tried] or [None]
    assert lack.part.term == "GCS"
    found = [one.main.value for one in tried if isinstance(one, Prediction)]
    assert (lack.low, lack.high) == ((min(found), max(found)) if found else (None, None))


def test_the_view_is_the_one_the_release_takes(model: Model) -> None:
    record = icu_record(hours=60)
    view = view_of(model.manifest, record)
    assert np.isclose(view.moment, 2880)
    assert model.prepare(record)[0, 1] == view.series("HR").values[-1]
