"""What was not used of a record, in words for a clinician: what a sender can mend is named, what is usual is only counted."""

from __future__ import annotations

from collections.abc import Sequence

from models.read_fhir import Ignored
from service.left_out import what_words, why_words
from service.words import Language, say

MOST_TOLD = 8
# What every record has: an earlier stay, a repeat, what was corrected or came later.
USUAL = frozenset({
    "before_start", "after_moment", "duplicate", "replaced", "earlier_encounter", "other_encounter", "not_held", "deleted",
    "null", "entered_in_error", "cancelled", "data_absent", "no_value",
})


def ignored_lines(ignored: Sequence[Ignored], language: Language) -> list[str]:
    """Return a line for each thing to mend, the most frequent first, and one that counts the rest."""
    odd = sorted((one for one in ignored if one.why not in USUAL), key=lambda one: -one.count)
    lines = [say(language, "Not used: {count} × {what}, {why}.", count=one.count, what=what_words(one.what, language),
                 why=why_words(one.why, language)) for one in odd[:MOST_TOLD]]
    rest = sum(one.count for one in ignored if one.why in USUAL) + sum(one.count for one in odd[MOST_TOLD:])
    if rest:
        usual = say(language, "Not used for usual reasons, such as another stay, a repeat or a correction: {count}.", count=rest)
        lines.append(usual)
    return lines
