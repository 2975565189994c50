"""FEATURES are what their names say, on values a reader can check by hand."""

from math import isnan

import numpy as np
import pytest

from models.features import DERIVED, FEATURES, PLAUSIBLE, clean
from models.record import Event, Record, View

HOURS = 48
NEEDS: dict[str, dict[str, float]] = {
    "share_below": {"limit": 20.0}, "share_above": {"limit": 20.0}, "total_per_kg_h": {"newer_h": 24},
    **{name: {"minutes": 60} for name in ("ago", "change_over", "bend", "lowest_over", "mean_over", "spread_over")},
    "projected": {"minutes": 60, "ahead": 60}, "margin_over": {"minutes": 60, "limit": 20.0},
}


def view(*rows: tuple[str, float, float], **static: float) -> View:
    """Make a view at 48 h from (code, hour, value)."""
    return Record.of((Event(60 * hour, code, value, "u") for code, hour, value in rows), static).up_to(60 * HOURS)


FOUR = (("HR", 0, 60.0), ("HR", 12, 80.0), ("HR", 36, 110.0), ("HR", 47, 90.0))


@pytest.mark.parametrize(
    ("function", "params", "expected"),
    [
        ("last", {}, 90), ("first", {}, 60), ("lowest", {}, 60), ("highest", {}, 110), ("mean", {}, 85),
        ("median", {}, 85), ("change", {}, 30), ("count", {}, 4), ("total", {}, 340),
        ("mean", {"newer_h": 24}, 100), ("mean", {"older_h": 24}, 70), ("highest", {"newer_h": 6}, 90),
        ("lowest", {"older_h": 36}, 60), ("count", {"newer_h": 1}, 0), ("hours_since", {}, 1),
        ("hours_between", {}, 47),
        ("share_below", {"limit": 80}, 0.25), ("share_above", {"limit": 80}, 0.5),
        ("held_mean", {}, (12 * 60 + 24 * 80 + 11 * 110 + 1 * 90) / 48),
        ("spread", {}, np.std([60, 80, 110, 90])),
        ("slope", {}, 24 * np.polyfit([0, 12, 36, 47], [60, 80, 110, 90], 1)[0]),
    ],
)
def test_a_feature_of_four_heart_rates(function, params, expected):
    assert FEATURES[function](view(*FOUR), "HR", **params) == pytest.approx(expected, rel=1e-9)


def test_static_values_are_read_and_absent_ones_are_missing():
    assert FEATURES["static"](view(age_years=71.0), "age_years") == 71.0
    assert isnan(FEATURES["static"](view(), "age_years"))


@pytest.mark.parametrize("function", sorted(set(FEATURES) - {"count", "static"}))
def test_what_was_not_measured_is_missing(function):
    assert isnan(FEATURES[function](view(), "HR", **NEEDS.get(function, {})))


@pytest.mark.parametrize(("code", "value"), [("pH", 735.0), ("Temp", -17.8), ("NISysABP", 0.0), ("GCS", 2.0)])
def test_an_impossible_value_is_left_out(code, value):
    low, high = PLAUSIBLE[code]
    middle = (low + high) / 2
    assert clean(view((code, 1, value), (code, 2, middle)), code).values.tolist() == [middle]


def test_the_invasive_pressure_counts_where_both_were_measured():
    seen = view(("SysABP", 1, 100.0), ("NISysABP", 1, 140.0), ("NISysABP", 2, 120.0))
    assert clean(seen, "SBP").values.tolist() == [100.0, 120.0]


def test_the_oxygen_ratio_takes_the_latest_fraction_before_the_gas():
    seen = view(("FiO2", 1, 0.5), ("FiO2", 3, 1.0), ("PaO2", 2, 100.0), ("PaO2", 4, 100.0))
    assert clean(seen, "PF").values.tolist() == [200.0, 100.0]


def test_a_pair_of_values_more_than_six_hours_apart_is_not_combined():
    assert len(clean(view(("FiO2", 1, 0.5), ("PaO2", 8, 100.0)), "PF").values) == 0


def test_urine_is_counted_per_kilogram_and_hour():
    seen = view(("Weight", 0, 70.0), ("Urine", 30, 700.0), ("Urine", 40, 980.0))
    assert FEATURES["total_per_kg_h"](seen, "Urine", newer_h=24) == pytest.approx(1680 / 70 / 24)


def test_later_events_change_no_feature():
    def events(last_hour: int) -> list[Event]:
        rng = np.random.default_rng(3)
        codes = sorted(PLAUSIBLE)
        return [
            Event(60.0 * hour + k + 1, code, PLAUSIBLE[code][0] + float(rng.random()) * 10, "u")
            for hour in range(last_hour) for k, code in enumerate(codes)
        ]

    before, after = (Record.of(events(n), {"age_years": 60.0}).up_to(60 * HOURS) for n in (HOURS, HOURS + 30))
    for name, function in FEATURES.items():
        for code in (*sorted(PLAUSIBLE), *DERIVED):
            a, b = (function(one, code, **NEEDS.get(name, {})) for one in (before, after))
            assert np.array_equal(a, b, equal_nan=True), (name, code)
