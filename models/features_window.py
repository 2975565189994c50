"""WINDOW: features of a sensor's last minutes: name → pure function (series, moment, parameters) → number.

Each reading is looked for near the minute it should have been taken, so that a stream of one reading in 15 min and one in
5 min give the same features. Times are in minutes, as everywhere in a record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan

import numpy as np

from models.record import Floats, Series

TOLERANCE_MIN = 7.5  # a reading this far from the minute asked for still stands for it
GRID_MIN = 15.0
LEAST_SPREAD = 3.0  # mg/dL: sensors do not tell smaller differences


def ago(series: Series, moment: float, minutes: float) -> float:
    """Return the reading nearest to `minutes` before the latest one, missing when none is within 7.5 min of it."""
    if not len(series.minutes):
        return nan
    wanted = series.minutes[-1] - minutes
    place = int(np.abs(series.minutes - wanted).argmin())
    near = abs(series.minutes[place] - wanted) <= TOLERANCE_MIN and series.minutes[place] <= moment
    return float(series.values[place]) if near else nan


def change_over(series: Series, moment: float, minutes: float) -> float:
    """Return the latest reading minus that of `minutes` before."""
    return float(ago(series, moment, 0) - ago(series, moment, minutes))


def projected(series: Series, moment: float, minutes: float, ahead: float) -> float:
    """Return where the line through the latest reading and that of `minutes` before will be in `ahead` minutes."""
    return ago(series, moment, 0) + change_over(series, moment, minutes) * ahead / minutes


def bend(series: Series, moment: float, minutes: float) -> float:
    """Return how much the change over the last `minutes` exceeds the change over those before."""
    return change_over(series, moment, minutes) - (ago(series, moment, minutes) - ago(series, moment, 2 * minutes))


def lowest_over(series: Series, moment: float, minutes: float) -> float:
    """Return the smallest reading of the last `minutes`, one each quarter of an hour."""
    values = _every_quarter(series, moment, minutes)
    return float(values.min()) if len(values) else nan


def mean_over(series: Series, moment: float, minutes: float) -> float:
    """Return the average reading of the last `minutes`, one each quarter of an hour."""
    values = _every_quarter(series, moment, minutes)
    return float(values.mean()) if len(values) else nan


def spread_over(series: Series, moment: float, minutes: float) -> float:
    """Return the standard deviation of two or more readings of the last `minutes`, one each quarter of an hour."""
    values = _every_quarter(series, moment, minutes)
    return float(values.std()) if len(values) > 1 else nan


def margin_over(series: Series, moment: float, minutes: float, limit: float) -> float:
    """Return how far the latest reading lies above `limit`, in spreads of the last `minutes`, at least 3 mg/dL each."""
    return (ago(series, moment, 0) - limit) / float(np.fmax(spread_over(series, moment, minutes), LEAST_SPREAD))


def _every_quarter(series: Series, moment: float, minutes: float) -> Floats:
    """Return the readings nearest to 0, 15, 30, … min before the latest one, as far as `minutes`, those that are there."""
    if not len(series.minutes):
        return np.empty(0)
    wanted = series.minutes[-1] - np.arange(0, minutes + GRID_MIN / 2, GRID_MIN)
    right = np.minimum(series.minutes.searchsorted(wanted), len(series.minutes) - 1)
    left = np.maximum(right - 1, 0)
    nearer = np.where(wanted - series.minutes[left] <= series.minutes[right] - wanted, left, right)
    there = (np.abs(series.minutes[nearer] - wanted) <= TOLERANCE_MIN) & (series.minutes[nearer] <= moment)
    found: Floats = series.values[np.unique(nearer[there])]
    return found


WINDOW: Mapping[str, Callable[..., float]] = {
    "ago": ago,
    "change_over": change_over,
    "projected": projected,
    "bend": bend,
    "lowest_over": lowest_over,
    "mean_over": mean_over,
    "spread_over": spread_over,
    "margin_over": margin_over,
}
