"""A change of the configuration, noticed at the start: which settings and keys of the site file have another value than before.

Values are never written down, only a keyed hash of each, cut short: it tells that a value changed, and no one which it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from service.audit.audit import Audit
from service.store.audit import hold
from service.store.audit_search import last_of


def note_configuration(audit: Audit) -> tuple[str, ...]:
    """Write a line when something is set otherwise than it was; return the names of what."""
    now = dict(_hashes(audit))
    with audit.store.session() as session:
        hold(session)  # of processes that start together one says it
        last = last_of(session, "configure")
        before: Mapping[str, str] = last.detail.get("state", {}) if last else {}
        changed = tuple(sorted(name for name in {*now, *before} if now.get(name) != before.get(name)))
        if changed:
            audit.append(session, None, "configure", kind="settings",
                         detail={"keys": list(changed) if before else [], "count": len(changed), "state": now})
    return changed if before else ()


def _hashes(audit: Audit) -> Iterator[tuple[str, str]]:
    told = {**{f"settings.{name}": value for name, value in audit.settings.model_dump().items()},
            **{f"site.{name}": value for name, value in _flat(audit.site.model_dump())}}
    for name, value in told.items():
        written = json.dumps(value, sort_keys=True, default=_bare)
        yield name, audit.store.pseudonym(f"setting {name} {written}")[:8]


def _flat(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the keys of sections by themselves; lists of peers, targets and rules as a whole."""
    for name, value in told.items():
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{key}", one) for key, one in value.items())
        else:
            yield name, value


def _bare(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
