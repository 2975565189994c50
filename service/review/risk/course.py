"""What a sensor measured in the hours a release looked at, as a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.codes import DESCRIBED, range_of, unit_of
from models.manifest import Manifest
from models.raw_codes import measured_codes
from models.record import View
from service.review.risk.curve import Curve, Given, curve

LEAST = 4  # values that make a course


@dataclass(frozen=True)
class Measured:
    """One thing that was measured, as a curve. ``limit``: beyond it the model has nothing left to predict."""

    label: str
    label_fr: str
    unit: str
    curve: Curve
    limit: float | None


def measured_course(manifest: Manifest, view: View, origin: datetime) -> tuple[Measured, ...]:
    """Return the course of what a release with a window looked at, a curve a code; nothing for a release that sees whole stays."""
    if manifest.window_h is None:
        return ()
    told: list[Measured] = []
    for code in sorted(measured_codes(manifest) & view.codes):
        series = view.series(code)
        given = [Given(origin + timedelta(minutes=float(minute)), float(value))
                 for minute, value in zip(series.minutes, series.values, strict=True)]
        told += measured(manifest, code, given) if len(given) >= LEAST else ()
    return tuple(told)


def measured(manifest: Manifest, code: str, given: Sequence[Given],
             spans: Sequence[tuple[datetime, datetime]] = ()) -> tuple[Measured, ...]:
    """Draw the values of one code with its usual range, its limit and stretches of time that are marked."""
    limit, reference = _limit(manifest, code), range_of(code, "reference")
    bands = [("usual", reference.low, reference.high)] if reference.low is not None and reference.high is not None else []
    drawn = curve(given, bands=bands, limit=limit, spans=spans)
    label = DESCRIBED[code]["label"]
    return (Measured(label["en"], label["fr"], unit_of(code), drawn, limit),) if drawn else ()


def _limit(manifest: Manifest, code: str) -> float | None:
    """Return the value below which what the release predicts has happened, where it states one."""
    for named, limits in manifest.refuses.within.items():
        if limits.low is not None and (named == code or code in measured_codes(manifest)):
            return limits.low
    return None
