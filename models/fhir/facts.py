"""FACTS: what a record holds beside its events, each area in a file of its own (``facts_*.py``)."""

from __future__ import annotations

from collections.abc import Callable

from models.fhir import facts_ed, facts_readmission, facts_warfarin
from models.fhir.bundle import Bundle, Fact

FACTS: tuple[Callable[[Bundle], dict[str, Fact]], ...] = (
    facts_ed.facts, facts_readmission.facts, facts_warfarin.facts,
)


def facts_of(bundle: Bundle) -> dict[str, Fact]:
    """Return every known fact by our code. An area that cannot say leaves its codes out."""
    found: dict[str, Fact] = {}
    for area in FACTS:
        found |= area(bundle)
    return found
