"""Cards and resources tell of what was not used with the same words, in the reader's language, and repeat nothing sent."""

from __future__ import annotations

from models.read_fhir import Ignored
from service.cds_hooks.ignored import ignored_lines
from service.fhir.write_guidance import ignored_text

UNKNOWN_UNIT = Ignored("Creatinine", "unknown_unit", 2)


def test_a_reason_is_said_in_the_language_of_the_reader() -> None:
    for said in (ignored_text(UNKNOWN_UNIT, "fr"), ignored_lines([UNKNOWN_UNIT], "fr")[0]):
        assert "une unité qui ne peut être convertie" in said
        assert "unit " not in said


def test_what_a_sender_made_up_is_repeated_nowhere() -> None:
    made_up = Ignored("MaDurand", "camille", 1)
    for said in (ignored_text(made_up, "en"), ignored_lines([made_up], "en")[0]):
        assert "Durand" not in said
        assert "camille" not in said
