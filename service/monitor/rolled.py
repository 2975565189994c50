"""Rolled up: single observations become days, days become weeks, and what people said is counted by the week it was said in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from service.monitor.observed import seen_of
from service.monitor.references import Referred
from service.monitor.tally import Tally, added, tally_of, tally_of_json
from service.monitor.weeks import Said, Week
from service.store import observations, watching
from service.store.store import Store
from service.store.watching import Judgement

AGAIN_DAYS = 2  # today and yesterday are counted anew at every pass
MOST_WEEKS = 104  # that are looked at
GROUPS = ("sex", "age", "department")
Json = dict[str, Any]


def roll_up(store: Store, release: str, reference: Referred, *, today: date, zone: tzinfo | None) -> None:
    """Count the days that are not counted yet, or were counted by another reference while their observations are still there."""
    earliest = observations.earliest(store, release)
    if earliest is None:
        return
    known = watching.days(store, release)
    first = datetime.fromtimestamp(earliest, zone).date()
    counted: dict[str, Json] = {}
    for number in range((today - first).days + 1):
        day = first + timedelta(days=number)
        before = known.get(day.isoformat())
        if before is not None:
            older = (today - day).days >= AGAIN_DAYS
            if older and (before.get("reference") == reference.sha256 or day == first):  # the first day may be half forgotten
                continue
        rows = observations.between(store, release, _begin(day, zone), _begin(day + timedelta(days=1), zone))
        if rows:
            tally = tally_of([seen_of(row) for row in rows], reference.reference)
            counted[day.isoformat()] = {"reference": reference.sha256, **tally.to_json()}
    if counted:
        watching.put_days(store, release, counted)


def weeks_of(store: Store, release: str, reference: Referred, *, today: date, zone: tzinfo | None) -> tuple[list[Week], Tally]:
    """Return the closed weeks, the earliest first and none left out, and the last seven days."""
    since = today - timedelta(weeks=MOST_WEEKS)
    kept = watching.days(store, release, since.isoformat())
    days = {date.fromisoformat(day): _tally(counts, reference) for day, counts in kept.items()}
    said = _said_by_week(watching.judgements(store, release), zone)
    begin = min([*days, *said], default=None)
    running = added(tally for day, tally in days.items() if day > today - timedelta(days=7))
    if begin is None:
        return [], running
    weeks, monday = [], max(_monday(begin), _monday(since))
    while monday + timedelta(days=7) <= today:
        tallies = [days[day] for number in range(7) if (day := monday + timedelta(days=number)) in days]
        weeks.append(Week(monday.isoformat(), added(tallies), said_of(said.get(monday, ()))))
        monday += timedelta(days=7)
    return weeks, running


def said_of(judgements: Sequence[Judgement]) -> Said:
    """Count verdicts: how many contradict, by group too, and of those on raised alerts."""
    groups: dict[str, tuple[int, int]] = {}
    alerts = wrong = 0
    for one in judgements:
        against = one.decision != "agree"
        for by in GROUPS:
            if name := str(one.counted_by.get(by, "")):
                hits, given = groups.get(f"{by}: {name}", (0, 0))
                groups[f"{by}: {name}"] = hits + against, given + 1
        raised = [finding for finding in one.findings if finding.get("ai_present")]
        if raised:
            alerts += 1
            wrong += one.decision == "reject" or any(finding.get("present") is False for finding in raised)
    return Said(len(judgements), sum(one.decision != "agree" for one in judgements), alerts, wrong, groups)


def _said_by_week(judgements: Iterable[Judgement], zone: tzinfo | None) -> dict[date, list[Judgement]]:
    found: dict[date, list[Judgement]] = {}
    for one in judgements:
        found.setdefault(_monday(datetime.fromtimestamp(one.made_at, zone).date()), []).append(one)
    return found


def _tally(counts: Json, reference: Referred) -> Tally:
    """Read a day. What was counted by another reference keeps what needs none: results, refusals, positives, times."""
    tally = tally_of_json(counts)
    if counts.get("reference") != reference.sha256:
        tally.streams, tally.embedding, tally.embedded = {}, None, 0
    return tally


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _begin(day: date, zone: tzinfo | None) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
