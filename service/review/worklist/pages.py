"""The worklist's addresses: the list, its rows for a script, the search, the live stream, and the way from a line to its page."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from service.access.caller import Caller, caller_of
from service.body import body_of
from service.problem import ProblemError
from service.review.page import HEADERS, ReviewDesk
from service.review.worklist import asked as address
from service.review.worklist.asked import Asked, asked_of
from service.review.worklist.choices import choices_of
from service.review.worklist.events import Events
from service.review.worklist.glances import Glances
from service.review.worklist.seal import LONGEST, seal, unseal
from service.review.worklist.shown import Line, line_of
from service.review.worklist.sight import sees, within
from service.store import entries, entries_page
from service.store.entries_page import Page, Query
from service.store.review_tables import Entry
from service.told_before import CatchUp
from service.words import Language, in_words, say

MOST_KEYS = 100  # a script asks for at once
_LOOKS_ON = 1  # time that a page which found too little is continued before somebody has to ask for it


class Worklist:
    """The list of one process."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk
        self.events = Events(desk)
        self.glances = Glances(desk)
        self.catch_up = CatchUp(lambda: desk.house.store, desk.house.site)

    def open(self) -> None:
        """Begin to list what was assessed before there was a list."""
        self.catch_up.open()

    def close(self) -> None:
        """End it."""
        self.catch_up.close()

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route("/review", self.show, methods=["GET"]),
            Route("/review/rows", self.rows, methods=["GET"]),
            Route("/review/live", self.live, methods=["GET"]),
            Route("/review/next", self.next, methods=["GET"]),
            Route("/review/search", self.search, methods=["POST"]),
            Route("/review/events", self.events.answer, methods=["GET"]),
            Route("/review/e/{key}", self.entry, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the list."""
        values = await self._looked(request, asked_of(request.query_params))
        return self.desk.page(request, "worklist/list.html", title=say(self.desk.language(request), "Worklist"), **values)

    async def rows(self, request: Request) -> Response:
        """Give the list without its frame."""
        return self.desk.fragment(request, "worklist/section.html", **await self._looked(request, asked_of(request.query_params)))

    async def live(self, request: Request) -> Response:
        """Give single lines by their keys: those that pass the filters, those that do not any more; what is absent is gone."""
        keys = tuple(dict.fromkeys(request.query_params.getlist("key")))
        if len(keys) > MOST_KEYS:
            raise ProblemError("bad_query", f"key may be given {MOST_KEYS} times, found more. Load the list again.")
        params = QueryParams([pair for pair in request.query_params.multi_items() if pair[0] != "key"])
        asked = replace(asked_of(params), after="", before="")
        caller, language = caller_of(request), self.desk.language(request)
        passing = within(caller, replace(asked.query(await self._typed(caller, asked)), size=MOST_KEYS, keys=keys))
        known = replace(Query(view="all", keys=keys, size=MOST_KEYS), kinds=passing.kinds)
        found = await self.desk.look(entries_page.page, self.desk.house.store, passing)
        others = await self.desk.look(entries_page.page, self.desk.house.store, known)
        matching = {one.key for one in found.lines}
        seen = [one for one in others.lines if sees(caller, one.kind, one.department, one.model.split())]
        self.glances.note(caller, seen)
        lines = self._lines(seen, language)
        html = self.desk.fragment(request, "worklist/lines.html", lines=lines, asked=asked).body
        told = [{"key": one.key, "urgency": one.urgency, "matches": one.key in matching} for one in lines]
        return JSONResponse({"lines": told, "html": bytes(html).decode()}, headers=HEADERS)

    async def next(self, request: Request) -> Response:
        """Go to the most urgent line that nobody has opened, and where there is none to the list."""
        caller, store = caller_of(request), self.desk.house.store
        query = within(caller, Query(states=("new",)))
        found = await self.desk.look(entries_page.page, store, query)
        line = next((one for one in found.lines if sees(caller, one.kind, one.department, one.model.split())), None)
        return RedirectResponse(f"/review/e/{line.key}" if line else "/review", 303, HEADERS)

    async def search(self, request: Request) -> Response:
        """Take what was typed, and show what it finds at an address that does not say it."""
        caller = caller_of(request)
        await body_of(request, self.desk.house.settings.upload_timeout_s)
        form = await request.form()
        typed = str(form.get("text", "")).strip()[:LONGEST]
        params = QueryParams([(name, str(value)) for name, value in form.multi_items() if name not in ("text", "csrf")])
        asked = replace(asked_of(params), found=seal(self.desk.house.store, caller, typed) if typed else "", after="", before="")
        if typed:
            self.desk.house.audit.note(caller, "search", kind="worklist")
        is_script = "text/html" not in request.headers.get("accept", "")
        return JSONResponse({"href": asked.href()}, headers=HEADERS) if is_script else RedirectResponse(asked.href(), 303, HEADERS)

    async def entry(self, request: Request) -> Response:
        """Go from a line to the page of what it is about."""
        caller = caller_of(request)
        line = await self.desk.look(entries.by_key, self.desk.house.store, request.path_params["key"])
        if line is None or not sees(caller, line.kind, line.department, line.model.split()):
            raise ProblemError("not_found", "There is no such line in the worklist.")
        return RedirectResponse(page_of(line), 303, HEADERS)

    async def _looked(self, request: Request, asked: Asked) -> dict[str, Any]:
        """Look, and return what the template shows."""
        caller, language, store = caller_of(request), self.desk.language(request), self.desk.house.store
        number = await self.desk.look(entries.last_number, store)  # before the lines: what changes meanwhile is told again
        typed = await self._typed(caller, asked)
        query = within(caller, asked.query(typed))
        found = await self.desk.look(_page, store, query)
        counts = await self.desk.look(entries_page.counts, store, query)
        seen = [one for one in found.lines if sees(caller, one.kind, one.department, one.model.split())]
        self.glances.note(caller, seen)
        waiting = await self.desk.look(entries_page.being_assessed, store) if asked.view == "open" and caller.may("study") else None
        choices = await self.desk.look(choices_of, self.desk.house, caller, language)
        return {
            "asked": asked, "lines": self._lines(seen, language), "counts": counts, "typed": typed, "last_number": number,
            "choices": choices, "waiting": waiting, "found": found, "previous": self._beside(asked, query, found, "before"),
            "following": self._beside(asked, query, found, "after"),
        }

    async def _typed(self, caller: Caller, asked: Asked) -> str:
        """Return what was typed into the search. Raises ProblemError when the address is another session's, or too old."""
        if not asked.found:
            return ""
        text = unseal(self.desk.house.store, caller, asked.found)
        if text is None:
            raise ProblemError("not_found", "This search has ended with its session. Search again.")
        return text

    def _beside(self, asked: Asked, query: Query, found: Page, where: str) -> str:
        """Return the address of the page before or behind, "" where there is none."""
        if not (found.more_before if where == "before" else found.more_after):
            return ""
        edge = found.lines[0 if where == "before" else -1] if found.lines else None
        goes_on = found.stopped if (query.before is not None) == (where == "before") else None
        position = goes_on or (entries_page.position_of(query, edge) if edge else None)
        if position is None:
            return asked.href() if where == "before" else ""
        return asked.href(**{"after": "", "before": "", where: address.told(position)})

    def _lines(self, found: Iterable[Entry], language: Language) -> list[Line]:
        now, zone = time.time(), self.desk.house.site.device.zone
        return [line_of(one, language, self._title, now=now, zone=zone) for one in found]

    def _title(self, release: str, language: Language) -> str:
        """Return what people call a release; its id when it is not on the shelf any more, or the shelf is not open yet."""
        try:
            manifest = self.desk.house.scoring.shelf.known(release).manifest
        except (KeyError, ProblemError):
            return release
        return in_words(language, manifest.title, manifest.title_fr)


def page_of(line: Entry) -> str:
    """Return the address of what a line is about."""
    if line.kind == "study":
        return f"/review/studies/{line.key}"
    return f"/review/risks/{line.detail.get('page') or line.target}"


def _page(store: Any, query: Query) -> Page:
    """Return a page; when filters let too little through, look on for a while."""
    found = entries_page.page(store, query)
    lines: Sequence[Entry] = found.lines
    first = found
    for _ in range(_LOOKS_ON):
        if found.stopped is None or query.before is not None:
            break
        found = entries_page.page(store, replace(query, after=found.stopped, size=query.size - len(lines)))
        lines = (*lines, *found.lines)
    return replace(found, lines=tuple(lines), more_before=first.more_before)
