"""Releases that would take a case were they live here, and what is said to who asks for one of them."""

from __future__ import annotations

from models import gate
from models.errors import UnusableInput
from models.manifest import Manifest
from models.shelf import Shelf
from models.volume import Header
from service.words import marked

REASON = "not_live"
MESSAGE = marked("No release that takes this is live here: it was not commissioned and signed for, or it was switched off.")
ADVICE = marked("Go on without the score. Who answers for AI here decides which release is live.")


def not_live() -> UnusableInput:
    """Return the error of asking for what must not speak here."""
    return UnusableInput(f"{MESSAGE} {ADVICE}", code=REASON)


def waiting(shelf: Shelf) -> list[Manifest]:
    """Return the releases that are barred where no other version of theirs serves."""
    found = (shelf.models[one].manifest for one in sorted(shelf.barred))
    return [one for one in found if one.name not in shelf.active]


def waiting_for_series(shelf: Shelf, header: Header) -> list[Manifest]:
    """Return those of them that images with such a header fit."""
    images = (one for one in waiting(shelf) if one.task not in ("risk", "department"))
    return [one for one in images if gate.decline_header(one.accepts, header) is None]


def waiting_for_record(shelf: Shelf) -> list[Manifest]:
    """Return those of them that score records."""
    return [one for one in waiting(shelf) if one.task == "risk"]


def is_barred(shelf: Shelf, id_or_name: str) -> bool:
    """Tell whether an id or a name is that of a release that is here and must not speak."""
    return id_or_name in shelf.barred or any(one.name == id_or_name for one in waiting(shelf))
