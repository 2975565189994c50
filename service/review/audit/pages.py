"""The pages of the audit: everything that was done, and who looked at one patient. Looking is itself written down.

An identifier is typed into a form and never stands in an address; what is kept and searched for is its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Protocol
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from service.access.caller import Caller, need
from service.audit.export import as_csv
from service.audit.line import ACTIONS
from service.persons_keys import BARE, called, keys_typed, known_issuers
from service.problem import ProblemError
from service.review.audit.spoken import ACTION_WORDS, OUTCOME_WORDS, Spoken, actor_words, spoken
from service.review.page import HEADERS, ReviewDesk
from service.rights.person import issuers_of
from service.store.audit import End, Line, end_of
from service.store.audit_search import Found, Query, about, actors, search
from service.words import Language, say

MOST_EXPORTED = 100_000
MOST_TYPED = 255
EXPORT_PAGE = 1000
EVERYTHING = "all"  # a choice that must be made has a value
_KEY = re.compile(r"[0-9a-f]{32}")
_FILTERS = ("action", "outcome", "actor", "since", "until")


class Asked(Protocol):
    """A filter: what an address says, or the fields of a form."""

    def get(self, key: str, default: str, /) -> str: ...


@dataclass(frozen=True)
class Group:
    """What was done to the person that one issuer knows by the identifier: never mixed with another's."""

    issuer: str
    keys: tuple[str, ...]
    lines: tuple[Spoken, ...]
    people: int  # who looked, programs not counted
    older: int


