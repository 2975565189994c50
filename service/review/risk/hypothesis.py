"""A hypothesis: other values put to the release that scored, and what it says of them beside what it said. Never kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from models.prediction import Finding, Prediction, Refusal
from models.shelf import Shelf
from service.problem import ProblemError
from service.review.risk.change import Input, Moved, bare, changeable, input_of, moved, score
from service.review.risk.measured import view_of
from service.review.risk.shown import kept_record, kept_result, model_of
from service.store.review_tables import Risk

PREFIX = "value."
MOST_CHANGED = 40
GONE = "The release that made this result is not here any more, so that nothing can be tried with it."


@dataclass(frozen=True)
class Compared:
    """One figure as it is and as it would be; ``after`` None where the model would not show it."""

    before: Finding
    after: Finding | None
    moves: tuple[Moved, ...]


@dataclass(frozen=True)
class Hypothesis:
    """``changed``: what was changed and to what. Either ``refusal`` or ``compared`` says what the model makes of it."""

    changed: tuple[tuple[Input, float], ...]
    refusal: Refusal | None = None
    compared: tuple[Compared, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)


def values_of(form: Mapping[str, Any]) -> dict[str, float]:
    """Read the changed values of a form; an empty field is none. Raises ProblemError for what is no number."""
    found: dict[str, float] = {}
    for name, sent in form.items():
        if not name.startswith(PREFIX) or not isinstance(sent, str) or not sent.strip():
            continue
        try:
            value = float(sent.strip().replace(",", "."))
        except ValueError:
            value = float("nan")
        if not isfinite(value):
            raise ProblemError("bad_query", "A changed value must be a number, found something else.")
        found[name.removeprefix(PREFIX)] = value
    if len(found) > MOST_CHANGED:
        raise ProblemError("bad_query", f"At most {MOST_CHANGED} values can be changed at once.")
    return found


def hypothesis(kept: Risk, shelf: Shelf, values: Mapping[str, float]) -> Hypothesis:
    """Score a kept risk with other values. Values that are as they were change nothing. Raises ProblemError."""
    found, record, model = kept_result(kept), kept_record(kept), model_of(shelf, kept)
    if model is None or record is None or not isinstance(found, Prediction):
        raise ProblemError("not_found", GONE)
    hours = kept.record.get("moment_h")
    if not set(values) <= set(changeable(model.manifest)):
        raise ProblemError("bad_query", "Only what the page offers can be changed; found something else.")
    view = view_of(model.manifest, record, hours)
    offered = {code: input_of(code, view) for code in values}
    different = {code: value for code, value in values.items() if not _same(offered[code].value, value)}
    changed = tuple((offered[code], value) for code, value in different.items())
    result = score(model, record, hours, different) if different else found
    if not isinstance(result, Prediction):
        return Hypothesis(changed, refusal=result, values=different)
    after = {one.name: one for one in result.findings}
    return Hypothesis(changed, values=different, compared=tuple(
        Compared(one, after.get(one.name), moved(found, result, one.name)) for one in found.findings
    ))


def _same(known: float | None, given: float) -> bool:
    """Tell whether a value is as it was: a form brings back the digits it showed."""
    return known is not None and given in (known, float(bare(known)))
