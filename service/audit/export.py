"""Lines of the audit on their way out: FHIR AuditEvents, DICOM audit messages, or a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from service.audit.write_event import write_event
from service.audit.write_message import write_message
from service.store.audit import Line

COLUMNS = ("line", "time", "actor", "name", "roles", "action", "outcome", "kind", "item", "detail", "hash")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def as_ndjson(lines: Iterable[Line], source: str) -> Iterator[str]:
    """Write AuditEvents, one a line (FHIR bulk data)."""
    for line in lines:
        yield json.dumps(write_event(line, source), ensure_ascii=False, separators=(",", ":")) + "\n"


def as_bundle(lines: Iterable[Line], source: str) -> Iterator[str]:
    """Write one Bundle of AuditEvents."""
    yield '{"resourceType":"Bundle","type":"collection","entry":['
    for place, line in enumerate(lines):
        event = json.dumps(write_event(line, source), ensure_ascii=False, separators=(",", ":"))
        yield f'{"," if place else ""}{{"fullUrl":"urn:diaphane:audit:{line.id}","resource":{event}}}'
    yield "]}\n"


def as_messages(lines: Iterable[Line], source: str) -> Iterator[str]:
    """Write DICOM audit messages, one a line."""
    for line in lines:
        yield write_message(line, source).decode() + "\n"


def as_csv(lines: Iterable[Line], _source: str) -> Iterator[str]:
    """Write a table that a spreadsheet opens and runs nothing of. Persons are left out: who asks knows of whom."""
    yield "\ufeff" + ",".join(COLUMNS) + "\r\n"
    for line in lines:
        detail = "; ".join(f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
                           for name, value in sorted(line.detail.items()) if name != "state")
        written = io.StringIO()
        csv.writer(written).writerow([_harmless(str(one)) for one in (
            line.id, datetime.fromtimestamp(line.at, UTC).isoformat(timespec="seconds"), line.actor, line.actor_name, line.roles,
            line.action, line.outcome, line.kind, line.item, detail, line.hash)])
        yield written.getvalue()


FORMATS: dict[str, Callable[[Iterable[Line], str], Iterator[str]]] = {
    "ndjson": as_ndjson, "bundle": as_bundle, "dicom": as_messages, "csv": as_csv,
}


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
