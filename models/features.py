"""FEATURES: name → pure function (view, code, parameters) → number, the same in training and serving.

Impossible raw values are removed here by the plausible range of `tables/codes_*.json`, never imputed: a feature that
cannot be computed is NaN, and the model has its own learned level for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan, nan

import numpy as np

from models.codes import MEASURED
from models.features_window import WINDOW
from models.record import EMPTY, Floats, Series, View

PLAUSIBLE: Mapping[str, tuple[float, float]] = {code: tuple(row["plausible"]) for code, row in MEASURED.items()}


def clean(view: View, code: str) -> Series:
    """Return one code's plausible values, or a derived code's values, computed once per view."""
    found = view.remembered.get(code)
    if found is None:
        derive = DERIVED.get(code)
        found = derive(view) if derive else _plausible(view.series(code), code)
        view.remembered[code] = found
    return found


def part(view: View, code: str, newer_h: float | None, older_h: float | None) -> Floats:
    """Return the values of the last `newer_h` hours, or of all but the last `older_h` hours."""
    series = clean(view, code)
    if newer_h is None and older_h is None:
        return series.values
    start, stop = 0, len(series.values)
    if newer_h is not None:
        start = int(series.minutes.searchsorted(view.moment - 60 * newer_h, side="right"))
    if older_h is not None:
        stop = int(series.minutes.searchsorted(view.moment - 60 * older_h, side="right"))
    return series.values[start:stop]


def last(view: View, code: str) -> float:
    """Return the latest value."""
    values = clean(view, code).values
    return float(values[-1]) if len(values) else nan


def first(view: View, code: str) -> float:
    """Return the earliest value."""
    values = clean(view, code).values
    return float(values[0]) if len(values) else nan


def lowest(view: View, code: str, newer_h: float | None = None, older_h: float | None = None) -> float:
    """Return the smallest value."""
    values = part(view, code, newer_h, older_h)
    return float(values.min()) if len(values) else nan


def highest(view: View, code: str, newer_h: float | None = None, older_h: float | None = None) -> float:
    """Return the largest value."""
    values = part(view, code, newer_h, older_h)
    return float(values.max()) if len(values) else nan


def mean(view: View, code: str, newer_h: float | None = None, older_h: float | None = None) -> float:
    """Return the average of the values."""
    values = part(view, code, newer_h, older_h)
    return float(values.sum() / len(values)) if len(values) else nan


def median(view: View, code: str, newer_h: float | None = None, older_h: float | None = None) -> float:
    """Return the middle value; the mean of the two middle ones for an even count."""
    values = np.sort(part(view, code, newer_h, older_h))
    n = len(values)
    return float(values[n // 2] + values[(n - 1) // 2]) / 2 if n else nan


def spread(view: View, code: str) -> float:
    """Return the standard deviation of two or more values."""
    values = clean(view, code).values
    if len(values) < 2:
        return nan
    centred = values - values.sum() / len(values)
    return float(np.sqrt(centred @ centred / len(values)))


def change(view: View, code: str) -> float:
    """Return the latest minus the earliest of two or more values."""
    values = clean(view, code).values
    return float(values[-1] - values[0]) if len(values) > 1 else nan


def slope(view: View, code: str) -> float:
    """Return the least-squares trend per day over two or more moments at least one hour apart."""
    series = clean(view, code)
    if len(series.minutes) < 2 or series.minutes[-1] - series.minutes[0] < 60:
        return nan
    days = series.minutes / 1440
    days = days - days.sum() / len(days)
    return float(days @ series.values / (days @ days))


def held_mean(view: View, code: str) -> float:
    """Return the average over time, each value holding until the next one or the moment."""
    series = clean(view, code)
    if not len(series.minutes):
        return nan
    held = np.diff(series.minutes, append=view.moment)
    total = held.sum()
    return float(held @ series.values / total) if total > 0 else float(series.values[-1])


def count(view: View, code: str, newer_h: float | None = None, older_h: float | None = None) -> float:
    """Return how many values there are, 0 when none."""
    return float(len(part(view, code, newer_h, older_h)))


def total(view: View, code: str, newer_h: float | None = None, older_h: float | None = None) -> float:
    """Return the sum of the values, missing when there are none."""
    values = part(view, code, newer_h, older_h)
    return float(values.sum()) if len(values) else nan


def share_below(view: View, code: str, limit: float) -> float:
    """Return the fraction of values below a limit."""
    values = clean(view, code).values
    return float(np.count_nonzero(values < limit) / len(values)) if len(values) else nan


def share_above(view: View, code: str, limit: float) -> float:
    """Return the fraction of values above a limit."""
    values = clean(view, code).values
    return float(np.count_nonzero(values > limit) / len(values)) if len(values) else nan


def hours_since(view: View, code: str) -> float:
    """Return the hours from the latest value to the moment."""
    minutes = clean(view, code).minutes
    return float(view.moment - minutes[-1]) / 60 if len(minutes) else nan


def hours_between(view: View, code: str) -> float:
    """Return the hours from the first to the latest value."""
    minutes = clean(view, code).minutes
    return float(minutes[-1] - minutes[0]) / 60 if len(minutes) else nan


def static(view: View, code: str) -> float:
    """Return what does not change with time, such as the age."""
    value = view.static.get(code)
    return nan if value is None else float(value)


def total_per_kg_h(view: View, code: str, newer_h: float) -> float:
    """Return the sum of the last hours per kilogram of body weight and hour."""
    values = part(view, code, newer_h, None)
    weight = first(view, "Weight")
    return float(values.sum() / weight / newer_h) if len(values) and not isnan(weight) else nan


def _of_series(function: Callable[..., float]) -> Callable[..., float]:
    """Let a function of one series be called like the others."""

    def of_view(view: View, code: str, **parameters: float) -> float:
        return function(clean(view, code), view.moment, **parameters)

    return of_view


FEATURES: Mapping[str, Callable[..., float]] = {
    **{name: _of_series(function) for name, function in WINDOW.items()},
    "last": last,
    "first": first,
    "lowest": lowest,
    "highest": highest,
    "mean": mean,
    "median": median,
    "spread": spread,
    "change": change,
    "slope": slope,
    "held_mean": held_mean,
    "count": count,
    "total": total,
    "share_below": share_below,
    "share_above": share_above,
    "hours_since": hours_since,
    "hours_between": hours_between,
    "static": static,
    "total_per_kg_h": total_per_kg_h,
}


def _plausible(series: Series, code: str) -> Series:
    limits = PLAUSIBLE.get(code)
    if limits is None or not len(series.values):
        return series
    good = (series.values >= limits[0]) & (series.values <= limits[1])
    return series if good.all() else Series(series.minutes[good], series.values[good])


def _prefer(best: str, other: str) -> Callable[[View], Series]:
    """Merge two ways of measuring: at one minute the best one counts."""

    def merged(view: View) -> Series:
        a, b = clean(view, best), clean(view, other)
        if not len(a.minutes):
            return b
        if not len(b.minutes):
            return a
        at = np.minimum(a.minutes.searchsorted(b.minutes), len(a.minutes) - 1)
        alone = a.minutes[at] != b.minutes
        minutes = np.concatenate([a.minutes, b.minutes[alone]])
        order = minutes.argsort(kind="stable")
        return Series(minutes[order], np.concatenate([a.values, b.values[alone]])[order])

    return merged


def _else(best: str, other: str) -> Callable[[View], Series]:
    """Take the first way of measuring, and the other one only where there is nothing of the first."""

    def chosen(view: View) -> Series:
        series = clean(view, best)
        return series if len(series.minutes) else clean(view, other)

    return chosen


def _pair(top: str, bottom: str, combine: Callable[[Floats, Floats], Floats]) -> Callable[[View], Series]:
    """Combine each value of the second code with the latest value of the first at or before it, at most 6 h old."""

    def combined(view: View) -> Series:
        a, b = clean(view, top), clean(view, bottom)
        if not len(a.minutes) or not len(b.minutes):
            return EMPTY
        at = a.minutes.searchsorted(b.minutes, side="right") - 1
        known = at >= 0
        known[known] = b.minutes[known] - a.minutes[at[known]] <= 360
        return Series(b.minutes[known], combine(a.values[at[known]], b.values[known]))

    return combined


def _danger_zone(view: View) -> Series:
    """Count the vital signs in the danger zone of the Emergency Severity Index (version 4, decision point D) by age.

    Whole years only are known: the limits of the first three months hold for the first year. An unknown age counts as adult.
    """
    age = static(view, "age_years")
    fastest, quickest = next((limits for below, *limits in DANGER_ZONE if age < below), (100.0, 20.0))
    rates, breaths, saturations = (clean(view, code).values for code in ("HR", "RespRate", "SaO2"))
    signs = (bool((rates > fastest).any()), bool((breaths > quickest).any()), bool((saturations < 92).any()))
    return Series(np.array([view.moment]), np.array([float(sum(signs))]))


# Below this age in years: heart rate and respiratory rate above which a sign lies in the danger zone.
DANGER_ZONE = ((1.0, 180.0, 50.0), (3.0, 160.0, 40.0), (9.0, 140.0, 30.0))
DERIVED: Mapping[str, Callable[[View], Series]] = {
    "DangerZoneSigns": _danger_zone,
    "GlucoseStream": _else("GlucoseCGM", "Glucose"),
    "SBP": _prefer("SysABP", "NISysABP"),
    "DBP": _prefer("DiasABP", "NIDiasABP"),
    "MBP": _prefer("MAP", "NIMAP"),
    "PulsePressure": _pair("DBP", "SBP", lambda low, high: high - low),
    "ShockIndex": _pair("HR", "SBP", lambda rate, pressure: rate / pressure),
    "PF": _pair("FiO2", "PaO2", lambda fraction, pressure: pressure / fraction),
    "BUNCreatinine": _pair("Creatinine", "BUN", lambda creatinine, nitrogen: nitrogen / creatinine),
}
