"""Verdicts: the address that a panel's form is sent to. One verdict is one transaction with all that follows from it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.access.caller import Caller, caller_of
from service.body import body_of
from service.problem import ProblemError
from service.review.page import ReviewDesk
from service.review.targets import target_of
from service.review.verdict.form import read_assessment, read_sent
from service.review.verdict.give import give
from service.review.verdict.standing import reading_of
from service.review.verdict.target import Target, find_target
from service.review.verdict.view import VerdictView, view
from service.store import verdicts

IN_PLACE = "x-diaphane-panel"  # a script asks for the panel alone, and puts it where the old one was


class Verdicts:
    """``POST /review/{studies|risks}/{key}/verdict``."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route("/review/studies/{key}/verdict", self.of_study, methods=["POST"]),
            Route("/review/risks/{key}/verdict", self.of_risk, methods=["POST"]),
        ]

    async def of_study(self, request: Request) -> Response:
        """Take a verdict on a result on images."""
        return await self._take(request, "/review/studies/")

    async def of_risk(self, request: Request) -> Response:
        """Take a verdict on a risk or an alert."""
        return await self._take(request, "/review/risks/")

    async def _take(self, request: Request, folder: str) -> Response:
        caller = caller_of(request)
        await body_of(request, self.desk.house.settings.upload_timeout_s)
        form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        page = folder + request.path_params["key"]
        panel = await self.desk.look(self._given, form, page, caller)
        if request.headers.get(IN_PLACE):
            return self.desk.fragment(request, "verdict/panel.html", verdict=panel)
        return RedirectResponse(f"{page}#verdict-{panel.key}", 303)

    def _given(self, form: Mapping[str, str], page: str, caller: Caller) -> VerdictView:
        """Do everything, in a thread. Raises ProblemError."""
        target = self._target(form.get("target", ""), page)
        if not caller.may("study" if target.kind == "result" else "risk", department=target.department, model=target.model):
            raise _unknown()
        if caller.kind != "person" or not caller.may(target.permission, department=target.department, model=target.model):
            raise ProblemError("forbidden", "Your roles do not allow a verdict on this. Ask the people who run this service.")
        sent = read_sent(form)
        if verdicts.with_token(self.desk.house.store, sent.token) is None:  # a form sent twice was taken the first time
            reading = reading_of(target.standing, caller.subject)
            give(self.desk, caller, target, sent, read_assessment(form, target, caller, reading))
        return view(self.desk, caller, self._target(form["target"], page))

    def _target(self, key: str, page: str) -> Target:
        named = target_of(self.desk.house.store, key)
        found = None if named is None else find_target(self.desk, *named)
        if found is None or found.page != page or not found.reachable:
            raise _unknown()
        return found


def _unknown() -> ProblemError:
    return ProblemError("not_found", "There is nothing here that a verdict could be given on. Open the page again from the worklist.")
