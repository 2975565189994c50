"""Status: what waits, what runs, what failed and why, and how far each target is behind. Nothing here names a patient."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from service.site import Site
from service.store.again import deliveries_again, jobs_again
from service.store.ledger import Failure, counts, failures
from service.store.monitoring import states
from service.store.store import Store

_WATCHED = {"calm": "without an alert", "alert": "with a standing alert", "no_data": "of whom nothing comes any more"}
STATES = ("queued", "running", "done", "quarantined")


def show(store: Store, site: Site, *, as_json: bool = False, console: Console | None = None) -> None:
    """Print counts and failures, as tables or as JSON."""
    found, failed = counts(store), failures(store)
    console = console or Console()
    if as_json:
        console.print_json(json.dumps({**found, "watched": states(store), "failures": [asdict(one) for one in failed]}))
        return
    console.print(_held(found))
    console.print(_queues(found, site))
    if watched := states(store):
        told = ", ".join(f"{number} {_WATCHED.get(state, state)}" for state, number in watched.items())
        console.print(f"Followed at home: {told}.")
    console.print(_failures(failed) if failed else "Nothing has failed.")
    if any(one.state == "quarantined" for one in failed):
        console.print("`python -m service retry` tries what is quarantined again.")


def retry_all(store: Store, target: str = "") -> tuple[int, int]:
    """Try again now what is quarantined or pauses; with ``target`` only its deliveries. Return jobs and deliveries."""
    return (0 if target else jobs_again(store)), deliveries_again(store, target)


def _held(found: dict[str, Any]) -> str:
    results = ", ".join(f"{number} {status}" for status, number in found["results"].items()) or "none"
    waiting = found["cases_waiting"]
    return (f"{found['instances']} images received; {waiting} {'case' if waiting == 1 else 'cases'} still being received. "
            f"Results: {results}.")


def _queues(found: dict[str, Any], site: Site) -> Table:
    table = Table("", *STATES, "oldest waiting", title="Queues", title_justify="left")
    _line(table, "scoring", found["jobs"], found["oldest_job_at"])
    names = sorted({target.name for target in site.targets} | set(found["deliveries"]))
    for name in names:
        _line(table, f"to {name}", found["deliveries"].get(name, {}), found["oldest_delivery_at"] if len(names) == 1 else None)
    return table


def _line(table: Table, name: str, states: dict[str, int], oldest_at: float | None) -> None:
    waits = states.get("queued", 0) + states.get("running", 0)
    age = duration(time.time() - oldest_at) if oldest_at and waits else ""
    table.add_row(name, *(str(states.get(state, 0)) for state in STATES), age)


def _failures(failed: list[Failure]) -> Table:
    table = Table("what", "state", "tries", "again in", "why", title="Failed, or to be tried again", title_justify="left")
    for one in failed:
        left_s = one.not_before - time.time()
        again = "" if one.state != "queued" else duration(left_s) if left_s >= 1 else "soon"
        what = f"{one.table} {one.id}" + (f" to {one.target}" if one.target else "")
        table.add_row(what, one.state, str(one.attempts), again, one.reason)
    return table


def duration(seconds: float) -> str:
    """Say a duration in its two largest units.

    >>> duration(3723)
    '1 h 2 min'
    """
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), 3)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"
