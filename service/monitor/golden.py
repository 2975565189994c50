"""Golden: every night each release that serves or shadows answers its golden inputs again, and results of this site too.

A number that changed is an incident: the machine, a library or the folder is not what it was, and no score can be trusted until
it is known which. Golden inputs come with a release; golden studies are results of this site that somebody chose, and the last
ones that a professional agreed with.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import BrokenModel
from models.golden import read_golden
from models.model import Model
from models.release import read_release
from models.shelf import Shelf
from service.reading import Reading
from service.store import alarms, golden
from service.store.store import Store

log = logging.getLogger("diaphane")
LAST_VALIDATED = 5
SAID = 6  # faults that are told of one night


@dataclass(frozen=True)
class Night:
    """One night of a release. ``gone``: results that could not be scored again, since their images or their person are gone."""

    release: str
    checked: int
    changed: int
    gone: int
    faults: tuple[str, ...]


def night(store: Store, shelf: Shelf, reading: Reading, models: Sequence[Model]) -> list[Night]:
    """Score all golden inputs and studies of some releases again, write it down, and ring or end their alarms."""
    return [_night(store, shelf, reading, model) for model in models]


def input_faults(model: Model) -> tuple[int, list[str]]:
    """Return how many golden inputs a release has, and what of it is not as it was: its files, or what comes out."""
    try:
        read_release(model.folder)
        inputs = read_golden(model.folder)
    except BrokenModel as error:
        return 0, [str(error)]
    return len(inputs["input"]), model.session.faults(inputs)


def _night(store: Store, shelf: Shelf, reading: Reading, model: Model) -> Night:
    checked, faults = input_faults(model)
    changed, gone = int(bool(faults)), 0
    named = dict.fromkeys([*golden.chosen(store, model.id), *golden.validated(store, model.id, LAST_VALIDATED)])
    for kind, target in named:
        found = _again(store, shelf, reading, kind, target)
        if found is None:
            gone += 1
            continue
        checked += 1
        if found:
            changed += 1
            faults.append(f"{kind}: {found}")
    one = Night(model.id, checked, changed, gone, tuple(faults[:SAID]))
    detail = {"faults": list(one.faults), "gone": gone}
    with store.session() as session:
        golden.add_run(session, model.id, checked=checked, changed=changed, detail=detail)
        told = {"checked": checked, "changed": changed, **detail}
        rings = bool(changed) and alarms.ring(session, model.id, "golden", "golden", told)
        if not changed:
            alarms.end(session, model.id, "golden")
    if rings:
        log.error("ALARM golden: %s answers %d of %d golden inputs and studies otherwise than it did. Do not trust its scores until "
                  "it is known why: python -m service monitor golden", model.id, changed, checked)
    return one


def _again(store: Store, shelf: Shelf, reading: Reading, kind: str, target: str) -> str | None:
    """Return what changed in a result, "" when nothing did, None when it cannot be scored again."""
    from service.review.model.replay import replay_result, replay_risk  # noqa: PLC0415  brings the pages

    kept = golden.kept(store, kind, target)
    if kept is None:
        return None
    if kept.risk is not None:
        again = replay_risk(shelf, kept.risk)
    else:
        again = replay_result(shelf, reading, store, kept.release, kept.summary, kept.images)
    if again.why_not:
        return None
    if again.same:
        return ""
    if again.reason_then != again.reason_now:
        return f"was {again.reason_then or 'scored'}, is {again.reason_now or 'scored'}"
    return ", ".join(f"{one.name} differs by {one.difference:.1e}" for one in again.figures if not one.same)
