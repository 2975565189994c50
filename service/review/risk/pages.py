"""The risk page: one risk explained, what would change it, and the department now. For whoever may see risks there.

What a caller may not know of answers as what does not exist.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.access.caller import Caller, caller_of
from service.body import body_of
from service.persons_keys import keys_of_fhir
from service.problem import ProblemError
from service.releases.barred import not_live
from service.review.banners import banners_of
from service.review.page import ReviewDesk
from service.review.risk.alert import alert_view
from service.review.risk.board import Boards
from service.review.risk.hypothesis import Hypothesis, hypothesis, values_of
from service.review.risk.shown import equation_gap, risk_view, trend_curve, zone_of
from service.review.risk.spoken import Spoken
from service.review.verdict import view as verdict_view
from service.store import entries, rights, risks
from service.store.review_tables import Risk as Kept
from service.words import in_words, marked, say

ROOT = "/review/risks/{key}"
FRAGMENT = "x-fragment"
SAME_LOOK_S, MOST_LOOKS = 3600.0, 4096
NOT_HERE = "There is no risk of this address. Open it from the worklist."
KEYS = (("w", marked("What if: change a value")), ("0", marked("What if: back to the values as they are")))


class Risk:
    """The area."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk
        self.boards = Boards(desk)
        self._looked: dict[tuple[str, str], float] = {}  # who looked at which risk, when it was last written down

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route(ROOT, self.risk, methods=["GET"]),
            Route(f"{ROOT}/what-if", self.what_if, methods=["POST"]),
            Route("/review/department", self.boards.board, methods=["GET"]),
        ]

    async def risk(self, request: Request) -> Response:
        """Show one risk."""
        kept, caller = await self._kept(request)
        return await self._page(request, kept, caller)

    async def what_if(self, request: Request) -> Response:
        """Score the record with other values, and keep nothing of it."""
        kept, caller = await self._kept(request)
        if await self.desk.look(self._opposed, kept):
            raise ProblemError("opposed", "Nothing is scored of this person: an opposition stands. Go on without the score.")
        if kept.model in self.desk.house.scoring.shelf.barred:  # another score would be an answer of it
            raise not_live()
        await body_of(request, self.desk.house.settings.upload_timeout_s)
        values = values_of(await request.form())
        shown = await self.desk.run(lambda shelf: hypothesis(kept, shelf, values))
        if request.headers.get(FRAGMENT):
            await self.desk.look(self._note, kept, caller, again=False)
            return self.desk.fragment(request, "risk/what_if.html", said=Spoken(self.desk.language(request)), tried=shown)
        return await self._page(request, kept, caller, tried=shown)

    async def _kept(self, request: Request) -> tuple[Kept, Caller]:
        """Return the risk of the address. Raises ProblemError (404) for what is not there, and for what the caller may not see."""
        caller = caller_of(request)
        kept = await self.desk.look(risks.by_key, self.desk.house.store, request.path_params["key"])
        if kept is None or not caller.may("risk", department=kept.department, model=kept.model):
            raise ProblemError("not_found", NOT_HERE)
        return kept, caller

    async def _page(self, request: Request, kept: Kept, caller: Caller, *, tried: Hypothesis | None = None) -> Response:
        house, language = self.desk.house, self.desk.language(request)
        zone: tzinfo | None = house.site.device.zone
        said = Spoken(language)
        if house.scoring.ready:
            view = await self.desk.run(lambda shelf: risk_view(kept, shelf, zone))
        else:
            view = await self.desk.look(risk_view, kept, None, zone)
        alert = await self.desk.look(risks.alert_of, house.store, kept)
        points = [one for one in await self.desk.look(risks.trend, house.store, kept)
                  if caller.may("risk", department=one.department, model=one.model)]
        verdict = await self.desk.look(verdict_view.view_of, self.desk, caller, "risk", kept.id)
        zone = zone_of(view.record, zone)
        now = datetime.now(UTC).astimezone(zone)
        about = await self.desk.look(alert_view, house.store, alert, kept, view, now, language) if alert else None
        await self.desk.look(self._seen, kept, caller, alert.id if alert else None)
        title = in_words(language, view.manifest.title, view.manifest.title_fr) if view.manifest else kept.model
        return self.desk.page(
            request, "risk/risk.html", title=title, keys=tuple((key, say(language, words)) for key, words in KEYS), said=said,
            risk=kept, view=view, person=said.person(kept.patient, now.date()), trend=trend_curve(points, kept, view, zone),
            points=points, local=lambda seconds: datetime.fromtimestamp(seconds, UTC).astimezone(zone), alert=about,
            verdict=verdict, tried=tried, equation_gap=equation_gap(view),
            banners=banners_of(house.scoring.shelf if house.scoring.ready else None, kept.model, language, self.desk.states()),
        )

    def _opposed(self, kept: Kept) -> bool:
        """Tell whether whom a risk is about must not be scored any more."""
        store, site = self.desk.house.store, self.desk.house.site
        persons = {kept.person, *keys_of_fhir(store, site, None, kept.subject)} - {""}
        return rights.opposes(store, persons=persons, purpose="scoring")

    def _seen(self, kept: Kept, caller: Caller, alert_id: int | None) -> None:
        """Write down who looked, and that the line of the worklist was seen."""
        house = self.desk.house
        self._note(kept, caller)
        kind: Literal["alert", "risk"] = "risk" if alert_id is None else "alert"
        target = kept.key if alert_id is None else str(alert_id)
        with house.store.session() as session:
            entries.set_state(session, kind=kind, target=target, state="seen")

    def _note(self, kept: Kept, caller: Caller, *, again: bool = True) -> None:
        """Write a look into the audit; those of one page, as a slider is moved, are one look."""
        look, now = (caller.session or caller.subject, kept.key), time.monotonic()
        if again or now - self._looked.get(look, float("-inf")) > SAME_LOOK_S:
            if len(self._looked) >= MOST_LOOKS:
                self._looked.clear()
            self.desk.house.audit.note(caller, "view", kind="risk", item=kept.key, persons=(kept.person,) if kept.person else ())
            self._looked[look] = now