class AuditPages:
    """/review/audit and /review/persons."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route("/review/audit", self.audit, methods=["GET"]),
            Route("/review/audit/export", self.export, methods=["POST"]),
            Route("/review/persons", self.persons, methods=["GET"]),
            Route("/review/persons", self.looked, methods=["POST"]),
            Route("/review/persons/export", self.export_person, methods=["POST"]),
        ]

    async def audit(self, request: Request) -> Response:
        """Show what was done, the newest first."""
        caller, language = need(request, "audit"), self.desk.language(request)
        known = await self.desk.look(self._actors)
        query, asked = self._query(request.query_params, known), _asked(request)
        before = _whole(request.query_params.get("before", ""))
        found, end = await self.desk.look(self._found, query, before)
        self.desk.house.audit.note(caller, "view", kind="audit", detail={"count": len(found.lines)})
        head = self.desk.house.audit.head.read()
        return self.desk.page(
            request, "audit/list.html", title=say(language, "Audit"), lines=self._spoken(found.lines, language), end=end,
            cut=head.number > end.number, asked=asked, filtered=any(asked.values()), before=before,
            older=_address("/review/audit", {**asked, "before": str(found.older)}) if found.older else "",
            newest=_address("/review/audit", asked) if before else "",
            actions=[(one, say(language, ACTION_WORDS[one])) for one in ACTIONS],
            outcomes=[(one, say(language, words)) for one, words in OUTCOME_WORDS.items()],
            actors=[(key, name) for key, (_, name) in self._named(known, language).items()],
        )

    async def export(self, request: Request) -> Response:
        """Give the lines that are filtered for as a table."""
        caller = need(request, "audit")
        form = await request.form()
        known = await self.desk.look(self._actors)
        query = self._query({name: str(form.get(name, "")) for name in _FILTERS}, known)
        found = await self.desk.look(self._all, query, ())
        return self._table(caller, found, (), "audit.csv")

    async def persons(self, request: Request) -> Response:
        """Show the form that asks who looked at a patient."""
        need(request, "audit")
        return self._persons(request, "", "", None)

    async def looked(self, request: Request) -> Response:
        """Show who looked at the patient of an identifier, or an older page of it."""
        caller, language = need(request, "audit"), self.desk.language(request)
        form = await request.form()
        keys = tuple(one for one in form.getlist("person") if isinstance(one, str) and _KEY.fullmatch(one))[:20]
        typed, issuer = str(form.get("identifier", "")).strip()[:MOST_TYPED], str(form.get("issuer", "")).strip()[:MOST_TYPED]
        issuer = "" if issuer == EVERYTHING else issuer
        asked = [(issuer, keys)] if keys else self._candidates(typed, issuer, language) if typed else []
        groups = await self.desk.look(self._groups, asked, _whole(str(form.get("before", ""))), language)
        shown = [one for one in groups if one.lines]
        if asked:  # of several who may be meant, the search is about those it showed something of
            told = [key for one in (shown or groups[:1]) for key in one.keys]
            count = sum(len(one.lines) for one in groups)
            self.desk.house.audit.note(caller, "search", kind="person", persons=told, detail={"count": count})
        return self._persons(request, typed, issuer, shown if asked else None, error=not asked, paged=bool(keys))

    async def export_person(self, request: Request) -> Response:
        """Give who looked at one patient as a table. The keys stand in the body."""
        caller, form = need(request, "audit"), await request.form()
        keys = tuple(one for one in form.getlist("person") if isinstance(one, str) and _KEY.fullmatch(one))[:20]
        if not keys:
            raise ProblemError("bad_query", "A table needs whom it is about. Search for the patient first.")
        found = await self.desk.look(self._all, Query(), keys)
        return self._table(caller, found, keys, "who-looked.csv")

    def _persons(self, request: Request, typed: str, issuer: str, groups: list[Group] | None, *, error: bool = False,
                 paged: bool = False) -> Response:
        language = self.desk.language(request)
        known = known_issuers(self.desk.house.site)
        issuers = [(EVERYTHING, say(language, "Any issuer of this site, each by itself")),
                   *((one, called(one, language)) for one in known),
                   ("-", say(language, "Nobody is named as the issuer"))]
        return self.desk.page(
            request, "audit/persons.html", title=say(language, "Who looked at this patient"), typed=typed, issuer=issuer,
            groups=groups, error=say(language, "Type an identifier.") if error else "", paged=paged, issuers=issuers,
        )

    def _candidates(self, typed: str, issuer: str, language: Language) -> list[tuple[str, tuple[str, ...]]]:
        """Return whom an identifier may mean, by issuer: they may be different people."""
        store, site = self.desk.house.store, self.desk.house.site
        nobody = say(language, "Nobody is named as the issuer")
        if issuer == "-":
            return [(nobody, keys_typed(store, site, typed, BARE))]
        if issuer:
            return [(called(issuer, language), keys_typed(store, site, typed, issuer))]
        plain = keys_typed(store, site, typed)
        found = {plain: say(language, "As it was typed") if plain != keys_typed(store, site, typed, BARE) else nobody}
        if "|" not in typed:
            for one in dict.fromkeys([*issuers_of(store, site, typed), *known_issuers(site), BARE]):
                found.setdefault(keys_typed(store, site, typed, one), called(one, language) or nobody)
        return [(words, keys) for keys, words in found.items() if keys]

    def _groups(self, asked: Iterable[tuple[str, tuple[str, ...]]], before: int, language: Language) -> list[Group]:
        groups = []
        with self.desk.house.store.reading() as session:
            for issuer, keys in asked:
                found = about(session, keys, before=before)
                people = {one.actor for one in found.lines if not one.actor.startswith("machine:") and one.actor_name}
                groups.append(Group(issuer, keys, tuple(self._spoken(found.lines, language)), len(people), found.older))
        return groups

    def _found(self, query: Query, before: int) -> tuple[Found, End]:
        with self.desk.house.store.reading() as session:
            return search(session, query, before=before), end_of(session)

    def _all(self, query: Query, persons: tuple[str, ...]) -> list[Line]:
        lines: list[Line] = []
        before = 0
        while len(lines) < MOST_EXPORTED:
            with self.desk.house.store.reading() as session:
                found = (about(session, persons, before=before, limit=EXPORT_PAGE) if persons
                         else search(session, query, before=before, limit=EXPORT_PAGE))
            lines += found.lines
            before = found.older
            if not before:
                break
        return lines[:MOST_EXPORTED]

    def _table(self, caller: Caller, lines: list[Line], persons: tuple[str, ...], name: str) -> Response:
        self.desk.house.audit.note(caller, "export", kind="person" if persons else "audit", persons=persons,
                                   detail={"count": len(lines), "format": "csv", "way": "page"})
        headers = {**HEADERS, "content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(iter(list(as_csv(lines, ""))), 200, headers, "text/csv; charset=utf-8")

    def _actors(self) -> list[tuple[str, str]]:
        with self.desk.house.store.reading() as session:
            return actors(session)

    def _named(self, known: Iterable[tuple[str, str]], language: Language) -> dict[str, tuple[str, str]]:
        """Return actors by the key they have in addresses: who did something is nobody's business who reads over a shoulder."""
        return {self._key(actor): (actor, name or actor_words(actor, language)) for actor, name in known}

    def _key(self, actor: str) -> str:
        return self.desk.house.store.pseudonym(f"actor {actor}")[:16]

    def _query(self, asked: Asked, known: Iterable[tuple[str, str]]) -> Query:
        """Read the filter. What it cannot be is left out: a page of everything is shown rather than none."""
        told = {name: asked.get(name, "") for name in _FILTERS}
        by_key = {self._key(actor): actor for actor, _ in known}
        zone = self._zone
        until = _day(told["until"], zone)
        return Query(
            actor=by_key.get(told["actor"], ""), action=told["action"] if told["action"] in ACTIONS else "",
            outcome=told["outcome"] if told["outcome"] in OUTCOME_WORDS else "",
            since=_seconds(_day(told["since"], zone)), until=_seconds(until + timedelta(days=1) if until else None),
        )

    @property
    def _zone(self) -> tzinfo | None:
        return self.desk.house.site.device.zone

    def _spoken(self, lines: Iterable[Line], language: Language) -> list[Spoken]:
        return [spoken(one, language, self._zone) for one in lines]


def _asked(request: Request) -> dict[str, str]:
    told = {name: request.query_params.get(name, "")[:64] for name in _FILTERS}
    return {name: "" if value == EVERYTHING else value for name, value in told.items()}


def _address(path: str, asked: dict[str, str]) -> str:
    told = urlencode({name: value for name, value in asked.items() if value})
    return f"{path}?{told}" if told else path


def _day(text: str, zone: tzinfo | None) -> datetime | None:
    try:
        told = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime(told.year, told.month, told.day, tzinfo=zone or datetime.now(UTC).astimezone().tzinfo)


def _seconds(when: datetime | None) -> float | None:
    return when.timestamp() if when else None


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
