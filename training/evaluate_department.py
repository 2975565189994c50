"""Figures of a department release: shifts drawn from the test visits, and the last months of attendances, one at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.department import LEVELS, Department, forecast_with, read_trend, score_department
from models.model import Model
from models.prediction import Prediction
from models.shelf import RELEASED
from training import bootstrap
from training.data import nhamcs, nhs_ae
from training.findings import Assessment, bar, between
from training.fit_department import HELD_OUT
from training.recipe import Recipe

PROFILE = f"{nhamcs.FOLDER}/arrival_profile_weekday_hour.csv"
Array = NDArray[np.float64]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Visits:
    """Test visits that were scored: weekday 0-6 from Monday and hour (N,), probabilities and outcomes (N, 2)."""

    weekday: Array
    hour: Array
    p: Array
    y: Array
    names: tuple[str, ...]
    refused: int


def evaluate_department(
    model: Model, recipe: Recipe, root: Path, *, quick: bool, say: Callable[[str], None]
) -> Assessment:
    """Draw shifts by the profile of arrivals and see how often the bands hold the truth; forecast the held-out months."""
    resamples = 100 if quick else bootstrap.RESAMPLES
    say("triage of the test visits")
    visits = scored_visits(Model(RELEASED / recipe.fit["triage"]), root, quick=quick)
    say("shifts")
    arrivals = arrivals_of(root, recipe.fit["visits_per_day"])
    rng = np.random.default_rng(recipe.seed)
    shifts = [drawn_shift(rng, arrivals, visits, recipe.fit["hours"]) for _ in range(recipe.fit["shifts"] // (10 if quick else 1))]
    departments = [score_department(model, [dict(zip(visits.names, row, strict=True)) for row in visits.p[who].tolist()])
                   for who in shifts]
    rows = [shift_row(visits, shifts, departments, k, resamples) for k in range(len(visits.names))]
    say("attendances")
    trend = trend_row(model, root, resamples)
    figures = {**{f"{name}_{key}": one for name, row in zip(visits.names, rows, strict=True)
                  for key, one in row["figures"].items()}, "mape": trend["figures"]["mape"]}
    error = max(one.completeness_error for one in departments)
    return Assessment(
        title=str(recipe.evaluation["title"]),
        rows=[*rows, trend],
        bars=[*(_bar(one, figures[one["figure"]]) for one in recipe.bars),
              bar("The law sums to one and its mean to everybody's probabilities, largest relative error", "<=", 1e-5,
                  {"value": error})],
        audits={"completeness_max_error": error, "shifts": len(shifts),
                "present_on_average": float(np.mean([len(who) for who in shifts])), "visits_refused": visits.refused},
        references=[{"name": "Last month's attendances, carried on", "n": trend["n"],
                     "mape": trend["figures"]["mape_last_value"], "mape_ours_less_this": trend["figures"]["mape_less_last_value"]},
                    {"name": "Same month a year before", "n": trend["n"], "mape": trend["figures"]["mape_last_year"]}],
        unknown=list(recipe.evaluation["unknown"]),
    )


def scored_visits(triage: Model, root: Path, *, quick: bool) -> Visits:
    """Score the test visits as serving does; those refused are counted and left out."""
    cases = nhamcs.records("test", root)[:: 8 if quick else 1]
    results = triage.predict_many([case.record for case in cases], batch=256)
    names = tuple(output.name for output in triage.manifest.outputs)
    kept = [(case, one) for case, one in zip(cases, results, strict=True)
            if isinstance(one, Prediction) and not np.isnan(case.record.static["arrival_hour"])]
    static = [case.record.static for case, _ in kept]
    return Visits(
        weekday=np.array([one["arrival_weekday"] for one in static]),
        hour=np.array([one["arrival_hour"] for one in static]),
        p=np.array([[finding.value for finding in one.findings] for _, one in kept]),
        y=np.array([case.labels for case, _ in kept]),
        names=names, refused=sum(not isinstance(one, Prediction) for one in results),
    )


def arrivals_of(root: Path, visits_per_day: float) -> Array:
    """Return the expected arrivals by weekday from Monday and hour (7, 24) of a department of a given size."""
    counts = np.zeros((7, 24))
    with (root / PROFILE).open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            counts[(int(row["VDAYR"]) - 2) % 7, int(row["hour"]) % 24] += float(row["visits_unweighted"])
    return np.asarray(counts * 7 * visits_per_day / counts.sum(), dtype=np.float64)


def drawn_shift(rng: np.random.Generator, arrivals: Array, visits: Visits, hours: int) -> NDArray[np.intp]:
    """Draw who came during one shift: hour by hour as many as the profile says, each a test visit of that day and hour."""
    start = int(rng.integers(7 * 24))
    who: list[int] = []
    for hour in range(start, start + hours):
        day, clock = divmod(hour % (7 * 24), 24)
        alike = np.flatnonzero((visits.weekday == day) & (visits.hour == clock))
        if len(alike):
            who += rng.choice(alike, rng.poisson(arrivals[day, clock])).tolist()
    return np.array(who, dtype=np.intp)


def shift_row(visits: Visits, shifts: list[NDArray[np.intp]], departments: list[Department], k: int, resamples: int) -> Figures:
    """Return how the bands of one outcome did over the shifts."""
    truth = np.array([visits.y[who, k].sum() for who in shifts])
    outlooks = [one.outlooks[k] for one in departments]
    groups = [str(i) for i in range(len(shifts))]

    def over_shifts(values: Any) -> Figures:
        return bootstrap.figure(bootstrap.mean_of(values), groups, resamples=resamples).as_json()

    figures: Figures = {}
    for place, level in enumerate(LEVELS):
        bands = [one.bands[place] for one in outlooks]
        held = np.array([band.low <= real <= band.high for band, real in zip(bands, truth, strict=True)])
        figures[f"covered_{100 * level:.0f}"] = over_shifts(held)
        figures[f"stated_{100 * level:.0f}"] = over_shifts([band.mass for band in bands])
        figures[f"width_{100 * level:.0f}"] = over_shifts([band.high - band.low + 1 for band in bands])
    figures["observed_less_expected"] = over_shifts(truth - np.array([one.expected for one in outlooks]))
    figures["error_of_median"] = over_shifts(np.abs(truth - np.array([one.median for one in outlooks])))
    return {"by": "population", "group": f"shifts: {outlooks[0].label}",
            "what": "shifts drawn from the test visits by the weekday and hour of arrival; intervals over shifts",
            "n": len(shifts), "patients": len(visits.p), "events": None, "figures": figures}


def trend_row(model: Model, root: Path, resamples: int) -> Figures:
    """Forecast each held-out month from the true ones before it, beside the last value and the same month last year."""
    data, trend = nhs_ae.attendances(root), read_trend(model)
    last = len(data.months) - HELD_OUT
    groups: list[str] = []
    ours: list[float] = []
    carried: list[float] = []
    year_ago: list[float] = []
    held: dict[float, list[bool]] = {level: [] for level in LEVELS}
    for provider, series in enumerate(data.counts):
        for t in range(last, len(data.months)):
            made = forecast_with(trend, series[:t], data.days[: t + 1], data.months[t][1])
            groups.append(str(provider))
            ours.append(abs(made.median / series[t] - 1))
            carried.append(abs(series[t - 1] / series[t] - 1))
            year_ago.append(abs(series[t - 12] / series[t] - 1))
            for level, low, high in made.bands:
                held[level].append(low <= series[t] <= high)

    def over_providers(values: Any) -> Figures:
        return bootstrap.figure(bootstrap.mean_of(values), groups, resamples=resamples).as_json()

    percent = {name: 100 * np.array(values) for name, values in
               (("mape", ours), ("mape_last_value", carried), ("mape_last_year", year_ago))}
    figures = {name: over_providers(values) for name, values in percent.items()}
    figures["mape_less_last_value"] = over_providers(percent["mape"] - percent["mape_last_value"])
    figures |= {f"covered_{100 * level:.0f}": over_providers(held[level]) for level in LEVELS}
    return {"by": "population", "group": "attendances of the next month",
            "what": f"the last {HELD_OUT} months of every provider, one month ahead; intervals over providers",
            "n": len(groups), "patients": len(data.counts), "events": None, "figures": figures}


def _bar(one: dict[str, Any], reached: Figures) -> dict[str, Any]:
    if one["rule"] == "within":
        return between(one["what"], one["low"], one["high"], reached)
    return bar(one["what"], one["rule"], one["value"], reached)
