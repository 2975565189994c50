"""What of the worklist a caller may see: the kinds, departments and models they were granted, and each line on its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from service.access.caller import Caller
from service.store.entries_page import Query

PERMISSIONS = {"study": "study", "risk": "risk", "alert": "risk"}  # what it takes to open a line, by its kind
NONE_OF_THEM = ("",)  # a kind no line is of: nothing passes


def sees(caller: Caller, kind: str, department: str, models: Iterable[str]) -> bool:
    """Tell whether a caller may open a line: in its department, and for every model it holds results of."""
    permission = PERMISSIONS.get(kind)
    return permission is not None and all(caller.may(permission, department=department, model=one) for one in [*models] or [""])


def within(caller: Caller, query: Query) -> Query:
    """Return a query that finds no more than a caller may see. Each line is looked at with ``sees`` all the same."""
    kinds = tuple(kind for kind, permission in PERMISSIONS.items() if caller.may(permission) and kind in (query.kinds or PERMISSIONS))
    asked, granted = query.departments, caller.departments
    departments = granted if asked is None else asked if granted is None else asked & granted
    return replace(query, kinds=kinds or NONE_OF_THEM, departments=departments, actor=caller.subject, models=_names(caller))


def _names(caller: Caller) -> frozenset[str] | None:
    """Return names of models; a grant may also name a release."""
    if caller.models is None:
        return None
    return caller.models | {name.rpartition("-")[0] for name in caller.models if "-" in name}
