"""Pages: what every page of the review room shares: templates, words, who looks, and the headers that keep it safe."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse

from models.shelf import Shelf
from service import words
from service.access.caller import Caller, caller_if_any, csrf_of
from service.answers import NOTICE
from service.ehr_house import House
from service.releases.state import State
from service.store.alarms import ringing
from service.words import Language, as_language, language_of, marked, say

T = TypeVar("T")
ROOM = Path(__file__).parent
TEMPLATES, STATIC = ROOM / "templates", ROOM / "static"
LANGUAGE_COOKIE = "diaphane-language"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "cache-control": "no-store", "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()", "content-security-policy": CONTENT_SECURITY_POLICY,
}
NAV = (  # address, what it is called, the permission it takes
    ("/review", marked("Worklist"), "worklist"),
    ("/review/department", marked("Emergency department"), "risk"),
    ("/review/models", marked("Models"), "model"),
    ("/review/releases", marked("Releases"), "model"),
    ("/review/monitor", marked("Monitor"), "watch"),
    ("/review/learn", marked("What to judge next"), "learn"),
    ("/review/audit", marked("Audit"), "audit"),
    ("/review/rights", marked("Patients' rights"), "rights"),
)
ALARMS_S = 10.0  # how old what a page says of alarms may be: they are judged once an hour


class ReviewDesk:
    """What the areas of the page work with."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._rang: tuple[float, dict[str, tuple[str, ...]]] = (-ALARMS_S, {})

    def states(self) -> dict[str, State]:
        """Return what each release does here and which alarms are open, by id; empty while they are being opened."""
        scoring = self.house.scoring
        if not scoring.ready:
            return {}
        rang = self._ringing()
        return {name: replace(one, alarms=rang[name]) if name in rang else one
                for name, one in self.house.standings.states(scoring.installed).items()}

    def _ringing(self) -> dict[str, tuple[str, ...]]:
        """Return the kinds of open alarms by release, as they were some seconds ago at most."""
        now = time.monotonic()
        if now - self._rang[0] >= ALARMS_S:
            found: dict[str, tuple[str, ...]] = {}
            for release, kind in sorted(ringing(self.house.store)):
                found[release] = (*found.get(release, ()), kind)
            self._rang = now, found
        return self._rang[1]

    def language(self, request: Request) -> Language:
        """Return the language of a page: the one chosen on a page, else what the browser likes, else the site's."""
        default = self.house.site.device.language
        chosen = request.cookies.get(LANGUAGE_COOKIE, "")
        return as_language(chosen, language_of(request.headers.get("accept-language"), default))

    def page(self, request: Request, template: str, *, title: str, status: int = 200, headers: dict[str, str] | None = None,
             **values: Any) -> HTMLResponse:
        """Render a page. ``title`` is in the page's language and names nobody."""
        return self._html(request, template, status, headers, title=title, **values)

    def fragment(self, request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None,
                 **values: Any) -> HTMLResponse:
        """Render a part of a page, for a script that puts it in its place."""
        return self._html(request, template, status, headers, title="", **values)

    async def run(self, work: Callable[[Shelf], T]) -> T:
        """Do work that scores, on a scoring thread. Raises ProblemError when it takes too long or nothing is ready."""
        return await self.house.scoring.run(lambda shelf, _: work(shelf))

    async def look(self, work: Callable[..., T], *args: Any, **named: Any) -> T:
        """Do work that reads or writes the store, on another thread."""
        return await run_in_threadpool(partial(work, *args, **named))

    def _html(self, request: Request, template: str, status: int, headers: dict[str, str] | None, **values: Any) -> HTMLResponse:
        language, caller = self.language(request), caller_if_any(request)
        path = request.url.path
        shared = {
            "language": language, "caller": caller, "csrf": csrf_of(request), "csrf_token": csrf_of(request), "path": path,
            "notice": NOTICE[language],
            "nav": self._nav(caller, language, path), "request": request, "message": "",
            "keys": (), **_words(language),
        }
        text = _templates().get_template(template).render({**shared, **values})
        told = {"content-language": language, "vary": "accept-language, cookie", **(headers or {})}
        return HTMLResponse(text, status, {**HEADERS, **told})

    def _nav(self, caller: Caller | None, language: Language, path: str) -> list[dict[str, Any]]:
        if caller is None:
            return []
        return [
            {"href": href, "label": say(language, label),
             "current": path == href or (href != "/review" and path.startswith(f"{href}/"))}
            for href, label, permission in NAV if caller.may(permission)
        ]


def static_url(name: str) -> str:
    """Return the address of a static file. Raises KeyError when there is no such file."""
    _ = static_files()[name]
    return f"/review/static/{name}"


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Return every static file by name, with the hash of its content."""
    files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file()}
    return {name: (content, hashlib.sha256(content).hexdigest()[:16]) for name, content in files.items()}


def compile_templates() -> None:
    """Compile every template, so that the first who opens a page does not wait for it."""
    for name in _templates().list_templates():
        _templates().get_template(name)


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["static"] = static_url
    return made


@cache
def _words(language: Language) -> dict[str, Any]:
    """Return what templates say things with, in one language."""

    def translated(sentence: str, /, **values: Any) -> str:
        if any(isinstance(value, Markup) for value in values.values()):  # one of them is markup: then all else is escaped
            return Markup(say(language, sentence)).format(**values)  # noqa: S704  the sentence is ours, format escapes the values
        return say(language, sentence, **values)

    bound = {name: partial(getattr(words, name), language)
             for name in ("number", "percent", "likely", "day", "moment", "unit", "listed", "in_words", "of_release")}
    return {"_": translated, "say_marked": translated, **bound}  # say_marked: of a sentence that a table of the code holds


