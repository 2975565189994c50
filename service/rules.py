"""Routing rules: what a site may write under [[rules]], and whether a case meets it. Tables of facts, no code of models.

    [[rules]]                                     read from the top; the first rule that is met ends the reading,
    name = "films from the emergency room"        unless it says continue = true
    when = { modality = ["DX", "CR"], calling_ae = "ER*", age_years = { max = 10 } }
    priority = "urgent"

All keys of a condition must hold (AND); a list of words is OR; ``all``, ``any`` and ``not`` nest. An attribute that the
image does not state makes a condition *unknown*, and unknown stays unknown through ``not``: a rule is met only by what
was stated. ``or_unknown = true`` makes what comes out unknown in its own table count as met.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.facts import Facts, fold

Truth = bool | None  # None: unknown
Priority = Literal["urgent", "high", "medium", "low"]
PRIORITIES: dict[Priority, int] = {"urgent": 2, "high": 1, "medium": 0, "low": -1}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Span(_Part):
    """A closed range of numbers; every value the images state must lie in it."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a range needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not exceed max")
        return self

    def holds(self, value: float) -> bool:
        """Tell whether a value lies in the range."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        if self.min == self.max:
            return f"{self.min:g}"
        if self.min is None or self.max is None:
            return f"at most {self.max:g}" if self.min is None else f"at least {self.min:g}"
        return f"{self.min:g} to {self.max:g}"


def _as_words(value: Any) -> Any:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(one, str) and one.strip() for one in words):
        raise ValueError('must be a word or a list of words, such as "DX" or ["DX", "CR"]')
    return tuple(words)


def _as_span(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"min": value, "max": value}
    if not isinstance(value, dict):
        raise ValueError("must be a number, or a range such as { min = 1, max = 10 }")
    return value


def _as_conditions(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise ValueError('must be a list of conditions, such as [{ view = "AP" }, { view = "PA" }]')
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_as_words)]
Numbers = Annotated[Span, BeforeValidator(_as_span)]
Conditions = Annotated["list[Condition]", BeforeValidator(_as_conditions)]


class Condition(_Part):
    """What must hold. Codes are compared whole, free text by what it contains; with * or ? both are patterns of the whole."""

    modality: Words | None = Field(None, description="Modality (0008,0060)")
    body_part: Words | None = Field(None, description="BodyPartExamined (0018,0015), or the anatomic region's meaning")
    view: Words | None = Field(None, description="ViewPosition (0018,5101)")
    sex: Words | None = Field(None, description="PatientSex (0010,0040)")
    orientation: Words | None = Field(None, description="axial, coronal or sagittal within 30 degrees, else oblique")
    image_type: Words | None = Field(None, description="any value of ImageType (0008,0008)")
    calling_ae: Words | None = Field(None, description="AE title of the sender; nothing for STOW-RS and folders")
    called_ae: Words | None = Field(None, description="AE title the sender called us by")
    manufacturer: Words | None = Field(None, description="Manufacturer (0008,0070)")
    station: Words | None = Field(None, description="StationName (0008,1010)")
    institution: Words | None = Field(None, description="InstitutionName (0008,0080)")
    department: Words | None = Field(None, description="InstitutionalDepartmentName (0008,1040)")
    requesting_service: Words | None = Field(None, description="RequestingService (0032,1033), of the study or request")
    series_description: Words | None = Field(None, description="SeriesDescription (0008,103E)")
    study_description: Words | None = Field(None, description="StudyDescription (0008,1030)")
    protocol: Words | None = Field(None, description="ProtocolName (0018,1030)")
    age_years: Numbers | None = Field(None, description="PatientAge (0010,1010), or from birth date to study date")
    slices: Numbers | None = Field(None, description="images of the series, or frames of one object")
    rows: Numbers | None = Field(None, description="Rows (0028,0010)")
    columns: Numbers | None = Field(None, description="Columns (0028,0011)")
    slice_thickness_mm: Numbers | None = Field(None, description="SliceThickness (0018,0050)")
    spacing_mm: Numbers | None = Field(None, description="both values of PixelSpacing or ImagerPixelSpacing")
    contrast: bool | None = Field(None, strict=True, description="whether a contrast agent was given")
    all_: Conditions | None = Field(None, alias="all", description="every one of these conditions")
    any_: Conditions | None = Field(None, alias="any", description="at least one of these conditions")
    not_: Condition | None = Field(None, alias="not", description="none of this")
    or_unknown: bool = Field(False, strict=True, description="what is not stated counts as met, in this table")


class Rule(_Part):
    """One rule: a condition and its effects. Effects narrow what the releases accept, never widen it."""

    name: str = Field("", max_length=80)
    when: Condition = Field(default_factory=lambda: Condition.model_validate({}))  # nothing asked: met by everything
    models: tuple[str, ...] | None = Field(None, description="only these models may take it")
    never: bool = Field(False, strict=True, description="no model may take it; nothing is sent unless report_unfit = true")
    priority: Priority | None = None
    targets: tuple[str, ...] | None = Field(None, description="where its results go; [] keeps them here only")
    report_unfit: bool | None = Field(None, strict=True, description="whether a result is sent when no model takes it")
    continues: bool = Field(False, alias="continue", strict=True, description="read the rules below too")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.never and self.models is not None:
            raise ValueError("never and models exclude each other")
        if self.models is not None and not self.models:
            raise ValueError("models must name at least one model; never = true gives it to none")
        return self


CODES = ("modality", "body_part", "view", "sex", "orientation", "image_type", "calling_ae", "called_ae")
FREE_TEXT = ("manufacturer", "station", "institution", "department", "requesting_service", "series_description",
             "study_description", "protocol")
REPEATED = ("modality", "view", "orientation", "image_type")  # found values that may be shown: they name nobody
NUMBERS = ("age_years", "slices", "rows", "columns", "slice_thickness_mm", "spacing_mm")


@dataclass(frozen=True)
class Tried:
    """One rule that was read: whether it was met, and in words why."""

    rule: str
    met: bool
    why: str


@dataclass(frozen=True)
class Decision:
    """What the rules say of a case; None means that no rule said it. ``by`` names the rule that said each effect."""

    models: tuple[str, ...] | None = None
    never: bool = False
    priority: int | None = None
    targets: tuple[str, ...] | None = None
    report_unfit: bool | None = None
    by: dict[str, str] | None = None
    trace: tuple[Tried, ...] = ()

    def said_by(self, effect: str) -> str:
        """Return the name of the rule that decided an effect, "" when none did."""
        return (self.by or {}).get(effect, "")


def decide(facts: Facts, rules: Sequence[Rule]) -> Decision:
    """Read the rules from the top; the first that is met and says something about an effect decides it.

    The first rule met ends the reading unless it continues, so what stands above always wins, as in a firewall.
    """
    said: dict[str, Any] = {}
    by: dict[str, str] = {}
    trace: list[Tried] = []
    for place, rule in enumerate(rules, start=1):
        truth, why = weigh(rule.when, facts)
        name = name_of(rule, place)
        trace.append(Tried(name, truth is True, why))
        if truth is not True:
            continue
        effects = {"models": rule.models, "priority": rule.priority, "targets": rule.targets, "never": rule.never or None,
                   "report_unfit": False if rule.never and rule.report_unfit is None else rule.report_unfit}
        if "models" in said or "never" in said:  # both say who may take it: the rule above has said so
            effects |= {"models": None, "never": None}
        for effect, value in effects.items():
            if value is not None and effect not in said:
                said[effect], by[effect] = value, name
        if not rule.continues:
            break
    if "priority" in said:
        said["priority"] = PRIORITIES[said["priority"]]
    return Decision(**said, by=by, trace=tuple(trace))


def name_of(rule: Rule, place: int) -> str:
    """Return the rule's name, or its place counted from 1."""
    return rule.name or f"rule {place}"


