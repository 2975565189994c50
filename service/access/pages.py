"""Login: the pages on which people say who they are, see where they are logged in, and log out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.access.attempts import Attempts, address_of
from service.access.caller import Caller, caller_if_any, caller_of
from service.access.claims import person_of
from service.access.cookies import Cookies
from service.access.links import offered, use_link
from service.access.onward import own_path
from service.access.origins import Origins
from service.access.provider import LoginFailed, OpenIdProvider
from service.access.sessions import Sessions, hash_of, id_token_of
from service.audit.line import Action
from service.problem import ProblemError
from service.review.page import ReviewDesk
from service.store import sessions as kept
from service.store.audit import Outcome
from service.store.review_tables import PendingLogin
from service.words import marked, moment, say

CLEARED = {"clear-site-data": '"cache"'}  # pictures that the browser kept: the next person at this machine must not find them
PENDING_S = 600.0  # how long somebody may take at the provider
LONGEST_CODE = 4096
UNREACHABLE = "unreachable"  # nobody's attack, and nobody said who they are: neither counted nor written down
# What is said of a login that failed, by the rule that was broken; what is not here is the last.
WHY = {
    "link": marked("This link does not log in any more: each works once, within ten minutes, on the machine that made it."),
    "state": marked("The login took too long, or was begun in another window. Try again."),
    UNREACHABLE: marked("The login service does not answer. Try again, or ask the people who run this service."),
    "cancelled": marked("The login was not completed. Try again."),
    "acr": marked("A stronger login is needed here than the one that was used, such as with the professional card."),
    "": marked("The answer of the login service could not be trusted, so nobody was logged in. Try again."),
}


class Login:
    """The area of the page that is open to everybody."""

    def __init__(self, desk: ReviewDesk, clock: Callable[[], float] = time.time) -> None:
        self.desk, self.house, self._clock = desk, desk.house, clock
        self.origins = Origins(desk.house.settings)
        self.cookies = Cookies(self.origins.secure)
        self.sessions, self.attempts = Sessions(desk.house, clock), Attempts(desk.house, clock)
        self.providers = {one.name: OpenIdProvider(one, clock) for one in desk.house.site.access.providers}

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route("/review/login", self.login, methods=["GET"]),
            Route("/review/login/{provider}", self.begin, methods=["GET"]),
            Route("/review/callback", self.callback, methods=["GET"]),
            Route("/review/logout", self.leaving, methods=["GET"]),
            Route("/review/logout", self.leave, methods=["POST"]),
            Route("/review/sessions", self.list, methods=["GET"]),
            Route("/review/sessions", self.end, methods=["POST"]),
        ]

    async def login(self, request: Request) -> Response:
        """Show how to log in, or log in with a link."""
        link = request.query_params.get("link", "")
        if link:
            return await self._with_link(request, link)
        onward, fresh = own_path(request.query_params.get("next", "")), "fresh" in request.query_params
        if caller_if_any(request) is not None and not fresh:
            return RedirectResponse(onward, 303)
        return self._page(request, onward=onward, fresh=fresh)

    async def begin(self, request: Request) -> Response:
        """Send the browser to a provider."""
        provider = self._provider(request.path_params["provider"])
        onward = own_path(request.query_params.get("next", ""))
        origin = self.origins.check_host(request)
        if self.origins.base and origin != self.origins.base:  # the provider sends back there, and cookies are of one host
            return RedirectResponse(f"{self.origins.base}{request.url.path}?{urlencode({'next': onward})}", 303)
        await self.desk.look(self.attempts.check, address_of(request), provider.name)
        state, browser, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
        try:
            url = await self.desk.look(provider.ask, self._callback(origin), state=state, nonce=nonce, verifier=verifier,
                                       fresh="fresh" in request.query_params)
        except LoginFailed as failed:
            return await self._failed(request, failed.rule, provider.name, onward)
        now = self._clock()
        row = PendingLogin(id=hash_of(state), browser=hash_of(browser), provider=provider.name, nonce=nonce, verifier=verifier,
                           onward=onward, expires_at=now + PENDING_S)
        if not await self.desk.look(self._add_pending, row, now):
            raise ProblemError("busy", "Too many people are logging in at once. Try again.", retry_after_s=30)
        answer = RedirectResponse(url, 303)
        self.cookies.write(answer, self.cookies.login, browser, lifetime_s=int(PENDING_S))
        return answer

    async def callback(self, request: Request) -> Response:
        """Take what a provider answers: once, in the browser that asked, within ten minutes."""
        address = address_of(request)
        await self.desk.look(self.attempts.check, address)
        pending = await self.desk.look(self._take_pending, request)
        if pending is None or pending.provider not in self.providers:
            return await self._failed(request, "state", "", own_path(""))
        provider = self.providers[pending.provider]
        try:
            await self.desk.look(provider.check_issuer, request.query_params.getlist("iss"))
            codes = request.query_params.getlist("code")
            if "error" in request.query_params or len(codes) != 1 or not 0 < len(codes[0]) <= LONGEST_CODE:
                raise LoginFailed("cancelled")
            claims, id_token = await self.desk.look(
                provider.answer, self._callback(self.origins.check_host(request)), code=codes[0], nonce=pending.nonce,
                verifier=pending.verifier)
        except LoginFailed as failed:
            return await self._failed(request, failed.rule, provider.name, pending.onward)
        caller = person_of(claims, provider.name, self.house.site.access.grants)
        if not caller.roles:
            return await self._no_role(request, caller, provider, id_token)
        await self.desk.look(self.attempts.succeeded, address, provider.name)
        return await self._log_in(request, caller, pending.onward, "oidc", id_token, claims.get("auth_time"))

    async def leaving(self, request: Request) -> Response:
        """Ask whether to log out, or say that it is done."""
        title = say(self.desk.language(request), "Sign out")
        return self.desk.page(request, "access/signed_out.html", title=title, there="", provider="")

    async def leave(self, request: Request) -> Response:
        """End the session, here and at the provider."""
        caller = caller_of(request)
        token = self.cookies.read(request, self.cookies.session)
        login = await self.desk.look(self.sessions.find, token, used=False)
        await self.desk.look(self.sessions.end, [caller.session], caller.subject)
        await self._note(caller, "logout", provider=caller.provider)
        provider = self.providers.get(caller.provider)
        there = ""
        if provider is not None and login is not None:
            there = await self.desk.look(provider.goodbye, id_token_of(login, token), self._signed_out(request))
        request.state.caller, request.state.csrf = None, ""
        # A page that leads on by itself, and no redirect: form-action 'self' would stop one to another site.
        answer = self.desk.page(request, "access/signed_out.html", title=say(self.desk.language(request), "Signed out"), there=there,
                                provider=provider.title if provider else "",
                                headers={**CLEARED, **({"refresh": f"1; url={there}"} if there else {})})
        self.cookies.forget(answer, self.cookies.session)
        return answer

    async def list(self, request: Request) -> Response:
        """Show where somebody is logged in."""
        caller = caller_of(request)
        found = await self.desk.look(self.sessions.of, caller.subject)
        return self.desk.page(request, "access/sessions.html", title=say(self.desk.language(request), "My sessions"), sessions=found,
                              at=self._at(request), idle_minutes=self.house.site.access.session_idle_minutes)

    async def end(self, request: Request) -> Response:
        """End one of one's own sessions, or all but this one."""
        caller = caller_of(request)
        form = await request.form()
        if form.get("which") == "others":
            count = await self.desk.look(self.sessions.end_all, caller.subject, but=caller.session)
        else:
            count = await self.desk.look(self.sessions.end, [str(form.get("which", ""))], caller.subject)
        if count:
            await self._note(caller, "logout", way="ended", count=count)
        return RedirectResponse("/review/sessions", 303)

    async def _with_link(self, request: Request, link: str) -> Response:
        self.origins.check_host(request)
        if "prefetch" in request.headers.get("sec-purpose", ""):  # a browser that looks ahead must not use the link up
            return Response(status_code=503, headers={"cache-control": "no-store"})
        address = address_of(request)
        await self.desk.look(self.attempts.check, address, "link")
        caller = await self.desk.look(use_link, self.house, request, link)
        if caller is None:
            return await self._failed(request, "link", "", own_path(""))
        await self.desk.look(self.attempts.succeeded, address, "link")
        return await self._log_in(request, caller, own_path(request.query_params.get("next", "")), "link")

    async def _log_in(self, request: Request, caller: Caller, onward: str, way: str, id_token: str = "",
                      auth_time: object = None) -> Response:
        """Begin a session; one that this browser had before ends."""
        before = caller_if_any(request)
        if before is not None:
            await self.desk.look(self.sessions.end, [before.session], before.subject)
        shown_at = float(auth_time) if isinstance(auth_time, int | float) and not isinstance(auth_time, bool) else self._clock()
        token = await self.desk.look(self.sessions.begin, caller, id_token=id_token, login_at=shown_at)
        await self._note(caller, "login", way=way, provider=caller.provider)
        answer = RedirectResponse(onward, 303)
        self.cookies.write(answer, self.cookies.session, token)
        self.cookies.forget(answer, self.cookies.login)
        return answer

    async def _failed(self, request: Request, rule: str, provider: str, onward: str) -> Response:
        if rule != UNREACHABLE:
            await self.desk.look(self.attempts.failed, address_of(request), provider or rule)
            await self._note(None, "login", "failed", reason=rule, provider=provider)
        status = 502 if rule == UNREACHABLE else 403
        answer = self._page(request, onward=onward, fresh=False, why=WHY.get(rule, WHY[""]), status=status)
        self.cookies.forget(answer, self.cookies.login)
        return answer

    async def _no_role(self, request: Request, caller: Caller, provider: OpenIdProvider, id_token: str) -> Response:
        await self._note(caller, "login", "denied", reason="no_role", provider=provider.name)
        leave = await self.desk.look(provider.goodbye, id_token, self._signed_out(request))
        answer = self.desk.page(request, "access/no_role.html", title=say(self.desk.language(request), "No role here"), status=403,
                                provider=provider.title, leave=leave)
        self.cookies.forget(answer, self.cookies.login)
        return answer

    async def _note(self, caller: Caller | None, action: Action, outcome: Outcome = "success", **detail: str | int) -> None:
        told = {name: value for name, value in detail.items() if value}
        await self.desk.look(self.house.audit.note, caller, action, outcome=outcome, detail=told)

    def _page(self, request: Request, *, onward: str, fresh: bool, why: str = "", status: int = 200) -> Response:
        language = self.desk.language(request)
        more = {"next": onward, **({"fresh": "1"} if fresh else {})}
        buttons = [(f"/review/login/{one.name}?{urlencode(more)}", one.title) for one in self.providers.values()]
        return self.desk.page(request, "access/login.html", title=say(language, "Log in"), status=status, buttons=buttons,
                              with_link=offered(self.house.settings, self.house.site), why=say(language, why), fresh=fresh)

    def _at(self, request: Request) -> Callable[[float], str]:
        language, zone = self.desk.language(request), self.house.site.device.zone
        return lambda seconds: moment(language, datetime.fromtimestamp(seconds, zone).replace(tzinfo=None))  # here, so no offset

    def _provider(self, name: str) -> OpenIdProvider:
        if name not in self.providers:
            raise ProblemError("not_found", "There is no login service of that name.")
        return self.providers[name]

    def _callback(self, origin: str) -> str:
        return f"{self.origins.base or origin}/review/callback"

    def _signed_out(self, request: Request) -> str:
        return f"{self.origins.base or self.origins.check_host(request)}/review/logout"

    def _add_pending(self, row: PendingLogin, now: float) -> bool:
        with self.house.store.session() as session:
            return kept.add_pending(session, row, now)

    def _take_pending(self, request: Request) -> PendingLogin | None:
        states, browser = request.query_params.getlist("state"), self.cookies.read(request, self.cookies.login)
        if len(states) != 1 or not browser:
            return None
        with self.house.store.session() as session:
            return kept.take_pending(session, hash_of(states[0]), hash_of(browser), self._clock())
