"""The pages of releases: which one speaks here, what commissioning found, who signed, and the buttons that change it.

Whoever may read about models may look; to sign and to change takes the permission ``commission``, and a fresh login for what lets
a release speak. A sign-off is the word of the person who is logged in.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from models.errors import UnusableInput
from service.access.caller import Caller, caller_of, need, need_fresh
from service.problem import ProblemError
from service.releases.compare import BIAS
from service.releases.errors import SENTENCES, ReleaseError
from service.releases.promote import Judgement, judge, promote
from service.releases.releases import Releases
from service.releases.reports import handed_in
from service.releases.shadow_risks import RiskShadow
from service.review.page import ReviewDesk
from service.review.releases.view import compared_rows, gate_rows, past_of, report_of, row_of, rows_of, signed_of
from service.store import shadows, signoffs, standings
from service.words import Language, in_words, marked, say

PLACE = "/review/releases"
DONE = {
    "live": marked("It is live from now on."), "shadow": marked("It is in shadow from now on."),
    "off": marked("It is off from now on."),
    "rollback": marked("The release before is live again."), "promote": marked("It was promoted and is live from now on."),
    "accepted": marked("The sign-off is kept."), "declined": marked("That it was declined is kept; it does not speak here."),
}
SPEAKS = frozenset({"live", "promote", "rollback"})  # what lets a release speak


class ReleasePages:
    """/review/releases, and the thread that scores records with candidates."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk, self.house = desk, desk.house
        self._shadow = RiskShadow(desk.house)

    def open(self) -> None:
        """Begin to score what candidates in shadow have to score."""
        self._shadow.open()

    def close(self) -> None:
        """End it."""
        self._shadow.close()

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route(PLACE, self.index, methods=["GET"]),
            Route(f"{PLACE}/{{release}}", self.show, methods=["GET"]),
            Route(f"{PLACE}/{{release}}", self.change, methods=["POST"]),
            Route(f"{PLACE}/{{release}}/sign", self.sign, methods=["POST"]),
        ]

    async def index(self, request: Request) -> Response:
        """List the releases with what each does."""
        caller, language = need(request, "model"), self.desk.language(request)
        rows = await self.desk.look(rows_of, Releases.of(self.house), language, self.house.site.device.zone)
        return self.desk.page(request, "releases/list.html", title=say(language, "Releases"),
                              rows=[one for one in rows if caller.may("model", model=one.id)],
                              required=self.house.site.commissioning.required)

    async def show(self, request: Request) -> Response:
        """Show one release: what it does, its report, its sign-offs and its history."""
        return await self._page(request, self._may(request), done=request.query_params.get("done", ""))

    async def change(self, request: Request) -> Response:
        """Put a release live, in shadow or off, step back, or promote."""
        caller, form = need(request, "commission", model=request.path_params["release"]), await request.form()
        what = str(form.get("do", ""))
        if what in SPEAKS:
            caller = need_fresh(request, "commission", self.house.site.access.fresh_login_minutes)
        release, told = self._may(request), {name: str(form.get(name, "")).strip() for name in ("reason", "against_advice")}
        try:
            await self.desk.look(self._do, caller, release, what, **told)
        except ReleaseError as error:
            return await self._page(request, release, error=error)
        return RedirectResponse(f"{PLACE}/{release}?done={what}", 303)

    async def sign(self, request: Request) -> Response:
        """Keep the word of the person who is logged in."""
        need(request, "commission", model=request.path_params["release"])
        caller = need_fresh(request, "commission", self.house.site.access.fresh_login_minutes)
        release, form, language = self._may(request), await request.form(), self.desk.language(request)
        decision = "declined" if form.get("decision") == "declined" else "accepted"
        if str(form.get("typed", "")).strip() != release:
            wrong = say(language, "What was typed is not the id of this release: nothing was signed.")
            return await self._page(request, release, wrong=wrong)
        try:
            await self.desk.look(self._sign, caller, release, decision, str(form.get("statement", "")))
        except ReleaseError as error:
            return await self._page(request, release, error=error)
        return RedirectResponse(f"{PLACE}/{release}?done={decision}", 303)

    def _may(self, request: Request) -> str:
        """Return the release of the address. Raises ProblemError (404) for one that is not here or may not be seen."""
        release = str(request.path_params["release"])
        if release not in self.house.scoring.installed.models or not caller_of(request).may("model", model=release):
            raise ProblemError("unknown_model", "There is no model of that name; GET /v1/models lists them.")
        return release

    def _do(self, caller: Caller, release: str, what: str, *, reason: str, against_advice: str) -> None:
        releases = Releases.of(self.house)
        name = releases.installed[release].name
        if what == "live":
            releases.live(caller, release, reason=reason, against_advice=against_advice)
        elif what == "shadow":
            releases.shadow(caller, release, reason=reason)
        elif what == "off":
            releases.off(caller, release, reason=reason)
        elif what == "rollback":
            releases.rollback(caller, name, reason=reason)
        elif what == "promote":
            promote(releases, caller, judge(releases, release), against_advice=against_advice)
        else:
            raise ProblemError("bad_query", "do must be live, shadow, off, rollback or promote, found another.")
        self.house.standings.look()

    def _sign(self, caller: Caller, release: str, decision: str, statement: str) -> None:
        releases = Releases.of(self.house)
        report = handed_in(self.house.settings, releases.installed[release])
        if report is None:
            raise ReleaseError("no_report")
        releases.sign(caller, release, report, decision="declined" if decision == "declined" else "accepted", statement=statement,
                      known_by=f"login {caller.provider}".strip())
        self.house.standings.look()

    async def _page(self, request: Request, release: str, *, done: str = "", error: ReleaseError | None = None,
                    wrong: str = "") -> Response:
        language = self.desk.language(request)
        values = await self.desk.look(self._values, release, language, compare="compare" in request.query_params)
        manifest = self.house.scoring.installed.models[release].manifest
        said = say(language, SENTENCES[error.code]) if error else wrong
        return self.desk.page(
            request, "releases/show.html", title=in_words(language, manifest.title, manifest.title_fr), status=409 if said else 200,
            release=release, name=manifest.name, message=say(language, DONE[done]) if done in DONE else "", said=said,
            may=caller_of(request).may("commission", model=release), bias=say(language, BIAS), **values,
        )

    def _values(self, release: str, language: Language, *, compare: bool) -> dict[str, Any]:
        releases, zone = Releases.of(self.house), self.house.site.device.zone
        one, state, store = releases.installed[release], releases.states()[release], self.house.store
        signed = signoffs.of_release(store, release)
        mine = next((row for row in signed if row.manifest_sha256 == one.manifest_sha256), None)
        try:
            waits = handed_in(self.house.settings, one)
        except UnusableInput:
            waits = None
        judged: Judgement | None = judge(releases, release, language=language) if compare and state.state == "shadow" else None
        return {
            "state": state, "row": row_of(one, state, mine, language, zone), "sha256": one.manifest_sha256,
            "report": report_of(waits, language, signed=mine is not None) if waits else None,
            "signed": signed_of(signed, one, language, zone),
            "past": past_of(standings.history(store, one.name), release, language, zone),
            "counts": shadows.counts(store, release), "judged": judged,
            "compared": compared_rows(judged.found, language) if judged and judged.found else [],
            "gates": gate_rows(judged.gates, language) if judged else (),
            "accepted": mine is not None and mine.decision == "accepted", "required": self.house.site.commissioning.required,
            "no_go": mine is not None and mine.advice == "no_go",
        }
