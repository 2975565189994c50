"""Moments of a glucose sensor are scored without looking ahead, and alerts are counted as a team would see them."""

from __future__ import annotations

import numpy as np
import pytest

from models.features import FEATURES
from models.read_fhir import read_bundle
from tests.make import data_root, needs_data
from training import recipe as recipes
from training.alerts import Watch, false_alerts, figures_at, onsets_of, threshold_telling
from training.data import cgm
from training.risk_features import features_of
from training.samples.hypoglycaemia_60min import bundle


def worn(values: list[float], every: float = 15.0) -> cgm.Wearing:
    return cgm.Wearing("s", np.arange(len(values)) * every, np.array(values, float), {})


def test_a_moment_is_scored_when_both_its_hours_are_whole():
    found = list(cgm.moments(worn([100] * 12)))
    assert [place for _, place, _ in found] == [3, 4, 5, 6, 7]
    assert not any(low for _, _, low in found)


def test_a_low_reading_within_an_hour_is_the_outcome_and_no_moment():
    found = {place: low for _, place, low in cgm.moments(worn([100] * 7 + [65] + [100] * 8))}
    assert [place for place, low in found.items() if low] == [3, 4, 5, 6]
    assert 7 not in found


def test_a_gap_in_the_hour_ahead_leaves_the_moment_out():
    values = worn([100.0] * 16)
    gap = cgm.Wearing("s", np.delete(values.minutes, 9), np.delete(values.values, 9), {})
    assert {place for _, place, _ in cgm.moments(gap)} == {3, 4, 9, 10}


def test_a_stream_of_five_minutes_is_scored_every_quarter_of_an_hour():
    places = [place for _, place, _ in cgm.moments(worn([100] * 49, every=5.0))]
    assert set(np.diff(places).tolist()) == {3}


def test_episodes_begin_after_an_hour_without_a_low_reading():
    assert onsets_of(worn([100, 65, 100, 60, 100, 100, 100, 100, 100, 66])) == [15.0, 135.0]


def seen(low: list[int]) -> Watch:
    minutes = np.arange(len(low)) * 15.0
    return Watch(np.zeros(len(low), int), minutes, np.array(low, bool), [np.array([2, 3])], np.array([60.0]), 0)


def test_alerting_moments_within_an_hour_are_one_alert_and_true_if_any_is():
    alerting = np.zeros(16, bool)
    alerting[[1, 3]] = True  # one run, low after the second
    alerting[[10, 12]] = True  # one run, nothing low
    begins = false_alerts(seen([0, 0, 1, 1] + [0] * 12), alerting)
    assert np.flatnonzero(begins).tolist() == [10]


def test_figures_count_episodes_and_days():
    p = np.zeros(96)
    p[[3, 40]] = 0.9
    low = [0, 0, 1, 1] + [0] * 92
    figures = figures_at(seen(low), p, threshold_telling(seen(low), p, 0.7), ["a"] * 96, 20)
    assert figures["episodes_told"]["value"] == 1.0
    assert figures["false_alerts_a_day"]["value"] == pytest.approx(1.0)
    assert figures["moments_told"]["value"] == 0.5
    assert figures["minutes_before"]["value"] == 15.0


@pytest.fixture(scope="module")
def cases():
    return cgm.records("test", data_root())


@needs_data
@pytest.mark.slow
def test_no_subject_lies_in_two_splits():
    train, val, test = ({one.subject for one in cgm.wearings(split, data_root())} for split in ("train", "val", "test"))
    assert not train & val
    assert not (train | val) & test


@needs_data
def test_a_case_and_the_fhir_record_made_of_it_give_the_same_features(cases):
    features = features_of(recipes.read("hypoglycaemia_60min"))
    for case in cases[100:4000:400]:
        latest = case.record.latest_minute
        view = case.record.up_to(latest, cgm.WINDOW_MIN)
        expected = [FEATURES[one.function](view, **one.params) for one in features]
        series = view.series("GlucoseCGM")
        read = read_bundle(bundle(series.minutes.tolist(), series.values.tolist()), encounter=None).record
        found = [FEATURES[one.function](read.up_to(read.latest_minute, 240), **one.params) for one in features]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


@needs_data
def test_a_record_ends_at_its_moment(cases):
    for case in cases[:2000:200]:
        view = case.record.up_to(case.record.latest_minute)
        minutes = view.series("GlucoseCGM").minutes
        assert minutes[-1] - minutes[0] <= cgm.WINDOW_MIN
        assert view.series("GlucoseCGM").values[-1] >= cgm.LIMIT_MG_DL
