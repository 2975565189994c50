"""Sight: whether a caller may open what a line of the worklist is about. What they may not know of does not exist for them."""

from __future__ import annotations

from service.access.caller import Caller
from service.problem import ProblemError
from service.store import entries
from service.store.review_tables import Entry
from service.store.store import Store


def sees(caller: Caller, permission: str, entry: Entry, *, every_model: bool = True) -> bool:
    """Tell whether a caller has a permission in the department of a line, for every model it holds results of, or for one."""
    models = entry.model.split()
    may = [caller.may(permission, department=entry.department, model=one) for one in models]
    return (all(may) if every_model else any(may)) if may else caller.may(permission, department=entry.department)


def study_of_key(store: Store, caller: Caller, permission: str, key: str) -> Entry:
    """Return the line of a study. Raises ProblemError (404) when there is none, or none this caller may see."""
    entry = entries.by_key(store, key)
    if entry is None or entry.kind != "study" or not sees(caller, permission, entry):
        raise ProblemError("not_found", "There is no such study here.")
    return entry
