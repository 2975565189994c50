"""What somebody asks the worklist for: read from an address, and written as the addresses of other views.

What was typed into the search stands in an address only sealed: a name or a number of a patient never does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, get_args
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from service.problem import ProblemError
from service.store.entries import State
from service.store.entries_page import Position, Query, View

VIEWS: tuple[str, ...] = get_args(View)
STATES: tuple[str, ...] = get_args(State)
KINDS = ("study", "risk", "alert")
URGENCIES = (3, 2, 1, 0)
OPEN_STATES, DONE_STATES = ("new", "seen", "refused"), ("validated", "corrected", "rejected", "refused", "seen")
LONGEST = 255
ROOT = "/review"


@dataclass(frozen=True)
class Asked:
    """The filters of one view of the list, and where in it. ``found`` is what was typed, sealed."""

    view: str = "open"
    urgencies: tuple[int, ...] = ()
    states: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    model: str = ""
    department: str = ""
    modality: str = ""
    found: str = ""
    after: str = ""
    before: str = ""

    @property
    def is_filtered(self) -> bool:
        """Tell whether anything but the view was chosen."""
        return bool(self.urgencies or self.states or self.kinds or self.model or self.department or self.modality)

    @property
    def states_shown(self) -> tuple[str, ...]:
        """The states that lines of the view can have."""
        return OPEN_STATES if self.view == "open" else DONE_STATES if self.view == "done" else STATES

    def query(self, text: str = "") -> Query:
        """Return what the store is asked; ``text`` is what ``found`` was sealed from."""
        return Query(
            view=self.view, kinds=self.kinds, states=self.states, urgencies=self.urgencies,  # type: ignore[arg-type]
            modalities=(self.modality,) if self.modality else (), model=self.model,
            departments=frozenset({self.department}) if self.department else None, text=text,
            after=position_of(self.after), before=position_of(self.before),
        )

    def href(self, path: str = ROOT, **changes: Any) -> str:
        """Return the address of a view that differs in some filters. Another filter begins at the first page."""
        if not {"after", "before"} & changes.keys():
            changes |= {"after": "", "before": ""}
        if "view" in changes:
            changes = {"states": (), **changes}
        told = replace(self, **changes).pairs()
        return f"{path}?{urlencode(told)}" if told else path

    def toggled(self, name: str, value: Any) -> str:
        """Return the address with one value of a filter more, or without it where it was chosen."""
        chosen = getattr(self, name)
        left: Any = tuple(one for one in chosen if one != value) if value in chosen else (*chosen, value)
        return self.href(**{name: left})

    def pairs(self) -> list[tuple[str, str]]:
        """Write the filters as an address says them."""
        told = [("view", self.view)] if self.view != "open" else []
        for name, values in (("urgency", self.urgencies), ("state", self.states), ("kind", self.kinds)):
            told += [(name, str(one)) for one in values]
        told += [(name, getattr(self, name)) for name in _WORDS if getattr(self, name)]
        return told


def asked_of(params: QueryParams) -> Asked:
    """Read an address. Raises ProblemError naming the parameter that is wrong, never its value."""
    for name in params:
        if name not in _KNOWN:
            raise ProblemError("bad_query", f"Query parameters are {', '.join(_KNOWN)}; found another.")
    words = {name: _word(params, name) for name in _WORDS}
    for name in ("after", "before"):
        if words[name] and position_of(words[name]) is None:
            raise ProblemError("bad_query", f"{name} must be as a link of the list has it. Open the list again.")
    return Asked(
        view=_one_of(params.get("view") or "open", "view", VIEWS), urgencies=tuple(
            int(_one_of(one, "urgency", tuple(map(str, URGENCIES)))) for one in dict.fromkeys(params.getlist("urgency")) if one),
        states=tuple(_one_of(one, "state", STATES) for one in dict.fromkeys(params.getlist("state")) if one),
        kinds=tuple(_one_of(one, "kind", KINDS) for one in dict.fromkeys(params.getlist("kind")) if one), **words,
    )


def position_of(told: str) -> Position | None:
    """Read a position from an address; None where there is none.

    >>> position_of("100000001700.5_12")
    (100000001700.5, 12)
    """
    first, _, second = told.partition("_")
    try:
        place = float(first)
    except ValueError:
        return None
    return (place, int(second)) if math.isfinite(place) and second.isascii() and second.isdigit() and len(second) < 19 else None


def told(position: Position) -> str:
    """Write a position into an address."""
    return f"{position[0]!r}_{position[1]}"


def _one_of(value: str, name: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ProblemError("bad_query", f"{name} must be one of {', '.join(known)}, found another.")
    return value


def _word(params: QueryParams, name: str) -> str:
    found = params.getlist(name)
    if len(found) > 1 or any(len(one) > 4 * LONGEST or not one.isprintable() for one in found):
        raise ProblemError("bad_query", f"{name} must be given once, and be a word.")
    return found[0] if found else ""


_WORDS = ("model", "department", "modality", "found", "after", "before")
_KNOWN = ("view", "urgency", "state", "kind", *_WORDS)
