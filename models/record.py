"""Record: one subject's measurements, looked at only up to a moment, so that nothing after it can leak into a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.errors import UnusableInput

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """One measurement: minutes since the record's origin, our code, a finite value, its UCUM unit."""

    minute: float
    code: str
    value: float
    unit: str


@dataclass(frozen=True)
class Series:
    """All values of one code, by time. `minutes` never decreases; both arrays are (n,) and read-only."""

    minutes: Floats
    values: Floats


EMPTY = Series(np.empty(0), np.empty(0))


@dataclass(frozen=True)
class View:
    """What may be seen of a record at one moment: events with moment − window ≤ minute ≤ moment, both included."""

    moment: float
    window: float
    static: Mapping[str, float]
    _series: Mapping[str, Series]
    remembered: dict[object, Series] = field(default_factory=dict, compare=False, repr=False)

    @property
    def codes(self) -> frozenset[str]:
        """Codes with at least one value in sight."""
        return frozenset(self._series)

    def series(self, code: str) -> Series:
        """Return the raw values of one code; empty when nothing was measured."""
        return self._series.get(code, EMPTY)


class Record:
    """One subject's events in time, with what does not change (`age_years`, `sex`, `icu_type`, `height_cm`, …).

    `origin` is the wall-clock time of minute 0 (admission to the unit), None when only relative times are known.
    `up_to` is the only way to look at the events.
    """

    __slots__ = ("_events", "_static", "origin")

    def __init__(
        self, series: Mapping[str, Series], static: Mapping[str, float], origin: datetime | None = None
    ) -> None:
        self._events = {code: _frozen(code, one) for code, one in series.items() if len(one.minutes)}
        self._static = MappingProxyType(dict(static))
        self.origin = origin

    @classmethod
    def of(cls, events: Iterable[Event], static: Mapping[str, float], origin: datetime | None = None) -> Record:
        """Build a record from events in any order. Raises UnusableInput when a code comes in two units."""
        rows: dict[str, list[tuple[float, float]]] = {}
        units: dict[str, str] = {}
        for event in events:
            if units.setdefault(event.code, event.unit) != event.unit:
                raise UnusableInput(
                    f"{event.code} must come in one unit, found {units[event.code]!r} and {event.unit!r}. "
                    "Convert before building a record."
                )
            rows.setdefault(event.code, []).append((event.minute, event.value))
        series = {}
        for code, pairs in rows.items():
            table = np.array(pairs, dtype=np.float64)
            series[code] = Series(table[:, 0], table[:, 1])
        return cls(series, static, origin)

    @property
    def static(self) -> Mapping[str, float]:
        """What does not change with time; NaN or absent when unknown."""
        return self._static

    @property
    def latest_minute(self) -> float:
        """The minute of the latest event; 0 when there is none."""
        return max((float(one.minutes[-1]) for one in self._events.values()), default=0.0)

    def up_to(self, moment: float, window: float = float("inf")) -> View:
        """Return what was known at `moment` (minutes since origin), looking back over `window` minutes."""
        seen = {}
        for code, one in self._events.items():
            start = int(np.searchsorted(one.minutes, moment - window, side="left"))
            stop = int(np.searchsorted(one.minutes, moment, side="right"))
            if stop > start:
                seen[code] = Series(one.minutes[start:stop], one.values[start:stop])
        return View(moment, window, self._static, seen)

    def __len__(self) -> int:
        """Count all events, whatever their moment."""
        return sum(len(one.minutes) for one in self._events.values())

    def __repr__(self) -> str:
        """Say how much is inside, never what: records hold personal data."""
        return f"Record({len(self._events)} codes, {len(self)} events)"


def _frozen(code: str, series: Series) -> Series:
    minutes = np.asarray(series.minutes, dtype=np.float64)
    values = np.asarray(series.values, dtype=np.float64)
    if minutes.ndim != 1 or minutes.shape != values.shape:
        raise UnusableInput(f"{code}: times and values must be two lists of one length. Send one value per time.")
    if not (np.isfinite(minutes).all() and np.isfinite(values).all()):
        raise UnusableInput(f"{code}: times and values must be finite numbers. Leave missing values out.")
    # Equal times are ordered by value, so that the order of sending changes nothing.
    order = np.lexsort((values, minutes))
    minutes, values = minutes[order], values[order]
    minutes.setflags(write=False)
    values.setflags(write=False)
    return Series(minutes, values)
