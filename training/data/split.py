"""Splits are made by patient before anything else; here that is checked, and made where a source has none."""

from __future__ import annotations

import hashlib
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


def split_of(patient: str, *, seed: int, shares: tuple[float, float, float] = (0.7, 0.1, 0.2)) -> str:
    """Place a patient in train, val or test by a hash of its key: stable whatever else is in the data."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if place < shares[0] else "val" if place < shares[0] + shares[1] else "test"
