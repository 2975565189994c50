"""The review room: every page a clinician, an administrator or a data-protection officer opens, under /review."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from service.access.onward import own_path
from service.access.pages import Login
from service.body import body_of
from service.ehr_house import House
from service.problem import ProblemError, from_exception
from service.review.audit.pages import AuditPages
from service.review.image.pages import Image
from service.review.learn.pages import LearnPages
from service.review.model.pages import ModelPages
from service.review.monitor.pages import MonitorPages
from service.review.page import CONTENT_SECURITY_POLICY, LANGUAGE_COOKIE, ReviewDesk, compile_templates, static_files
from service.review.releases.pages import ReleasePages
from service.review.report.pages import Reports
from service.review.rights.pages import RightsPages
from service.review.risk.pages import Risk
from service.review.verdict.pages import Verdicts
from service.review.worklist.pages import Worklist
from service.words import LANGUAGES, problem_in

Answer = Callable[[Request], Awaitable[Response]]
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
YEAR_S = 365 * 86_400


class Area(Protocol):
    """One area of the page."""

    def routes(self) -> list[Route]: ...


class Review:
    """The room. Its store is the house's."""

    def __init__(self, house: House) -> None:
        self.desk = ReviewDesk(house)
        self.areas: tuple[Area, ...] = tuple(
            make(self.desk) for make in (Login, Worklist, Image, Risk, Verdicts, Reports, ModelPages, ReleasePages, MonitorPages,
                                         LearnPages, AuditPages, RightsPages)
        )

    def open(self) -> None:
        """Open what an area keeps open."""
        compile_templates()
        for area in self.areas:
            getattr(area, "open", _nothing)()

    def close(self) -> None:
        """Close it."""
        for area in reversed(self.areas):
            getattr(area, "close", _nothing)()

    def routes(self) -> list[BaseRoute]:
        """List the addresses; an error becomes a page for whoever asked for one."""
        routes = [Route("/review/static/{name}", self.static, methods=["GET"]),
                  Route("/review/language", self.choose_language, methods=["POST"])]
        for area in self.areas:
            routes += area.routes()
        return [Route(one.path, self._told(one.endpoint), methods=sorted((one.methods or {"GET"}) - {"HEAD"})) for one in routes]

    async def static(self, request: Request) -> Response:
        """Give a file of the page's look; browsers keep it and ask whether it changed."""
        name = request.path_params["name"]
        found = static_files().get(name)
        kind = TYPES.get(name[name.rfind("."):]) if found else None
        if found is None or kind is None:
            raise ProblemError("not_found", "There is no such file.")
        etag = f'"{found[1]}"'
        headers = {"cache-control": "no-cache", "etag": etag, "x-content-type-options": "nosniff",
                   "content-security-policy": CONTENT_SECURITY_POLICY}
        if request.headers.get("if-none-match") == etag:
            return Response(b"", 304, headers)
        return Response(found[0], 200, headers, kind)

    async def choose_language(self, request: Request) -> Response:
        """Remember the language of pages in this browser, and go back to where one was."""
        await body_of(request, self.desk.house.settings.upload_timeout_s)
        form = await request.form()
        language = str(form.get("language", ""))
        if language not in LANGUAGES:
            raise ProblemError("bad_query", "language must be en or fr, found another.")
        answer = RedirectResponse(own_path(str(form.get("next", ""))), 303)
        answer.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR_S, path="/review", httponly=True, samesite="lax")
        return answer

    def _told(self, work: Answer) -> Answer:
        async def answer(request: Request) -> Response:
            try:
                return await work(request)
            except Exception as error:
                if "text/html" not in request.headers.get("accept", ""):
                    raise
                problem = from_exception(error)
                if problem.status >= 500 and not isinstance(error, ProblemError):
                    raise
                language = self.desk.language(request)
                said = problem_in(language, problem)
                return self.desk.page(request, "problem.html", title=said.title, status=problem.status, problem=said)

        return answer


def _nothing() -> None:
    """Some areas keep nothing open."""
