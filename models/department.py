"""A department now: from everyone's probabilities to the distribution of how many will need what, and who makes it.

The number of patients with an outcome, each with a probability of his own and independent of the others, follows the
Poisson-binomial law; the release's graph computes it exactly, one convolution a patient. The mean is the sum of the p and
the variance the sum of the p(1 - p), so each patient's share of both is exact.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isfinite, log
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UnusableInput
from models.manifest import Code, Output
from models.model import Model
from models.prediction import Identity, Prediction, Refusal

LEVELS = (0.5, 0.9)
MAX_PRESENT = 500
MONTHS_BACK = 13  # what the trend looks back on: the latest month, and the same month a year before with the one before it
MAX_STEP = 0.3  # of a logarithm: a larger change from one month to the next is a change of what is counted
TREND_FILE = "trend.json"
TREND = "attendances_next_month"  # the output of a release that the trend gives, not the graph
Person = Mapping[str, float] | Prediction | Refusal | None
People = Sequence[Person]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """Whole numbers from ``low`` to ``high``, both included. ``mass`` is the probability they hold: nearest to ``level``."""

    level: float
    low: int
    high: int
    mass: float


@dataclass(frozen=True)
class Share:
    """One patient's part: ``place`` in the order sent, ``of_mean`` = p, ``of_variance`` = p(1 - p)."""

    place: int
    of_mean: float
    of_variance: float


@dataclass(frozen=True)
class Outlook:
    """How many of those present will have one outcome: ``probabilities[k]`` is that of exactly k."""

    name: str
    label: str
    label_fr: str
    code: Code
    unit: str
    expected: float
    variance: float
    median: int
    bands: tuple[Band, ...]
    probabilities: tuple[float, ...]
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Department:
    """What ``score_department`` returns. ``left_out``: places of those who could not be scored, and are in no figure."""

    identity: Identity
    present: int
    left_out: tuple[int, ...]
    outlooks: tuple[Outlook, ...]
    completeness_error: float
    completeness_tolerance: float
    note: str
    note_fr: str
    flags: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Forecast:
    """Attendances of the next month. ``steps``: name → natural logarithm it adds; their sum is that of ``median``."""

    median: float
    bands: tuple[tuple[float, float, float], ...]  # level, low, high
    steps: Mapping[str, float]


def score_department(model: Model, present: People) -> Department:
    """Return the distribution of every outcome over those present, from their predictions or plain probabilities.

    A Refusal, or None for somebody whose data could not be read, is counted in ``left_out`` and is in no distribution.
    Raises UnusableInput for more than MAX_PRESENT people, and for a probability that is missing or outside 0 to 1.
    """
    started = perf_counter()
    if model.manifest.task != "department":
        raise UnusableInput("A department needs a release for departments, found another kind.", code="wrong_model")
    if len(present) > MAX_PRESENT:
        raise UnusableInput(
            f"At most {MAX_PRESENT} people may be present, found {len(present)}. Send one department.", code="too_many_people"
        )
    outputs = [output for output in model.manifest.outputs if output.name != TREND]
    left_out = tuple(place for place, one in enumerate(present) if one is None or isinstance(one, Refusal))
    places = [place for place in range(len(present)) if place not in left_out]
    table = np.array([[_chance(present[place], output.name) for place in places] for output in outputs], np.float64)
    table = table.reshape(len(outputs), len(places))
    padded = np.zeros((len(outputs), max(len(places), 1)), np.float32)
    padded[:, : len(places)] = table
    arrays = model.session.run(padded, ("pmf", "mean"))
    pmf = arrays["pmf"].astype(np.float64)[:, : len(places) + 1]
    means = padded.astype(np.float64).sum(axis=1)
    told = pmf @ np.arange(pmf.shape[1])
    gap = float((np.abs(told - means) / (1 + means) + np.abs(pmf.sum(axis=1) - 1)).max())
    outlooks = tuple(_outlook(output, p, row, places) for output, p, row in zip(outputs, table, pmf, strict=True))
    explains = model.manifest.explains
    return Department(
        identity=replace(model.identity, input_sha256=hashlib.sha256(str(padded.shape).encode() + padded.tobytes()).hexdigest()),
        present=len(present), left_out=left_out, outlooks=outlooks,
        completeness_error=gap, completeness_tolerance=explains.completeness_tolerance,
        note=explains.note, note_fr=explains.note_fr,
        flags=(f"people_left_out:{len(left_out)}",) if left_out else (),
        timings_ms={"total": 1000 * (perf_counter() - started)},
    )


