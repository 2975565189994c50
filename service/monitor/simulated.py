"""Weeks that never were, drawn from a reference: for the drill, and to see what an alarm would look like.

Every stream is drawn on its own, so a case as a whole is nobody and nothing like a person; a reference is drawn the same way
first, so that what the drill compares with is as uncertain as a real one of as many cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.reference import Reference, Stream
from models.reference_made import reference_of
from service.monitor.tally import Seen, Tally, tally_of
from service.monitor.weeks import Said, Week

Columns = dict[str, NDArray[np.float64]]  # stream → values (n,), NaN where missing
WARDS = ("Ward A", "Ward B", "Ward C")
LEAST_REFUSED = 0.03  # a release that refuses fewer gets so many here: from one in a hundred to two is lost in 150 a week


@dataclass(frozen=True)
class Ordinary:
    """What a week is like when nothing is amiss. A drill changes one thing of it."""

    per_week: int = 150
    verdicts: int = 30
    against: tuple[float, ...] = (0.1, 0.1, 0.1)  # share of verdicts that contradict, a ward each
    alerts: int = 15
    precision: float = 0.6
    seconds: float = 0.2
    refused: float = 0.02
    change: Callable[[Columns], Columns] | None = None


def reference_drawn(manifest: Manifest, like: Reference, week: Ordinary, rng: np.random.Generator) -> Reference:
    """Return a reference of as many cases as ``like``, drawn from it."""
    seen = cases_drawn(manifest, like, week, max(like.n, 200), rng)
    return reference_of([(one.status, one.statistics, one.values) for one in seen], manifest, like.made_from)


def week_drawn(manifest: Manifest, like: Reference, reference: Reference, week: Ordinary, number: int,
               rng: np.random.Generator) -> tuple[Week, Tally]:
    """Return one week and its last day alone. Loads vary: by chance, and by a fifth from week to week."""
    n = int(rng.poisson(week.per_week * rng.gamma(25, 1 / 25)))
    seen = cases_drawn(manifest, like, week, n, rng)
    tally = tally_of(seen, reference)
    return Week(f"{number:04d}", tally, _said(week, rng)), tally


def cases_drawn(manifest: Manifest, like: Reference, week: Ordinary, n: int, rng: np.random.Generator) -> list[Seen]:
    """Return n cases of such a week."""
    columns = {stream.name: _values(stream, n, rng) for stream in like.streams}
    if week.change is not None:
        columns = week.change(columns)
    refused = rng.random(n) < week.refused
    seconds = week.seconds * np.exp(rng.normal(0, 0.4, n) + rng.normal(0, 0.1))
    inputs = {name: values for name, values in columns.items() if not name.startswith("output.")}
    outputs = {name.removeprefix("output."): values for name, values in columns.items() if name.startswith("output.")}
    thresholds = {output.name: output.threshold for output in manifest.outputs}
    found = []
    for place in range(n):
        statistics = _known(inputs, place)
        scored = not refused[place]
        said = _known(outputs, place) if scored else {}
        positive = {name: value >= limit for name, value in said.items() if (limit := thresholds[name]) is not None}
        found.append(Seen("scored" if scored else "refused", "" if scored else "out_of_distribution", float(seconds[place]), said,
                          positive, statistics, {}))
    return found


def _known(columns: Columns, place: int) -> dict[str, float]:
    return {name: value for name, values in columns.items() if not isnan(value := float(values[place]))}


def _values(stream: Stream, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a bin, then a value in it; beyond the outer edges an exponential tail as wide as the next bin."""
    shares = np.asarray(stream.counts, dtype=np.float64)
    place = rng.choice(len(shares), n, p=shares / shares.sum())
    edges = np.asarray(stream.edges)
    width = float(edges[1] - edges[0]) if len(edges) > 1 else max(stream.sd, 1e-3)
    last = float(edges[-1] - edges[-2]) if len(edges) > 1 else width
    low, high = np.r_[np.nan, edges, np.nan], np.r_[edges, np.nan, np.nan]
    values = low[place] + rng.random(n) * (high[place] - low[place])
    values = np.where(place == 0, edges[0] - width * np.minimum(rng.exponential(0.5, n), 3), values)
    values = np.where(place == len(edges), edges[-1] + last * np.minimum(rng.exponential(0.5, n), 3), values)
    if stream.name.startswith("output.") and stream.edges[0] > 0:
        values = np.maximum(values, 0.0)
    return np.where(place == len(edges) + 1, np.nan, values)


def _said(week: Ordinary, rng: np.random.Generator) -> Said:
    groups = {}
    for ward, share in zip(WARDS, week.against, strict=True):
        given = int(rng.poisson(week.verdicts / len(WARDS)))
        groups[f"department: {ward}"] = int(rng.binomial(given, share)), given
    alerts = int(rng.poisson(week.alerts))
    return Said(sum(n for _, n in groups.values()), sum(hit for hit, _ in groups.values()), alerts,
                int(rng.binomial(alerts, 1 - week.precision)), groups)


def injected(manifest: Manifest, like: Reference, week: Ordinary) -> Mapping[str, tuple[str, Ordinary]]:
    """Return name of a mishap → (kind of alarm it must raise, the week it makes)."""
    found: dict[str, tuple[str, Ordinary]] = {
        "refusals doubled": ("refusals", replace(week, refused=2 * week.refused)),
        "one of three readers contradicts six in ten": ("agreement", replace(week, against=(0.6, *week.against[1:]))),
        "half as many alerts are right": ("precision", replace(week, precision=week.precision / 2)),
        "results take three times as long": ("latency", replace(week, seconds=3 * week.seconds)),
        "scores a standard deviation higher": ("output_drift", replace(week, change=_shifted(like, "output.", 1.0))),
    }
    if manifest.task == "risk":
        known = [one for one in like.streams if one.name.startswith("feature.") and one.sd > 0]
        measured = max(known, key=lambda one: one.counts[-1] < 0.3 * sum(one.counts) and len(one.edges))
        aged = next((one.name for one in known if "age" in one.name.split(".")[1].split("_")), measured.name)
        found |= {
            "one laboratory value in another unit": ("input_drift", replace(week, change=_times(measured.name, 18.0))),
            "one laboratory value no longer comes": ("input_drift", replace(week, change=_missing(measured.name))),
            "an older population": ("input_drift", replace(week, change=_shifted(like, aged, 0.75))),
        }
    else:
        found["another scanner: softer, less contrast"] = ("input_drift", replace(week, change=_scanner))
    return found


def _shifted(like: Reference, prefix: str, by_sd: float) -> Callable[[Columns], Columns]:
    sd: dict[str, Any] = {one.name: one.sd for one in like.streams if one.name.startswith(prefix)}
    return lambda columns: {name: values + by_sd * sd.get(name, 0.0) for name, values in columns.items()}


def _times(stream: str, by: float) -> Callable[[Columns], Columns]:
    return lambda columns: {**columns, stream: columns[stream] * by}


def _missing(stream: str) -> Callable[[Columns], Columns]:
    return lambda columns: {**columns, stream: np.full_like(columns[stream], np.nan)}


def _scanner(columns: Columns) -> Columns:
    by = {"input.sd": 0.8, "input.p95": 0.9, "input.sharpness": 0.85, "input.edges": 0.85}
    return {name: values * by.get(name, 1.0) for name, values in columns.items()}
