"""Features of a sensor's last minutes are what their names say, at one reading in 15 min and in 5 alike."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.features import FEATURES, clean
from models.features_window import WINDOW
from models.record import Event, Record, Series

SERIES = Series(np.array([0.0, 15, 30, 45, 60]), np.array([160.0, 150, 130, 120, 100]))


@pytest.mark.parametrize(("function", "params", "expected"), [
    ("ago", {"minutes": 0}, 100), ("ago", {"minutes": 30}, 130), ("change_over", {"minutes": 15}, -20),
    ("change_over", {"minutes": 60}, -60), ("projected", {"minutes": 15, "ahead": 30}, 60),
    ("projected", {"minutes": 60, "ahead": 60}, 40), ("bend", {"minutes": 15}, -10), ("lowest_over", {"minutes": 60}, 100),
    ("mean_over", {"minutes": 30}, np.mean([130, 120, 100])), ("spread_over", {"minutes": 60}, np.std([160, 150, 130, 120, 100])),
    ("margin_over", {"minutes": 60, "limit": 70}, 30 / np.std([160, 150, 130, 120, 100])),
])
def test_a_feature_of_five_readings(function, params, expected):
    assert WINDOW[function](SERIES, 60.0, **params) == pytest.approx(expected)


def test_a_reading_that_is_not_near_enough_is_missing():
    assert isnan(WINDOW["ago"](Series(np.array([0.0, 60]), np.array([90.0, 80])), 60.0, minutes=30))
    assert isnan(WINDOW["ago"](Series(np.empty(0), np.empty(0)), 60.0, minutes=0))


@given(st.lists(st.integers(70, 300), min_size=17, max_size=17))
def test_a_stream_of_five_minutes_gives_what_its_quarters_give(quarters):
    minutes = np.arange(0.0, 241, 15)
    fine = np.arange(0.0, 241, 5)
    coarse = Series(minutes, np.array(quarters, float))
    dense = Series(fine, np.interp(fine, minutes, coarse.values))
    for function, params in (("ago", {"minutes": 45}), ("spread_over", {"minutes": 240}), ("lowest_over", {"minutes": 60}),
                             ("bend", {"minutes": 15}), ("margin_over", {"minutes": 120, "limit": 70})):
        assert WINDOW[function](dense, 240.0, **params) == pytest.approx(WINDOW[function](coarse, 240.0, **params))


def test_blood_glucose_stands_in_only_where_no_sensor_was_worn():
    blood = [Event(minute, "Glucose", 95.0, "mg/dL") for minute in (0.0, 15.0)]
    sensor = [Event(5.0, "GlucoseCGM", 80.0, "mg/dL")]
    assert clean(Record.of(blood, {}).up_to(15), "GlucoseStream").values.tolist() == [95.0, 95.0]
    assert clean(Record.of([*blood, *sensor], {}).up_to(15), "GlucoseStream").values.tolist() == [80.0]
    assert FEATURES["ago"](Record.of(sensor, {}).up_to(5), "GlucoseStream", minutes=0) == 80.0