def band_of(pmf: Floats, level: float) -> Band:
    """Return the band nearest a level, grown from the likeliest number towards the likelier neighbour.

    The law has one peak, so every such band is the shortest of its mass. Whole numbers cannot meet a level exactly: of the
    bands passed on the way, the one whose mass lies nearest is taken.
    """
    low = high = int(pmf.argmax())
    mass = float(pmf[low])
    best = Band(level, low, high, mass)
    while mass < level and (low > 0 or high < len(pmf) - 1):
        below = pmf[low - 1] if low > 0 else -1.0
        above = pmf[high + 1] if high < len(pmf) - 1 else -1.0
        if below >= above:
            low -= 1
        else:
            high += 1
        mass += float(max(below, above))
        if abs(mass - level) < abs(best.mass - level):
            best = Band(level, low, high, mass)
    return replace(best, mass=min(best.mass, 1.0))


def forecast(model: Model, counts: Sequence[float], days: Sequence[int], month: int) -> Forecast:
    """Forecast one month of attendances from the ``counts`` before it, oldest first, at least MONTHS_BACK.

    ``days`` are those of the same months and then of the month asked for (one more); ``month`` is its number, 1 to 12.
    Raises UnusableInput when a count is not above 0, or fewer months are given.
    """
    if len(counts) < MONTHS_BACK or len(days) != len(counts) + 1 or not all(isfinite(c) and c > 0 for c in counts):
        raise UnusableInput(
            f"A trend needs at least {MONTHS_BACK} whole months with attendances, and the days of each and of the next.",
            code="bad_history",
        )
    return forecast_with(read_trend(model), np.array(counts, np.float64), np.array(days, np.float64), month)


def read_trend(model: Model) -> dict[str, Any]:
    """Return the trend's numbers: weights by step, the common step into each month, errors at the ends of the bands."""
    found: dict[str, Any] = json.loads((model.folder / TREND_FILE).read_text("utf-8"))
    return found


def forecast_with(trend: Mapping[str, Any], counts: Floats, days: Floats, month: int) -> Forecast:
    """Apply a trend's numbers. The daily rate of the latest month carries on, but for four weighted steps."""
    rates = np.log(counts / days[:-1])
    steps = {"daily_rate": float(rates[-1]), "days": log(days[-1])}
    for name, value in changes(rates, trend["common_step"][month - 1]).items():
        steps[name] = trend["weights"][name] * max(-MAX_STEP, min(MAX_STEP, value))
    middle = sum(steps.values())
    bands = tuple((one["level"], exp(middle + one["low"]), exp(middle + one["high"])) for one in trend["bands"])
    return Forecast(exp(middle), bands, steps)


def changes(rates: Floats, common_step: float) -> dict[str, float]:
    """Return what a trend weighs, from logarithms of daily rates (months,), oldest first."""
    return {
        "latest_step": float(rates[-1] - rates[-2]),
        "above_three_months": float(rates[-1] - rates[-3:].mean()),
        "own_step_last_year": float(rates[-12] - rates[-13]),
        "common_step_last_year": float(common_step),
    }


def _chance(one: Person, name: str) -> float:
    if isinstance(one, Prediction):
        value: Any = next((finding.value for finding in one.findings if finding.name == name), None)
    else:
        value = one.get(name) if isinstance(one, Mapping) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UnusableInput(
            f"Everyone present needs the probability of {name} from 0 to 1, found somebody without.", code="bad_probability"
        )
    return float(value)


def _outlook(output: Output, p: Floats, pmf: Floats, places: Sequence[int]) -> Outlook:
    return Outlook(
        output.name, output.label, output.label_fr, output.code, output.unit,
        expected=float(p.sum()), variance=float((p * (1 - p)).sum()),
        median=int(np.searchsorted(np.cumsum(pmf), 0.5 * pmf.sum())),
        bands=tuple(band_of(pmf, level) for level in LEVELS),
        probabilities=tuple(pmf.tolist()),
        shares=tuple(
            Share(place, float(one), float(one * (1 - one))) for place, one in zip(places, p.tolist(), strict=True)
        ),
    )
