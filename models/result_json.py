"""A risk's result as JSON that is kept, and back: a Prediction by measurements, without arrays, or a Refusal.

It is written as models.prediction.to_json does, but for what would fill a database and says nothing: terms are left out
where measurements gather them (the same sum), unless all are gathered in one, and of a contribution what is empty or
follows from the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from math import exp, nan
from typing import Any, TypeVar

from models.errors import UnusableInput
from models.explain.additive import MAX_EXPONENT
from models.manifest import Code
from models.prediction import Contribution, Explanation, Finding, Identity, Prediction, Reason, Refusal, Result, to_json

Json = Mapping[str, Any]
T = TypeVar("T")
_ALWAYS = frozenset({"term", "label", "label_fr", "value", "unit", "logit"})  # of a contribution
_PART = tuple(one.name for one in fields(Contribution) if one.name != "odds_multiplier")


def result_to_json(result: Result) -> dict[str, Any]:
    """Return what is kept of a result."""
    if isinstance(result, Refusal):
        return dict(to_json(result))
    told: dict[str, Any] = to_json(replace(result, explanation=replace(result.explanation, contributions=(), measurements=())))
    gathered, terms = result.explanation.measurements, result.explanation.contributions
    told["explanation"]["measurements"] = [_kept(part) for part in gathered]
    told["explanation"]["contributions"] = [_kept(part) for part in terms] if len({part.term for part in gathered}) < 2 else []
    return told


def result_of_json(told: Json) -> Result:
    """Return the result that was kept. Raises UnusableInput for what is none."""
    try:
        identity = _made(Identity, told["identity"])
        quality, flags, timings_ms = _numbers(told["quality"]), tuple(map(str, told["flags"])), _numbers(told["timings_ms"])
        if told["status"] == "refused":
            reason, message, advice = Reason(told["reason"]), str(told["message"]), str(told["advice"])
            return Refusal(identity, reason, message, advice, quality, flags, timings_ms)
        findings = tuple(_made(Finding, one, code=Code(**one["code"])) for one in told["findings"])
        return Prediction(identity, findings, _explanation(told["explanation"]), quality, flags, timings_ms)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UnusableInput("A kept result must be as result_to_json writes it, found something else.", code="bad_result") from None


def _kept(part: Contribution) -> dict[str, Any]:
    values = ((name, getattr(part, name)) for name in _PART)
    told = {name: value for name, value in values if name in _ALWAYS or value or (value == 0.0 and value is not False)}
    if part.code is not None:
        told["code"] = part.code.model_dump()
    return told


def _explanation(told: Json) -> Explanation:
    """Return why a score has its value. What was not a number was written as null."""
    return Explanation(
        str(told["method"]), str(told["baseline"]), _numbers(told["bias"]),
        contributions=tuple(map(_part, told["contributions"])), measurements=tuple(map(_part, told["measurements"])),
        completeness_error=_number(told["completeness_error"]), completeness_tolerance=_number(told["completeness_tolerance"]),
        note=str(told["note"]), note_fr=str(told["note_fr"]),
    )


def _part(told: Json) -> Contribution:
    multiplier = exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, told["logit"])))
    code = told.get("code")
    return _made(Contribution, {"odds_multiplier": multiplier, "missing": False, **told}, code=Code(**code) if code else None)


def _made(kind: type[T], told: Json, **changed: Any) -> T:
    if not set(told) <= {one.name for one in fields(kind)}:  # type: ignore[arg-type]  # every one is a dataclass
        raise ValueError
    return kind(**{**told, **changed})


def _numbers(told: Json) -> dict[str, float]:
    return {str(name): _number(value) for name, value in told.items()}


def _number(value: Any) -> float:
    return nan if value is None else float(value)
