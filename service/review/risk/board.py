"""The board of an emergency department: who is present, how many will need what, and the attendances of the next month.

Present is whoever was scored at triage within a day and whose stay is not over. What they will need together is the law of
the sum of their probabilities, from the release for departments.
"""

from __future__ import annotations

import time
from calendar import monthrange
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.department import MONTHS_BACK, TREND, Department, Forecast, Outlook, forecast, score_department
from models.errors import UnusableInput
from models.model import Model
from models.shelf import Shelf
from service.access.caller import Caller, caller_of
from service.problem import ProblemError
from service.review.page import ReviewDesk
from service.review.risk.scale import Tick, plain_ticks, scale_over
from service.review.risk.spoken import Spoken
from service.store import risks
from service.store.risks import Present
from service.words import say

TRIAGE, DEMAND = "ed_triage", "ed_demand"
PRESENT_S = 86_400.0
MONTHS_S = 800 * 86_400.0  # looked back on for attendances
LEAST = 1e-4  # numbers less likely than this at both ends are not drawn
ALL = "*"


@dataclass(frozen=True)
class Bar:
    """The probability of one number of people: ``height`` in percent; ``band``: 50, 90 or 0 for outside both."""

    number: int
    share: float
    left: float
    width: float
    height: float
    band: int


@dataclass(frozen=True)
class OutlookView:
    """One outcome: its law as bars, and the numbers of its axis."""

    outlook: Outlook
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class PersonRow:
    """Somebody present. ``shares``: the probability of each outcome, empty when the model declined."""

    present: Present
    shares: Mapping[str, float]
    risks: Mapping[str, str]  # the word for each


@dataclass(frozen=True)
class Board:
    """The board. ``months``: how many whole months of attendances are held; the forecast needs more of them."""

    people: tuple[PersonRow, ...]
    department: Department | None
    outlooks: tuple[OutlookView, ...]
    forecast: Forecast | None
    months: int


class Boards:
    """The page of departments."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk

    async def board(self, request: Request) -> Response:
        """Show one department, or all the caller may see. Raises ProblemError (404) for another."""
        house, caller, language = self.desk.house, caller_of(request), self.desk.language(request)
        now = time.time()
        shelf = house.scoring.shelf
        releases = sorted(one for one, model in shelf.models.items() if model.manifest.name == TRIAGE)
        found = await self.desk.look(risks.departments_of, house.store, releases, since=now - PRESENT_S)
        mine = [one for one in found if caller.may("risk", department=one, model=TRIAGE)]
        chosen = request.query_params.get("department", mine[0] if len(mine) == 1 else ALL)
        if chosen != ALL and chosen not in mine:
            raise ProblemError("not_found", "There is nobody to show in a department of that name.")
        shown = mine if chosen == ALL else [chosen]
        present = await self.desk.look(risks.present, house.store, releases, since=now - PRESENT_S, departments=shown)
        visits = await self.desk.look(risks.visits, house.store, TRIAGE, since=now - MONTHS_S, departments=shown)
        zone = house.site.device.zone
        made = await self.desk.run(lambda shelf: board(shelf, present, visits, datetime.fromtimestamp(now, UTC).astimezone(zone)))
        await self.desk.look(self._noted, caller, present)
        said = Spoken(language)
        values: dict[str, Any] = {"said": said, "board": made, "departments": mine, "chosen": chosen, "all": ALL,
                  "people": [(row, said.person(row.present.patient, datetime.fromtimestamp(now, UTC).date())) for row in made.people],
                  "local": lambda seconds: datetime.fromtimestamp(seconds, UTC).astimezone(zone), "now": now}
        if request.headers.get("x-fragment"):
            return self.desk.fragment(request, "risk/board.html", **values)
        return self.desk.page(request, "risk/department.html", title=say(language, "Emergency department"), **values)

    def _noted(self, caller: Caller, present: Sequence[Present]) -> None:
        persons = sorted({one.person for one in present if one.person})
        self.desk.house.audit.note(caller, "view", kind="department", persons=persons)


def board(shelf: Shelf, present: Sequence[Present], visits: Sequence[float], now: datetime) -> Board:
    """Work out the board, the likeliest to become critical first; those whom the model declined stand before them."""
    people = tuple(sorted((_row(one) for one in present), key=_worst_first))
    demand = shelf.active.get(DEMAND)
    if demand is None:
        return Board(people, None, (), None, 0)
    department = score_department(demand, [row.shares or None for row in people])
    if department.completeness_error > department.completeness_tolerance:
        raise ProblemError("broken_model", "The parts do not sum to the result; it is not given. Tell the people who run this.")
    counts, days, month = whole_months(visits, now)
    made = _forecast(demand, counts, days, month)
    return Board(people, department, tuple(_outlook(one) for one in department.outlooks), made, len(counts))


def whole_months(visits: Sequence[float], now: datetime) -> tuple[list[float], list[int], int]:
    """Count attendances by whole month, oldest first; return the counts, the days of each and of the next, and its number.

    The first month is left out: counting may have begun in its middle.
    """
    zone: tzinfo | None = now.tzinfo
    counted = Counter((at.year, at.month) for at in (datetime.fromtimestamp(one, UTC).astimezone(zone) for one in visits))
    this = 12 * now.year + now.month - 1
    numbers = [12 * year + month - 1 for year, month in counted]
    months = list(range(min(numbers) + 1, this)) if numbers else []
    counts = [float(counted[number // 12, number % 12 + 1]) for number in months]
    days = [monthrange(number // 12, number % 12 + 1)[1] for number in [*months, this]]
    return counts, days, this % 12 + 1


def _forecast(demand: Model, counts: Sequence[float], days: Sequence[int], month: int) -> Forecast | None:
    """Forecast the month under way; None where too few whole months were counted."""
    if len(counts) < MONTHS_BACK or TREND not in {one.name for one in demand.manifest.outputs}:
        return None
    try:
        return forecast(demand, counts, days, month)
    except UnusableInput:  # a month without anybody
        return None


def _row(one: Present) -> PersonRow:
    told = [finding for finding in one.findings if finding.get("kind") == "probability"]
    return PersonRow(one, {str(each["name"]): float(each["value"]) for each in told},
                     {str(each["name"]): str(each.get("risk", "")) for each in told})


def _worst_first(row: PersonRow) -> tuple[bool, float, float]:
    return bool(row.shares), -row.shares.get("critical", 0.0), row.present.scored_at


def _outlook(one: Outlook) -> OutlookView:
    numbers = [place for place, share in enumerate(one.probabilities) if share >= LEAST] or [one.median]
    first, last = max(0, min(numbers) - 1), min(len(one.probabilities) - 1, max(numbers) + 1)
    highest = max(one.probabilities)
    width = 100 / (last - first + 1)
    bands = sorted((round(100 * band.level), band.low, band.high) for band in one.bands)
    bars = tuple(
        Bar(number, share, (number - first) * width, width, 100 * share / highest if highest else 0.0,
            next((level for level, low, high in bands if low <= number <= high), 0))
        for number, share in enumerate(one.probabilities) if first <= number <= last
    )  # fmt: skip
    axis = scale_over([first - 0.5, last + 0.5], pad=0.0)
    ticks = tuple(Tick(axis.at(tick.value), tick.value) for tick in plain_ticks(axis, most=8) if tick.value == int(tick.value))
    return OutlookView(one, bars, ticks)
