"""When what a contribution rests on was measured, and how a value lies to its usual range."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from models.codes import STATIC
from models.features import clean
from models.manifest import Manifest
from models.prediction import Contribution
from models.record import Record, View
from service.review.risk.scale import scale_over

CLOSE = 1e-4  # of a value: the graph holds it as float32


@dataclass(frozen=True)
class When:
    """``at`` is the time of the value, or of the latest of ``count`` values that it was computed from; None: no clock, or no time."""

    at: datetime | None
    count: int
    is_value: bool  # it was measured as it is shown


@dataclass(frozen=True)
class RangeBar:
    """Percent of the width: where the usual range begins and ends, and where the value lies; ``beyond`` the drawing's end or not."""

    low: float
    high: float
    value: float


def view_of(manifest: Manifest, record: Record, moment_h: float | None = None) -> View:
    """Return what a release saw of a record."""
    hours = manifest.moment_h if moment_h is None else moment_h
    moment = record.latest_minute if hours is None else 60 * hours
    return record.up_to(moment, float("inf") if manifest.window_h is None else 60 * manifest.window_h)


def when(part: Contribution, view: View, origin: datetime | None) -> When | None:
    """Return when a measurement was made; None for what has no time, such as an age."""
    if part.missing or part.term in STATIC:
        return None
    series = clean(view, part.term)
    if not len(series.minutes):
        return None
    shown = np.nan if part.value is None else part.value
    same = np.flatnonzero(np.abs(series.values - shown) <= CLOSE * (1 + abs(shown)))
    minute = float(series.minutes[same[-1]] if len(same) else series.minutes[-1])
    return When(None if origin is None else origin + timedelta(minutes=minute), len(series.minutes), len(same) > 0)


def range_bar(part: Contribution) -> RangeBar | None:
    """Return where a value lies to its usual range; None where the release states no range."""
    low, high, value = part.reference_low, part.reference_high, part.value
    if value is None or low is None or high is None or high <= low:
        return None
    span = high - low
    scale = scale_over([low - span, high + span], pad=0.0)
    return RangeBar(scale.at(low), scale.at(high), min(97.0, max(3.0, scale.at(value))))


def latest(view: View, code: str) -> float | None:
    """Return the latest plausible value of a code, or its static value; None when it is not known."""
    if code in view.static:
        value = view.static[code]
        return None if np.isnan(value) else float(value)
    values = clean(view, code).values
    return float(values[-1]) if len(values) else None


