"""Banners: what a reader must know of the release behind a result before its score: another version serves, or it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.shelf import Shelf
from service.words import Language, say

Kind = Literal["gone", "superseded", "shadow", "drifting"]


@dataclass(frozen=True)
class Banner:
    """One warning over a result."""

    kind: Kind
    words: str


def banners_of(shelf: Shelf | None, release: str, language: Language) -> tuple[Banner, ...]:
    """Return what must be said of a release by its id. Without a shelf, while it opens, nothing is known and nothing is said."""
    if shelf is None:
        return ()
    model = shelf.models.get(release)
    if model is None:
        words = say(language, "This version of the model is no longer installed here: its result stays, and cannot be replayed.")
        return (Banner("gone", words),)
    serving = shelf.active[model.manifest.name]
    if serving is model:
        return ()
    if _later(serving.manifest.version, model.manifest.version):
        words = say(language, "Version {version} of this model has taken the place of the one that made this result.",
                    version=serving.manifest.version)
        return (Banner("superseded", words),)
    words = say(language, "This version of the model is in shadow: it is being watched and does not serve. Do not decide by it.")
    return (Banner("shadow", words),)


def _later(one: str, other: str) -> bool:
    return tuple(map(int, one.split("."))) > tuple(map(int, other.split(".")))
