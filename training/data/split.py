"""Splits are made by patient before anything else; here that is checked."""

from __future__ import annotations

from collections.abc import Iterable

from models.errors import UnusableInput


def check_split(rows: Iterable[tuple[str, str]], *, what: str) -> None:
    """Raise UnusableInput when one patient stands in two splits. ``rows`` are (patient, split)."""
    seen: dict[str, str] = {}
    torn = 0
    for patient, split in rows:
        torn += seen.setdefault(patient, split) != split
    if torn:
        raise UnusableInput(f"All {what} of one patient must be in one split, found {torn} in a second one. "
                            "Split by patient.", code="patient_in_two_splits")
