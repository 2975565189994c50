"""What was not used of a record, in words for a clinician: what a sender can mend is named, what is usual is only counted."""

from __future__ import annotations

from collections.abc import Sequence

from models.codes import DESCRIBED
from models.read_fhir import Ignored
from service.fhir.shapes import is_resource_type
from service.refusals import named
from service.words import Language, marked, say

MOST_TOLD = 8
WHY = {
    "no_unit": marked("no unit"),
    "unknown_unit": marked("a unit that is not known"),
    "bad_value": marked("a value that cannot be"),
    "not_a_number": marked("no number"),
    "decimal_comma": marked("a comma in the number"),
    "several_values": marked("several values"),
    "value_type": marked("another kind of value"),
    "unknown_answer": marked("an answer that is not known"),
    "ambiguous_code": marked("codes that contradict each other"),
    "comparator": marked("beyond the range of the analyser; the limit itself was used"),
    "bad_time": marked("no time, or none with its zone"),
    "no_start": marked("no beginning"),
    "no_status": marked("no status"),
    "preliminary": marked("preliminary"),
    "registered": marked("no result yet"),
    "unknown": marked("status unknown"),
    "modifier_extension": marked("a modifier that is not known"),
    "other_focus": marked("measured on another than the patient"),
    "subject_not_patient": marked("not about a patient"),
    "failed": marked("an error in its place"),
    "no_resource": marked("nothing in its place"),
}
OTHER = marked("another reason")
# What every record has: an earlier stay, a repeat, what was corrected or came later.
USUAL = frozenset({
    "before_start", "after_moment", "duplicate", "replaced", "earlier_encounter", "other_encounter", "not_held", "deleted",
    "null", "entered_in_error", "cancelled", "data_absent", "no_value",
})


def ignored_lines(ignored: Sequence[Ignored], language: Language) -> list[str]:
    """Return a line for each thing to mend, the most frequent first, and one that counts the rest."""
    odd = sorted((one for one in ignored if one.why not in USUAL), key=lambda one: -one.count)
    lines = [say(language, "Not used: {count} × {what}, {why}.", count=one.count, what=_what(one.what, language),
                 why=say(language, WHY.get(one.why, OTHER))) for one in odd[:MOST_TOLD]]
    rest = sum(one.count for one in ignored if one.why in USUAL) + sum(one.count for one in odd[MOST_TOLD:])
    if rest:
        usual = say(language, "Not used for usual reasons, such as another stay, a repeat or a correction: {count}.", count=rest)
        lines.append(usual)
    return lines


def _what(what: str, language: Language) -> str:
    """Return what people call it; what a sender may have made up is not repeated."""
    return named(what, language) if what in DESCRIBED or is_resource_type(what) else say(language, "entry")
