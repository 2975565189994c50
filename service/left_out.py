"""What was not used of a record, in words: one telling for cards and for resources."""

from __future__ import annotations

from models.codes import DESCRIBED
from models.fhir.left_out import REASONS, why_left_out
from service.fhir.shapes import is_resource_type
from service.refusals import named
from service.words import Language, say


def what_words(what: str, language: Language) -> str:
    """Return what people call it; what a sender may have made up is not repeated."""
    return named(what, language) if what in DESCRIBED or is_resource_type(what) else say(language, "entry")


def why_words(why: str, language: Language) -> str:
    """Return why it was left out; a reason that is not of the reader's list is not repeated either."""
    return why_left_out(why, language) if why in REASONS else say(language, "another reason")
