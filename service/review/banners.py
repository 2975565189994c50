"""Banners: what a reader must know of the release behind a result before its score: another serves, nobody signed, or it is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from models.shelf import Shelf
from service.releases.state import State
from service.words import Language, say

Kind = Literal["gone", "superseded", "shadow", "drifting", "unsigned", "against_advice", "off"]


@dataclass(frozen=True)
class Banner:
    """One warning over a result."""

    kind: Kind
    words: str

    @property
    def tone(self) -> str:
        """How loud it is: info, warn or stop."""
        return "info" if self.kind == "unsigned" else "stop" if self.kind in ("shadow", "drifting", "against_advice") else "warn"


def banners_of(shelf: Shelf | None, release: str, language: Language,
               states: Mapping[str, State] | None = None) -> tuple[Banner, ...]:
    """Return what must be said of a release by its id. Without a shelf, while it opens, nothing is known and nothing is said.

    ``states``: what each release does here, by id.
    """
    if shelf is None:
        return ()
    model = shelf.models.get(release)
    if model is None:
        words = say(language, "This version of the model is no longer installed here: its result stays, and cannot be replayed.")
        return (Banner("gone", words),)
    state, serving = (states or {}).get(release), shelf.active.get(model.manifest.name)
    if serving is model:
        return _of_live(state, language)
    if serving is not None and _later(serving.manifest.version, model.manifest.version):
        words = say(language, "Version {version} of this model has taken the place of the one that made this result.",
                    version=serving.manifest.version)
        return (Banner("superseded", words),)
    if serving is None and (state is None or state.state != "shadow"):
        return (Banner("off", say(language, "This model does not serve here: it is switched off, or nobody has signed for it.")),)
    words = say(language, "This version of the model is in shadow: it is being watched and does not serve. Do not decide by it.")
    return (Banner("shadow", words),)


def _of_live(state: State | None, language: Language) -> tuple[Banner, ...]:
    if state is None:
        return ()
    found = []
    if state.alarms:
        words = say(language, "Something about this model is not as it was where it was proved: an alarm is open. "
                              "Trust it less until somebody has looked into it.")
        found.append(Banner("drifting", words))
    if state.against_advice:
        words = say(language, "This model serves against the advice of its commissioning here. The reason given: {reason}",
                    reason=state.reason)
        found.append(Banner("against_advice", words))
    elif state.signoff is None:
        found.append(Banner("unsigned", say(language, "Not commissioned here: nobody has shown how this model does at this site.")))
    return tuple(found)


def _later(one: str, other: str) -> bool:
    return tuple(map(int, one.split("."))) > tuple(map(int, other.split(".")))
