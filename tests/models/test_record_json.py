"""A record comes back from JSON as it was, and scores the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from math import inf, isnan, nan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnusableInput
from models.model import Model
from models.record import Event, Record
from models.record_json import record_of_json, record_to_json
from tests.make import icu_record, tiny_release

FINITE = st.floats(allow_nan=False, allow_infinity=False)
EVENTS = st.lists(st.builds(Event, FINITE, st.sampled_from(("HR", "GCS", "Lactate")), FINITE, st.just("1")), max_size=30)
STATIC = st.dictionaries(st.sampled_from(("age_years", "male", "height_cm")), st.floats(allow_infinity=False))
ZONES = st.builds(timezone, st.timedeltas(timedelta(hours=-14), timedelta(hours=14)))
ORIGINS = st.none() | st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=ZONES)


@settings(max_examples=40, deadline=None)
@given(EVENTS, STATIC, ORIGINS)
def test_every_record_comes_back_to_the_last_bit(events: list[Event], static: dict[str, float], origin: datetime | None) -> None:
    record = Record.of(events, static, origin)
    back = record_of_json(json.loads(json.dumps(record_to_json(record), allow_nan=False)))
    assert back.origin == record.origin
    assert list(back.static) == list(static)
    assert all(back.static[name] == value or (isnan(value) and isnan(back.static[name])) for name, value in static.items())
    here, there = record.up_to(record.latest_minute), back.up_to(back.latest_minute)
    assert here.codes == there.codes
    for code in here.codes:
        assert here.series(code).minutes.tobytes() == there.series(code).minutes.tobytes()
        assert here.series(code).values.tobytes() == there.series(code).values.tobytes()


def test_a_record_that_came_back_is_the_same_input_to_a_model(tmp_path: Path) -> None:
    model, record = Model(tiny_release(tmp_path, "risk")), icu_record(gcs=None)
    back = record_of_json(json.loads(json.dumps(record_to_json(record))))
    assert model.predict(back).identity == model.predict(record).identity
    assert model.prepare(back).tobytes() == model.prepare(record).tobytes()


def test_events_at_the_first_minute_are_there() -> None:
    assert list(record_to_json(Record.of([Event(0.0, "HR", 80.0, "/min")], {}))["events"]) == ["HR"]


def test_infinity_is_refused_and_not_known_is_null() -> None:
    with pytest.raises(UnusableInput, match="infinity"):
        record_to_json(Record({}, {"age_years": inf}))
    assert record_to_json(Record({}, {"age_years": nan}, datetime(2026, 1, 1, tzinfo=UTC)))["static"] == {"age_years": None}


@pytest.mark.parametrize("told", [{}, {"origin": None, "static": {}, "events": []},
                                  {"origin": "yesterday", "static": {}, "events": {}},
                                  {"origin": None, "static": {"a": "x"}, "events": {}},
                                  {"origin": None, "static": {}, "events": {"HR": {"minutes": [0]}}}])
def test_what_is_no_record_is_refused_in_words(told: dict[str, object]) -> None:
    with pytest.raises(UnusableInput, match="A record must hold"):
        record_of_json(told)
