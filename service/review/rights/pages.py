"""The page of patients' rights: who a person is is typed into a form, what may be done is shown, and what cannot be undone is
asked twice, of somebody who has just signed in. No identifier stands in an address.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from service.access.caller import need, need_fresh
from service.persons_keys import called, known_issuers
from service.review.page import HEADERS, ReviewDesk
from service.rights.errors import SENTENCES, RightsError
from service.rights.export import write_archive
from service.rights.person import Person, issuers_of
from service.rights.rights import Erased, Rights
from service.store.rights import SCOPES, Scope, Standing, standings
from service.words import Language, listed, marked, number, say

PLACE = "/review/rights"
MOST_TYPED, MOST_REASON, MOST_SHOWN = 255, 200, 200
CHUNK_BYTES = 1 << 20
IN_MEMORY_BYTES = 8 << 20
AS_TYPED, NOBODY = "*", "-"  # a choice that must be made cannot be empty
SCOPE_WORDS: dict[Scope, str] = {
    "scoring": marked("Not to be scored"), "training": marked("Not to be used for training"),
    "both": marked("Neither scored nor used for training"),
}


@dataclass(frozen=True)
class Asked:
    """Who a form is about."""

    identifier: str = ""
    issuer: str = ""
    study: bool = False


@dataclass(frozen=True)
class Row:
    """One opposition or hold as the page shows it."""

    id: int
    kind: str
    words: str
    whom: str
    is_study: bool
    by: str
    since: datetime
    until: datetime | None
    reason: str


class RightsPages:
    """/review/rights."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route(PLACE, self.start, methods=["GET"]),
            Route(PLACE, self.found, methods=["POST"]),
            Route(f"{PLACE}/export", self.export, methods=["POST"]),
            Route(f"{PLACE}/standing", self.change, methods=["POST"]),
            Route(f"{PLACE}/erase", self.erase, methods=["POST"]),
        ]

    async def start(self, request: Request) -> Response:
        """Show the form, and what stands."""
        need(request, "rights")
        return await self._start(request, Asked())

    async def found(self, request: Request) -> Response:
        """Show what is held of a person, and what may be done."""
        caller, asked = need(request, "rights"), _asked(await request.form())
        try:
            person = await self.desk.look(self._find, caller, asked)
        except RightsError as error:
            return await self._start(request, asked, error=error)
        if not (person.is_held_here or asked.study or asked.issuer):
            others = await self.desk.look(issuers_of, self.desk.house.store, self.desk.house.site, asked.identifier)
            if others:
                return await self._start(request, asked, others=others)
        return await self._person(request, asked, person)

    async def export(self, request: Request) -> Response:
        """Give what is held of a person as an archive."""
        caller, form = need(request, "rights"), await request.form()
        asked, names = _asked(form), form.get("names") == "yes"
        try:
            person = await self.desk.look(self._find, caller, asked)
        except RightsError as error:
            return await self._start(request, asked, error=error)
        file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115  closed when it is sent
        try:
            count = await self.desk.look(write_archive, self.desk.house.store, person, file, now=datetime.now(UTC), names=names)
            self._rights.exported(caller, person, count, way="page")
            size = file.tell()
            file.seek(0)
        except BaseException:
            file.close()
            raise
        headers = {**HEADERS, "content-disposition": 'attachment; filename="access.zip"', "content-length": str(size)}
        return StreamingResponse(_pieces(file), 200, headers, "application/zip", BackgroundTask(file.close))

    async def change(self, request: Request) -> Response:
        """Begin or end an opposition or a legal hold."""
        caller, form = need(request, "rights"), await request.form()
        asked, what, scope = _asked(form), str(form.get("do", "")), str(form.get("scope", ""))
        language = self.desk.language(request)
        try:
            person = await self.desk.look(self._find, caller, asked)
        except RightsError as error:
            return await self._start(request, asked, error=error)
        reason = str(form.get("reason", "")).strip()[:MOST_REASON]
        if what == "oppose" and scope in SCOPES:
            await self.desk.look(self._rights.oppose, caller, person, scope)
            message = say(language, "The opposition stands from now on.")
        elif what == "hold" and reason:
            await self.desk.look(self._rights.hold, caller, person, reason)
            message = say(language, "The legal hold stands from now on.")
        elif what == "withdraw":
            await self.desk.look(self._rights.withdraw, caller, person)
            message = say(language, "The opposition has ended.")
        elif what == "release":
            need_fresh(request, "rights", self.desk.house.site.access.fresh_login_minutes)
            await self.desk.look(self._rights.release, caller, person)
            message = say(language, "The legal hold has ended.")
        else:
            missing = say(language, "A legal hold needs a reason.") if what == "hold" else ""
            return await self._person(request, asked, person, missing=missing)
        return await self._person(request, asked, person, message=message)

    async def erase(self, request: Request) -> Response:
        """Ask once more, then erase."""
        need(request, "rights")
        caller = need_fresh(request, "rights", self.desk.house.site.access.fresh_login_minutes)
        form, language = await request.form(), self.desk.language(request)
        asked, scope = _asked(form), str(form.get("scope", ""))
        opposed: Scope | None = next((one for one in SCOPES if one == scope), None)
        try:
            person = await self.desk.look(self._find, caller, asked)
            if form.get("sure") != "yes" or form.get("counted") != _counted(person):
                return await self._confirm(request, asked, person, opposed, again=form.get("sure") == "yes")
            erased = await self.desk.look(self._rights.erase, caller, person, oppose=opposed)
        except RightsError as error:
            return await self._start(request, asked, error=error)
        return self.desk.page(request, "rights/erased.html", title=say(language, "Erased"), erased=erased, opposed=opposed,
                              told=_told(erased, language))

    async def _start(self, request: Request, asked: Asked, *, error: RightsError | None = None,
                     others: tuple[str, ...] = ()) -> Response:
        """Show the form; ``others`` are issuers under whom something is held where nothing is under the identifier alone."""
        language = self.desk.language(request)
        standing = await self.desk.look(self._standings)
        wrong = say(language, SENTENCES[error.code]) if error else say(
            language, "It is held here only with who gave it: choose, {issuers}.",
            issuers=listed(language, [called(one, language) for one in others])) if others else ""
        return self.desk.page(
            request, "rights/start.html", title=say(language, "Patients' rights"), asked=asked,
            issuers=self._issuers(language, others), nobody=NOBODY, error=wrong, rows=self._rows(standing, language),
            periods=self.desk.house.site.retention,
        )

    async def _person(self, request: Request, asked: Asked, person: Person, *, message: str = "", missing: str = "") -> Response:
        language = self.desk.language(request)
        standing = await self.desk.look(self._rights.standings, person)
        rows = self._rows(standing, language)
        return self.desk.page(
            request, "rights/person.html", title=say(language, "What is held of this person"), asked=asked, person=person, rows=rows,
            scopes=[(one, say(language, SCOPE_WORDS[one])) for one in SCOPES], message=message, missing=missing,
            opposed=any(one.kind == "opposition" and not one.until for one in rows),
            held=await self.desk.look(self._rights.held, person), held_here=any(one.kind == "hold" and not one.until for one in rows),
        )

    async def _confirm(self, request: Request, asked: Asked, person: Person, scope: Scope | None, *, again: bool) -> Response:
        language = self.desk.language(request)
        return self.desk.page(
            request, "rights/confirm.html", title=say(language, "Erase for good"), asked=asked, person=person, scope=scope or "",
            scopes=[("", say(language, "Nothing: they may be scored when images come again")),
                    *((one, say(language, SCOPE_WORDS[one])) for one in SCOPES)],
            counted=_counted(person), again=again, held=await self.desk.look(self._rights.held, person),
        )

    @property
    def _rights(self) -> Rights:
        return Rights.of(self.desk.house)

    def _find(self, caller: Any, asked: Asked) -> Person:
        if not asked.identifier:
            raise RightsError("nobody")
        identifier, issuer = asked.identifier, asked.issuer
        if issuer == NOBODY:  # as it stands, whatever it looks like
            identifier, issuer = f"|{identifier}", ""
        return self._rights.find(caller, identifier, issuer, study=asked.study)

    def _standings(self) -> list[Standing]:
        with self.desk.house.store.reading() as session:
            return standings(session, limit=MOST_SHOWN)

    def _issuers(self, language: Language, others: tuple[str, ...]) -> list[tuple[str, str]]:
        return [(AS_TYPED, say(language, "As it is typed")),
                *((one, called(one, language)) for one in dict.fromkeys([*others, *known_issuers(self.desk.house.site)])),
                (NOBODY, say(language, "Nobody is named as the issuer"))]

    def _rows(self, found: list[Standing], language: Language) -> list[Row]:
        zone = self.desk.house.site.device.zone
        rows: dict[tuple[Any, ...], Row] = {}
        for one in found:
            words = say(language, SCOPE_WORDS[one.scope]) if one.scope in SCOPES else say(language, "Legal hold")
            row = Row(one.id, one.kind, words, (one.person or one.study)[:8], bool(one.study), one.by,
                      datetime.fromtimestamp(one.made_at, UTC).astimezone(zone),
                      datetime.fromtimestamp(one.ended_at, UTC).astimezone(zone) if one.ended_at else None, one.reason)
            rows.setdefault((one.kind, one.scope, one.by, round(one.made_at), one.ended_at, one.reason), row)  # one for all keys
        return list(rows.values())


def _asked(form: Mapping[str, Any]) -> Asked:
    issuer = str(form.get("issuer", "")).strip()[:MOST_TYPED]
    identifier = str(form.get("identifier", "")).strip()[:MOST_TYPED]
    return Asked(identifier, "" if issuer == AS_TYPED else issuer, form.get("kind") == "study")


def _counted(person: Person) -> str:
    """Return what a confirmation is of: when more has come since, it is asked again."""
    return f"{len(person.studies)}-{len(person.subjects)}-{len(person.risks)}"


def _told(erased: Erased, language: Language) -> str:
    return listed(language, [f"{target} ({number(language, count)})" for target, count in sorted(erased.copies.items())])


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece
