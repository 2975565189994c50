"""Retention: what is older than the site keeps it goes, but for what is under a legal hold."""

from __future__ import annotations

import time
from dataclasses import dataclass

from service.rights.rights import keys_of_study
from service.site import Site
from service.store import audit, erasing, rights
from service.store.retention import drop_leftovers, prune
from service.store.store import Store

DAY_S = 86_400.0
AT_ONCE = 500


@dataclass(frozen=True)
class Pruned:
    """How much went."""

    studies: int = 0
    risks: int = 0
    audit_lines: int = 0


def prune_by_site(store: Store, site: Site, *, now: float | None = None) -> Pruned:
    """Remove what the periods of [retention] no longer keep; 0 keeps all. Studies go with all that was made of them."""
    periods, at = site.retention, time.time() if now is None else now
    studies = prune_studies(store, site, periods.images_days * DAY_S) if periods.images_days else 0
    risks = prune_risks(store, at - periods.risks_days * DAY_S) if periods.risks_days else 0
    lines = audit.prune(store, at - periods.audit_days * DAY_S) if periods.audit_days else 0
    return Pruned(studies, risks, lines)


def prune_studies(store: Store, site: Site, older_than_s: float) -> int:
    """Remove studies older than that, but for those that are held or not finished."""
    return prune(store, older_than_s, keys=keys_of_study(store, site))


def prune_risks(store: Store, before: float) -> int:
    """Remove risks told before a time, with their lines in the worklist and verdicts, but for those of held persons."""
    removed = 0
    for some in erasing.old_risks(store, before, AT_ONCE):
        with store.reading() as session:
            ids = [one for one, person in some if not rights.is_held(session, persons=[person])]
        if ids:
            removed += erasing.erase_record(store, subjects=(), risks=ids, persons=(), workitems=(), allowed=_always)["risks"]
    drop_leftovers(store)
    return removed


def _always(_: object) -> None:
    """Allow what was checked before."""
