"""What if: the same record with other values, scored by the same release. Arithmetic of the model, kept nowhere.

A measurement is changed as if its latest value had been another (its first, where the release looks at the first alone);
what was not measured is added at the moment of scoring. What nobody can change, and one word of a list, is not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isfinite

import numpy as np

from models.codes import DESCRIBED, MEASURED, STATIC, meanings_of, range_of, unit_of
from models.explain.additive import MAX_EXPONENT
from models.explain.what_if import MERGED
from models.features import clean
from models.manifest import Manifest, Range
from models.model import Model
from models.prediction import Contribution, Prediction, Result
from models.raw_codes import raw_codes
from models.record import Record, Series, View
from service.problem import ProblemError
from service.review.risk.measured import latest, view_of

OFFERED = 14
TELLING = 0.02  # on the scale of the score: a measurement that moves less comes after what is no measurement
FIXED = frozenset({"age_years", "male", "sex", "icu_type", "arrival_hour", "arrival_weekday", "reasons_for_visit"})
OF_A_LIST = ("reason_", "main_", "other_")  # one word of a list: it does not change alone
# What is measured in several ways, and which of them a changed value is written as when none was.
SOURCES: Mapping[str, tuple[str, ...]] = {**MERGED, "GlucoseStream": ("GlucoseCGM", "Glucose")}
STEPS_IN_RANGE = 100
COUNT_HIGH = 10.0


@dataclass(frozen=True)
class Input:
    """One thing that may be changed. ``value`` as it is, None when not known; ``choices`` where it stands for words.

    ``low`` and ``high`` are the ends of the slider: beyond, a value can be typed, and the model may decline it.
    """

    code: str
    label: str
    label_fr: str
    unit: str
    value: float | None
    low: float
    high: float
    step: float
    reference: Range
    choices: tuple[tuple[str, str, str], ...] = ()  # value, English, French


@dataclass(frozen=True)
class Moved:
    """A measurement whose part changed: from ``before`` to ``after`` on the scale of the score."""

    part: Contribution
    before: float
    after: float

    @property
    def change(self) -> float:
        """By how much its part changed."""
        return self.after - self.before

    @property
    def before_factor(self) -> float:
        """What it multiplied the odds or the quantity by."""
        return exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, self.before)))

    @property
    def after_factor(self) -> float:
        """What it multiplies them by now."""
        return exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, self.after)))


def inputs_of(manifest: Manifest, record: Record, moment_h: float | None, result: Result,
              reach: Mapping[str, float]) -> tuple[Input, ...]:
    """Return what is offered to be changed, measurements that tell something first, then the most telling; at most OFFERED.

    ``reach``: of what is not known, how far it could move the score.
    """
    view = view_of(manifest, record, moment_h)
    weights = _weights(result)

    def worth(code: str) -> tuple[bool, float]:
        weight = reach.get(code) or weights.get(code, 0.0)
        return code in STATIC or weight < TELLING, -weight

    codes = sorted(changeable(manifest), key=worth)
    return tuple(input_of(code, view) for code in codes[:OFFERED])


def changeable(manifest: Manifest) -> tuple[str, ...]:
    """Return the codes of a release that a person may change: those it names, with what its ratios are computed from."""
    named: dict[str, None] = {}
    for feature in manifest.features:
        code = str(feature.params.get("code", ""))
        found = (code,) if code in (*SOURCES, *MEASURED, *STATIC) else raw_codes(code)
        for one in found:
            named[next((merged for merged, ways in SOURCES.items() if one in ways), one)] = None
    return tuple(one for one in named if one in DESCRIBED and one not in FIXED and not one.startswith(OF_A_LIST))


def changed(manifest: Manifest, record: Record, moment_h: float | None, values: Mapping[str, float]) -> Record:
    """Return the record with other values. Raises ProblemError for a code that may not be changed, and for no number."""
    allowed = changeable(manifest)
    if any(code not in allowed for code in values):
        raise ProblemError("bad_query", "Only what the page offers can be changed; found something else.")
    if not all(isfinite(value) for value in values.values()):
        raise ProblemError("bad_query", "A changed value must be a number, found something else.")
    view = view_of(manifest, record, moment_h)
    whole = record.up_to(record.latest_minute)
    static, series = dict(whole.static), {code: whole.series(code) for code in whole.codes}
    at_first = _looked_at_first(manifest)
    for code, value in values.items():
        if code in STATIC:
            static[code] = value
        else:
            for name in _ways(code, view):
                series[name] = _set(series.get(name), view, name, value, first=code in at_first)
    return Record(series, static, record.origin)


def score(model: Model, record: Record, moment_h: float | None, values: Mapping[str, float]) -> Result:
    """Score the record with other values. Nothing is kept."""
    return model.predict(changed(model.manifest, record, moment_h, values), moment_h=moment_h)


def bare(value: float) -> str:
    """Return a value as a field of a form shows it: with the digits that were measured, and no more."""
    text = f"{value:.4g}"
    return text if "e" not in text else f"{value:.0f}"


def moved(before: Prediction, after: Prediction, finding: str, *, most: int = 6) -> tuple[Moved, ...]:
    """Return the measurements whose parts of a finding changed most, those that changed at all."""
    first = before.findings[0].name
    old = {part.term: part for part in before.explanation.measurements if (part.finding or first) == finding}
    new = {part.term: part for part in after.explanation.measurements if (part.finding or first) == finding}
    told = [Moved(part, old[term].logit if term in old else 0.0, part.logit) for term, part in new.items()]
    shown = [one for one in told if abs(one.change) > 1e-4]
    return tuple(sorted(shown, key=lambda one: -abs(one.change))[:most])


def input_of(code: str, view: View) -> Input:
    """Return one thing that may be changed, as it is."""
    label = DESCRIBED[code]["label"]
    value = latest(view, code)
    words = tuple((one, english, french) for one, (english, french) in meanings_of(code).items())
    reference = range_of(code, "reference")
    low, high = _ends(code, reference, value)
    return Input(code, label["en"], label["fr"], unit_of(code), value, low, high, _step(code, low, high), reference, words)


def _ends(code: str, reference: Range, value: float | None) -> tuple[float, float]:
    """Return the ends of a slider: the usual range of a code, else its reference range widened, always with the value inside."""
    usual, plausible = range_of(code, "usual"), _plausible(code)
    if usual.low is not None and usual.high is not None:
        low, high = usual.low, usual.high
    elif reference.low is not None and reference.high is not None and reference.high > reference.low:
        span = reference.high - reference.low
        low, high = reference.low - 1.5 * span, reference.high + 2.5 * span
    else:
        low = plausible.low if plausible.low is not None else 0.0
        high = plausible.high if plausible.high is not None else low + COUNT_HIGH
    low = low if plausible.low is None else max(low, plausible.low)
    high = high if plausible.high is None else min(high, plausible.high)
    if value is not None:
        low, high = min(low, value), max(high, value)
    step = _step(code, low, high)
    return round(float(np.floor(low / step)) * step, 6), round(float(np.ceil(high / step)) * step, 6)


def _plausible(code: str) -> Range:
    for one in (code, *SOURCES.get(code, ())):
        if (found := range_of(one, "plausible")) != Range():
            return found
    return Range()


def _step(code: str, low: float, high: float) -> float:
    """Return the step of a slider: a round number near a hundredth of its range; whole numbers for what is counted."""
    if unit_of(code) in ("{count}", "{score}"):
        return 1.0
    raw = (high - low) / STEPS_IN_RANGE
    power = 10.0 ** np.floor(np.log10(raw)) if raw > 0 else 1.0
    return float(min(1.0, next(one * power for one in (1, 2, 5, 10) if one * power >= raw))) if raw < 1 else 1.0


def _ways(code: str, view: View) -> tuple[str, ...]:
    """Return the codes of the record that a changed value is written as: those that were measured, else one of them."""
    ways = SOURCES.get(code, (code,))
    return tuple(one for one in ways if len(clean(view, one).values)) or ways[-1:]


def _set(series: Series | None, view: View, code: str, value: float, *, first: bool) -> Series:
    """Put a value in the place of the one that counts: the latest plausible one in sight; none there: add it at the moment."""
    seen = clean(view, code).minutes
    if series is None or not len(seen):
        minute = view.moment
        minutes = np.append(series.minutes, minute) if series is not None else np.array([minute])
        values = np.append(series.values, value) if series is not None else np.array([value])
        return Series(minutes, values)
    counted = clean(view, code)
    at = (counted.minutes[0], counted.values[0]) if first else (counted.minutes[-1], counted.values[-1])
    place = int(np.flatnonzero((series.minutes == at[0]) & (series.values == at[1]))[0 if first else -1])
    values = series.values.copy()
    values[place] = value
    return Series(series.minutes, values)


def _looked_at_first(manifest: Manifest) -> frozenset[str]:
    """Return the codes of which a release looks at the first value alone."""
    functions: dict[str, set[str]] = {}
    for feature in manifest.features:
        code = str(feature.params.get("code", ""))
        for one in (code, *(raw_codes(code) if code not in SOURCES and code not in STATIC else ())):
            functions.setdefault(one, set()).add(feature.function)
    return frozenset(code for code, told in functions.items() if told == {"first"})


def _weights(result: Result) -> dict[str, float]:
    if not isinstance(result, Prediction):
        return {}
    weights: dict[str, float] = {}
    for part in result.explanation.measurements:
        weights[part.term] = weights.get(part.term, 0.0) + abs(part.logit)
    return weights

