"""What was not known and what it would add: the same record scored with each missing value at the ends of its usual range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

from models.manifest import Range
from models.model import Model
from models.prediction import Contribution, Prediction
from models.record import Record
from service.review.risk.change import changeable, score

MOST_TRIED = 6
OPEN = Range()


@dataclass(frozen=True)
class Missing:
    """One thing that was not known. ``low`` and ``high``: the finding's value when it is in its usual range; None: not tried.

    ``tried`` are the values it was given, ``words`` what they stand for where they are words.
    """

    part: Contribution
    low: float | None = None
    high: float | None = None
    tried: tuple[float, ...] = ()
    words: tuple[tuple[str, str, str], ...] = ()
    reference: Range = OPEN

    @property
    def reach(self) -> float:
        """How far it can move the score, on the scale of logarithms; 0 where it was not tried."""
        return log(self.high / self.low) if self.low and self.high else 0.0


def missing(model: Model, record: Record, moment_h: float | None, result: Prediction, finding: str) -> tuple[Missing, ...]:
    """Return what was not known of one finding, what could change it most first."""
    first = result.findings[0].name
    absent = [part for part in result.explanation.measurements if part.missing and part.value is None
              and (part.finding or first) == finding]
    absent.sort(key=lambda part: -abs(part.logit))
    allowed = set(changeable(model.manifest))
    tried = [part for part in absent if part.term in allowed][:MOST_TRIED]
    told = [_tried(model, record, moment_h, part, finding) if part in tried else Missing(part) for part in absent]
    return tuple(sorted(told, key=lambda one: -((one.high or 0.0) - (one.low or 0.0))))


def _tried(model: Model, record: Record, moment_h: float | None, part: Contribution, finding: str) -> Missing:
    words = _words(model, part.term)
    reference = Range(low=part.reference_low, high=part.reference_high)
    values = tuple(_values(reference, words))
    found = []
    for value in values:
        told = score(model, record, moment_h, {part.term: value})
        if isinstance(told, Prediction):
            found += [one.value for one in told.findings if one.name == finding]
    if not found:
        return Missing(part)
    return Missing(part, min(found), max(found), values, words, reference)


def _words(model: Model, code: str) -> tuple[tuple[str, str, str], ...]:
    feature = next((one for one in model.manifest.features if one.params.get("code") == code), None)
    return tuple((value, english, french) for value, (english, french) in (feature.meanings if feature else {}).items())


def _values(reference: Range, words: tuple[tuple[str, str, str], ...]) -> Iterator[float]:
    if words:
        yield from (float(value) for value, _, _ in words)
    elif reference.low is not None and reference.high is not None:
        yield from (reference.low, (reference.low + reference.high) / 2, reference.high)
