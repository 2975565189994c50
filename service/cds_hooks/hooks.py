"""What a record system sends: one call of a hook with its context, and feedback on cards (the specification's own names).

Unknown fields and extensions are left alone, as the specification asks. ``fhirAuthorization`` is read by nobody here: the
service uses credentials of its own, and a token that is not kept cannot be lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from service.problem import ProblemError

Json = dict[str, Any]
T = TypeVar("T", bound=BaseModel)
MAX_FEEDBACK = 100
_ID = re.compile(r"(?:[A-Z][A-Za-z]{1,40}/)?(?P<id>(?!\.{1,2}$)[A-Za-z0-9.-]{1,64})")


def _is_id(value: str) -> str:
    """Accept the id of a resource, with or without its type before it (https://hl7.org/fhir/R4/datatypes.html#id)."""
    found = _ID.fullmatch(value)
    if found is None:
        raise ValueError("must be the id of a FHIR resource: 1 to 64 letters, digits, - and .")
    return found["id"]


def _is_word(value: str) -> str:
    """Accept what every database can keep: PostgreSQL takes no NUL."""
    if not value.isprintable():
        raise ValueError("must be printable text")
    return value


Id = Annotated[str, AfterValidator(_is_id)]
Word = Annotated[str, AfterValidator(_is_word)]


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, alias_generator=to_camel)


class PatientView(_Sent):
    """A chart is opened."""

    user_id: str = Field(min_length=1, max_length=255, repr=False)
    patient_id: Id = Field(repr=False)
    encounter_id: Id | None = Field(None, repr=False)


class InEncounter(PatientView):
    """An encounter begins or ends."""

    encounter_id: Id = Field(repr=False)


class OrderSign(PatientView):
    """Orders are about to be signed."""

    draft_orders: Json = Field(repr=False)


class OrderSelect(OrderSign):
    """Orders have been chosen; ``selections`` says which of the drafts are new."""

    selections: list[str] = Field(max_length=1000, repr=False)


CONTEXTS: Mapping[str, type[PatientView]] = {
    "patient-view": PatientView, "encounter-start": InEncounter, "encounter-discharge": InEncounter,
    "order-select": OrderSelect, "order-sign": OrderSign,
}


class Call(_Sent):
    """One call. ``context`` is one of CONTEXTS, by ``hook``."""

    hook: str = Field(max_length=100)
    hook_instance: str = Field(min_length=1, max_length=255)
    fhir_server: str | None = Field(None, max_length=2000, repr=False)
    context: Json = Field(repr=False)
    prefetch: Json | None = Field(None, repr=False)

    @property
    def place(self) -> PatientView:
        """The context, typed. Raises ProblemError naming the field that is wrong, never its value."""
        if self.hook not in CONTEXTS:
            raise ProblemError("bad_hook", f"hook must be one of {', '.join(CONTEXTS)}, found another.")
        return read(CONTEXTS[self.hook], self.context, "context.")


class Coding(_Sent):
    """A reason, coded."""

    code: Word = Field("", max_length=64)
    system: Word = Field("", max_length=255)


class OverrideReason(_Sent):
    """Why a card was put aside."""

    reason: Coding | None = None
    user_comment: str | None = Field(None, max_length=100_000, repr=False)


class AcceptedSuggestion(_Sent):
    """A suggestion that was taken."""

    id: Word = Field(max_length=64)


class Told(_Sent):
    """What became of one card."""

    card: Word = Field(min_length=1, max_length=64)
    outcome: Literal["accepted", "overridden"]
    accepted_suggestions: list[AcceptedSuggestion] | None = Field(None, max_length=MAX_FEEDBACK)
    override_reason: OverrideReason | None = None
    outcome_timestamp: AwareDatetime


class Feedback(_Sent):
    """What became of cards."""

    feedback: list[Told] = Field(min_length=1, max_length=MAX_FEEDBACK)


def read(kind: type[T], told: object, before: str = "") -> T:
    """Read what was sent as ``kind``. Raises ProblemError naming the field that is wrong, never its value."""
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = before + ".".join(str(part) for part in first["loc"]) if first["loc"] else "the body"
        raise ProblemError("bad_hook", f"{place}: {first['msg'].removeprefix('Value error, ')}.") from None
