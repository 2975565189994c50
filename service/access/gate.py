"""Gate: what every request passes where the clinician's page is on. Nothing is open but the login; the rest asks who, and may they.

A person is known by the cookie of their session, a program by its token. A change asked with a cookie must come from a page of
ours and bring back its token. What is refused is written into the audit, once it is known who asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.attempts import Attempts, address_of
from service.access.caller import Caller
from service.access.cookies import Cookies
from service.access.forms import SAFE, check_token
from service.access.machines import Machines
from service.access.noting import Noting
from service.access.onward import own_path
from service.access.origins import Origins
from service.access.policy import ANYBODY, CDS_CLIENT, FILES, OPEN, opens
from service.access.sessions import Login, Sessions
from service.access.standing import Standing
from service.ehr_house import House
from service.fhir.problems import respond_problem
from service.problem import ProblemError, respond
from service.review.page import ReviewDesk
from service.words import problem_in

BACKGROUND = frozenset({"/review/events", "/review/live"})  # what a page asks for by itself keeps no session alive
HEADERS = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "same-origin",
           "cross-origin-opener-policy": "same-origin", "cache-control": "no-store"}
OWN_RESOURCES = {"cross-origin-resource-policy": "same-origin"}
HSTS = {"strict-transport-security": "max-age=31536000"}


class Gate:
    """Wrap the application. Raises SettingsError when the page could not be reached safely."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self.app, self.house = app, house
        self.origins = Origins(house.settings)
        self.cookies = Cookies(self.origins.secure)
        self.sessions = Sessions(house)
        self.attempts = Attempts(house)
        self.machines = Machines(house, self.attempts)
        self.desk = ReviewDesk(house)
        self.noting = Noting(house)
        self._headers = {**HEADERS, **(HSTS if self.origins.secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # there are no websockets here
            return
        request, (route, parts) = Request(scope, receive), _route_of(scope)
        answering = partial(self._dressed, send, review=scope["path"].startswith("/review"))
        try:
            passed = await self._let_in(request, route, parts)
        except ProblemError as error:
            scope["route"] = route  # so that it is counted under its template
            await self._refusal(request, error)(scope, receive, answering)
            return
        if isinstance(passed, Response):
            scope["route"] = route
            await passed(scope, receive, answering)
            return
        session = getattr(request.state, "session", "")
        if not session:
            await self.app(scope, passed, answering)
            return
        standing = Standing(passed, answering, partial(self.sessions.named, session))
        try:
            await self.app(scope, standing.receive, standing.send)
        except (OSError, ClientDisconnect):
            if not standing.ended:
                raise

    async def _let_in(self, request: Request, route: BaseRoute | None, parts: Mapping[str, Any]) -> Receive | Response:
        """Return how the application reads the request, or what else to answer. Raises ProblemError."""
        template = getattr(route, "path", "")
        rule = opens(request.method, template)
        if rule == FILES or (rule == CDS_CLIENT and self.house.site.cds_clients):
            return request.receive
        caller, login, receive = await self._caller(request, rule)
        request.state.caller, request.state.csrf = caller, login.csrf if login else ""
        request.state.session = caller.session if caller else ""
        if rule == OPEN:
            return receive
        if caller is None:
            return self._login_page(request)
        if not _enough(caller, rule):
            await self.noting.denied(caller, request.method, template)
            raise ProblemError("forbidden", "Your roles do not allow this. Ask the people who run this service.")
        await self.noting.passed(caller, request, template, parts)
        return receive

    async def _caller(self, request: Request, rule: Any) -> tuple[Caller | None, Login | None, Receive]:
        """Find out who asks, by what they show. Raises ProblemError."""
        authorization = request.headers.getlist("authorization")
        if authorization and rule != OPEN:
            try:
                found = await run_in_threadpool(self.machines.caller, authorization, address_of(request))
            except ProblemError as error:
                if error.problem.code == "no_token":
                    await self.noting.failed("token")
                raise
            return found, None, request.receive
        token = self.cookies.read(request, self.cookies.session)
        on_page = request.url.path.startswith("/review")
        if not token and not on_page:
            return None, None, request.receive
        origin = self.origins.check_host(request)
        login = await run_in_threadpool(
            self.sessions.find, token, used=request.url.path not in BACKGROUND) if token else None
        receive = request.receive
        if request.method not in SAFE:
            self.origins.check_same_site(request, origin)
            if login:
                receive = await check_token(request, login.csrf, self.house.settings.upload_timeout_s)
        elif login and rule != OPEN:
            self.origins.check_reading(request)
        return (login.caller if login else None), login, receive

    def _login_page(self, request: Request) -> Response:
        """Send a browser that shows a page to the login, and tell anybody else that a token is needed."""
        path = request.url.path
        is_page = request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "")
        if not is_page or path.startswith(("/fhir", "/dicom-web", "/cds-services")):
            raise ProblemError("no_token", "Log in at /review, or send the header 'Authorization: Bearer <token>' "
                                           "with a token that holds.")
        query = f"?{request.url.query}" if request.url.query else ""
        onward = own_path(path + query)
        return RedirectResponse("/review/login" if path == "/" else f"/review/login?next={quote(onward, safe='')}", 303)

    def _refusal(self, request: Request, error: ProblemError) -> ASGIApp:
        problem, path = error.problem, request.url.path
        if path == "/fhir" or path.startswith("/fhir/"):
            return respond_problem(problem, retry_after_s=error.retry_after_s)
        language = self.desk.language(request)
        said = problem_in(language, problem)
        if "text/html" in request.headers.get("accept", "") and path.startswith("/review") and problem.code != "wrong_host":
            headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else {}
            return self.desk.page(request, "problem.html", title=said.title, status=problem.status, headers=headers,
                                  problem=said)
        return respond(said, retry_after_s=error.retry_after_s)

    async def _dressed(self, send: Send, message: Message, *, review: bool) -> None:
        """Add the headers that each answer bears, where it says nothing else itself."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in {**self._headers, **(OWN_RESOURCES if review else {})}.items():
                headers.setdefault(name, value)
        await send(message)


def _route_of(scope: Scope) -> tuple[BaseRoute | None, Mapping[str, Any]]:
    """Return the route that will answer, as the router finds it, and the parts of its address."""
    partly: BaseRoute | None = None
    for route in scope["app"].routes:
        match, told = route.matches(scope)
        if match is Match.FULL:
            return route, told.get("path_params", {})
        if match is Match.PARTIAL and partly is None:
            partly = route
    return partly, {}


def _enough(caller: Caller, rule: Any) -> bool:
    if rule == ANYBODY:
        return True
    permissions = ("api_fhir",) if rule == CDS_CLIENT else rule or ()
    return any(caller.may(permission) for permission in permissions)
