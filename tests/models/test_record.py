"""A Record shows only what was known at a moment."""

import numpy as np
import pytest

from models.errors import UnusableInput
from models.record import Event, Record, Series


def record(*rows: tuple[float, float]) -> Record:
    return Record.of((Event(minute, "HR", value, "/min") for minute, value in rows), {"age_years": 70.0})


def test_a_view_holds_nothing_after_its_moment():
    seen = record((0, 80), (60, 90), (61, 200)).up_to(60)
    assert seen.series("HR").values.tolist() == [80.0, 90.0]


def test_a_view_holds_nothing_before_its_window():
    seen = record((0, 80), (60, 90), (120, 100)).up_to(120, window=60)
    assert seen.series("HR").values.tolist() == [90.0, 100.0]


def test_events_are_ordered_by_time_whatever_order_they_come_in():
    forth, back = record((0, 80), (60, 90), (60, 85)), record((60, 85), (60, 90), (0, 80))
    assert forth.up_to(100).series("HR").values.tolist() == back.up_to(100).series("HR").values.tolist()


def test_a_code_that_was_not_measured_is_an_empty_series():
    assert len(record((0, 80)).up_to(60).series("Lactate").values) == 0
    assert record((100, 80)).up_to(60).codes == frozenset()


def test_one_code_in_two_units_is_refused():
    events = [Event(0, "Creatinine", 1.0, "mg/dL"), Event(1, "Creatinine", 90.0, "umol/L")]
    with pytest.raises(UnusableInput, match="one unit"):
        Record.of(events, {})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(UnusableInput, match="finite"):
        record((0, bad))


def test_times_and_values_of_different_lengths_are_refused():
    with pytest.raises(UnusableInput, match="one length"):
        Record({"HR": Series(np.zeros(2), np.zeros(3))}, {})


def test_what_was_measured_cannot_be_changed():
    seen = record((0, 80)).up_to(60)
    with pytest.raises(ValueError, match="read-only"):
        seen.series("HR").values[0] = 1
    with pytest.raises(TypeError):
        seen.static["age_years"] = 1


def test_a_record_prints_counts_and_never_values():
    one = record((0, 81.5), (1, 82.5))
    assert repr(one) == "Record(1 codes, 2 events)"
    assert len(one) == 2