def weigh(condition: Condition, facts: Facts) -> tuple[Truth, str]:
    """Return whether a condition is met (None: unknown) and why, in words that repeat no free text of the image."""
    asked = [name for name in Condition.model_fields if name in condition.model_fields_set and name != "or_unknown"]
    parts = [_weigh_part(name, condition, facts) for name in asked]
    if condition.or_unknown:
        parts = [(True if truth is None else truth, why) for truth, why in parts]
    if not parts:
        return True, "it asks for nothing"
    return _and(parts)


def _weigh_part(name: str, condition: Condition, facts: Facts) -> tuple[Truth, str]:
    wanted = getattr(condition, name)
    if name == "all_":
        return _and([weigh(one, facts) for one in wanted])
    if name == "any_":
        return _or([weigh(one, facts) for one in wanted])
    if name == "not_":
        truth, why = weigh(wanted, facts)
        return (None if truth is None else not truth), f"not ({why})"
    if name == "contrast":
        known = {None: "contrast is not stated", True: "contrast was given", False: "no contrast was given"}[facts.contrast]
        return (None if facts.contrast is None else facts.contrast == wanted), known
    if name in NUMBERS:
        values = facts.numbers.get(name, ())
        if not values:
            return None, f"{name} is not stated"
        truth = all(wanted.holds(value) for value in values)
        found = "" if truth or name == "age_years" else f" but {' and '.join(f'{value:g}' for value in values)}"
        return truth, f"{name} is {'' if truth else 'not '}{wanted}{found}"
    stated = facts.words.get(name, ())
    if not stated:
        return None, f"{name} is not stated"
    truth = any(_matches(pattern, word, name in FREE_TEXT) for pattern in wanted for word in stated)
    if name in FREE_TEXT:
        return truth, f"{name} {'holds' if truth else 'does not hold'} {' or '.join(wanted)}"
    found = "" if truth or name not in REPEATED else f" but {' and '.join(map(_shown, stated))}"
    return truth, f"{name} is {'' if truth else 'not '}{' or '.join(wanted)}{found}"


def _shown(stated: str) -> str:
    """Repeat a code only when it is a plain word: anything else could name someone."""
    return stated.upper() if len(stated) <= 16 and stated.replace("_", "").isalnum() else "another value"


def _and(parts: Sequence[tuple[Truth, str]]) -> tuple[Truth, str]:
    """Kleene's AND: false wins over unknown. The words are those of the parts that decided."""
    for verdict in (False, None):
        if deciding := [why for truth, why in parts if truth is verdict]:
            return verdict, _join(deciding, " and ")
    return True, _join([why for _, why in parts], " and ")


def _or(parts: Sequence[tuple[Truth, str]]) -> tuple[Truth, str]:
    """Kleene's OR: true wins over unknown."""
    for verdict in (True, None):
        if deciding := [why for truth, why in parts if truth is verdict]:
            return verdict, _join(deciding, " or ")
    return False, _join([why for _, why in parts], " and ")


def _join(words: Iterable[str], link: str) -> str:
    return link.join(dict.fromkeys(words))


def _matches(wanted: str, stated: str, free_text: bool) -> bool:
    plain = fold(wanted)
    if "*" in plain or "?" in plain:
        return _pattern(plain).match(stated) is not None
    return plain in stated if free_text else plain == stated


@cache
def _pattern(wanted: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(wanted.replace("[", "[[]")))  # brackets stand for themselves
