"""The page of what to judge next: results with the reason each was picked, and counts for who may see no patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from models.model import Model
from service.access.caller import Caller, need
from service.learn.queue import Grown, grown, pick
from service.problem import ProblemError
from service.review.page import HEADERS, ReviewDesk
from service.review.worklist.sight import sees
from service.store.picks import Open, open_picks
from service.words import Language, in_words, marked, say

VERDICTS = ("verdict_image", "verdict_risk")  # without one of these a caller judges nothing, and sees counts alone
WHY = {
    "uncertain": (marked("Near a threshold or a limit"), marked("The model is unsure here: a verdict teaches most.")),
    "unlike": (marked("Unlike what was judged"), marked("Nothing like it has a verdict yet.")),
    "control": (marked("Drawn at random"), marked("So that how often models are right is known without bias.")),
    "test": (marked("Drawn for the local test"),
             marked("Of somebody nothing is ever learnt from. New and old models are compared on it.")),
}
SIDES = {
    "train": marked("Learnt from"), "val": marked("Chosen by"), "test": marked("Tested on, never learnt from"),
    "neither": marked("On neither side: two people turned out to be one"),
}


@dataclass(frozen=True)
class Shown:
    """One line of the page."""

    href: str
    model: str
    department: str
    modality: str
    why: str
    reason: str
    tone: str
    uncertainty: float
    picked: datetime


class LearnPages:
    """The area /review/learn."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk, self.house = desk, desk.house

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [Route("/review/learn", self.show, methods=["GET"]), Route("/review/learn", self.again, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """Show what was picked and is not judged yet, as far as the caller may open it; and how far it has come."""
        caller, language = need(request, "learn"), self.desk.language(request)
        judges = any(caller.may(one) for one in VERDICTS)
        found = await self.desk.look(open_picks, self.house.store) if judges else []
        lines = [self._line(one, language) for one in found if _opens(caller, one)]
        return self.desk.page(
            request, "learn/list.html", title=say(language, "Judge next"), lines=lines, judges=judges,
            grown=_told(await self.desk.look(grown, self.house.store), language),
        )

    async def again(self, request: Request) -> Response:
        """Pick anew; what was drawn at random stays."""
        caller = need(request, "learn")
        if not any(caller.may(one) for one in VERDICTS):
            raise ProblemError("forbidden", "Your roles do not allow this. Ask the people who run this service.")
        found = await self.desk.look(pick, self.house.store, self.house.site)
        self.house.audit.note(caller, "search", kind="picks", detail={"count": len(found)})
        return RedirectResponse("/review/learn", 303, HEADERS)

    def _models(self) -> dict[str, Model]:
        """Return the releases by id; none while they are being loaded, since a list of what to judge needs none."""
        try:
            return dict(self.house.scoring.shelf.models)
        except ProblemError:
            return {}

    def _line(self, one: Open, language: Language) -> Shown:
        held = self._models().get(one.release)
        title = in_words(language, held.manifest.title, held.manifest.title_fr) if held else one.release
        words, reason = WHY[one.why]
        zone = self.house.site.device.zone
        return Shown(f"/review/e/{one.entry_key}", title, one.department, one.modality, say(language, words), say(language, reason),
                     {"uncertain": "high", "unlike": "ai"}.get(one.why, "routine"), one.uncertainty,
                     datetime.fromtimestamp(one.picked_at, UTC).astimezone(zone))


def _opens(caller: Caller, one: Open) -> bool:
    return sees(caller, "study" if one.kind == "result" else "risk", one.department, [one.release])


def _told(found: Grown, language: Language) -> dict[str, list[tuple[str, int, int | None]]]:
    """Return the counts in words: people by side, picks by reason (waiting, judged), verdicts by release."""
    return {
        "people": [(say(language, SIDES[side]), found.people[side], None) for side in SIDES if side in found.people],
        "picks": [(say(language, WHY[why][0]), *found.picks[why]) for why in WHY if why in found.picks],
        "verdicts": [(model, count, None) for model, count in sorted(found.verdicts.items())],
    }
