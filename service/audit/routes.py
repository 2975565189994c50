"""GET /fhir/AuditEvent: the audit as FHIR searches it, page after page, for those who may read it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from service.access.caller import need
from service.audit.line import ACTIONS
from service.audit.write_event import write_event
from service.ehr_house import House
from service.fhir.exchange import answering, respond
from service.fhir.metadata import base_of
from service.problem import ProblemError
from service.store.audit import Line
from service.store.audit_search import Found, Query, about, line, search

ROOT = "/fhir/AuditEvent"
MOST = 1000
PARAMETERS = frozenset({"_count", "date", "agent", "subtype", "outcome", "patient", "_before", "_format", "_pretty"})
_DATE = re.compile(r"(ge|gt|le|lt|eq|)([0-9]{4}-[0-9]{2}-[0-9]{2})(T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2}))?")
_KEY = re.compile(r"(?:urn:diaphane:person\|)?([0-9a-f]{32})")


class AuditEvents:
    """The two addresses. That the audit was read is a line of it."""

    def __init__(self, house: House) -> None:
        self.house = house

    def routes(self) -> list[BaseRoute]:
        """List them; they come before the other addresses of /fhir."""
        return [Route(ROOT, answering(self.search), methods=["GET"]), Route(f"{ROOT}/{{id}}", answering(self.read), methods=["GET"])]

    async def search(self, request: Request) -> Response:
        """Search by time, agent, action, outcome and the key of a person; the newest first."""
        caller = need(request, "audit")
        asked = request.query_params.multi_items()
        if unknown := {name for name, _ in asked} - PARAMETERS:
            raise ProblemError("bad_query", f"Search parameters are {', '.join(sorted(PARAMETERS))}; found {len(unknown)} other.")
        query, persons = _query(asked)
        count, before = _whole(request, "_count", 100, MOST), _whole(request, "_before", 0, 2**53)
        found = await run_in_threadpool(self._found, query, persons, before, count)
        self.house.audit.note(caller, "search", kind="audit", persons=persons, detail={"way": "fhir", "count": len(found.lines)})
        base = base_of(request, self.house.settings)
        kept = [(name, value) for name, value in asked if name != "_before"]
        return respond({
            "resourceType": "Bundle", "type": "searchset",
            "link": [{"relation": "self", "url": _url(base, asked)},
                     *([{"relation": "next", "url": _url(base, [*kept, ("_before", str(found.older))])}] if found.older else [])],
            **({"entry": [{"fullUrl": f"{base}/AuditEvent/{one.id}", "resource": self._event(one), "search": {"mode": "match"}}
                          for one in found.lines]} if found.lines else {}),
        })

    async def read(self, request: Request) -> Response:
        """Give one line by its number."""
        caller, number = need(request, "audit"), request.path_params["id"]
        found = await run_in_threadpool(self._line, int(number)) if re.fullmatch(r"[0-9]{1,15}", number) else None
        if found is None:
            raise ProblemError("not_found", "There is no AuditEvent of that id.")
        self.house.audit.note(caller, "view", kind="audit", detail={"way": "fhir", "number": int(number)})
        return respond(self._event(found))

    def _found(self, query: Query, persons: tuple[str, ...], before: int, count: int) -> Found:
        with self.house.store.reading() as session:
            if persons:
                return about(session, persons, before=before, limit=count)
            return search(session, query, before=before, limit=count)

    def _line(self, number: int) -> Line | None:
        with self.house.store.reading() as session:
            return line(session, number)

    def _event(self, one: Line) -> dict[str, Any]:
        return write_event(one, self.house.site.audit.source_id or self.house.site.device.station)


def _query(asked: list[tuple[str, str]]) -> tuple[Query, tuple[str, ...]]:
    """Read the search parameters. Raises ProblemError."""
    told: dict[str, Any] = {}
    persons: tuple[str, ...] = ()
    for name, value in asked:
        if name == "date":
            told |= _span(value)
        elif name == "agent":
            told["actor"] = value.rpartition("|")[2][:255]
        elif name == "subtype":
            if value not in ACTIONS:
                raise ProblemError("bad_query", f"subtype must be one of {', '.join(ACTIONS)}.")
            told["action"] = value
        elif name == "outcome":
            outcomes = {"0": "success", "4": "failed", "8": "denied"}
            if value not in outcomes:
                raise ProblemError("bad_query", "outcome must be 0, 4 or 8.")
            told["outcome"] = outcomes[value]
        elif name == "patient":
            key = _KEY.fullmatch(value)
            if key is None:
                raise ProblemError("bad_query", "patient must be the key of a person as AuditEvents state it, 32 hexadecimal digits.")
            persons = (key[1],)
    if persons and told:
        raise ProblemError("bad_query", "patient is searched for alone: leave the other parameters out.")
    return Query(**told), persons


def _span(value: str) -> dict[str, float]:
    found = _DATE.fullmatch(value)
    try:
        at = datetime.fromisoformat((found[2] + (found[3] or "T00:00:00Z")) if found else "")
    except ValueError:
        raise ProblemError("bad_query", "date must be ge or lt and a day, or a moment with its offset: ge2026-11-22.") from None
    sign, day = found[1] if found else "", not (found and found[3])
    after = at + (timedelta(days=1) if day else timedelta(milliseconds=1))
    start, end = at.astimezone(UTC).timestamp(), after.astimezone(UTC).timestamp()
    return {"ge": {"since": start}, "gt": {"since": end}, "le": {"until": end}, "lt": {"until": start}}.get(
        sign, {"since": start, "until": end})


def _whole(request: Request, name: str, default: int, most: int) -> int:
    value = request.query_params.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise ProblemError("bad_query", f"{name} must be a whole number.")
    return min(int(value), most)


def _url(base: str, asked: list[tuple[str, str]]) -> str:
    return f"{base}/AuditEvent" + (f"?{urlencode(asked)}" if asked else "")
