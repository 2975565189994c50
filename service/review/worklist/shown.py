"""A line of the worklist as a page shows it: how urgent, how long it waits, who, what, what was found and what was declined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from service.refusals import message_in, reason_in
from service.store.review_tables import Entry
from service.words import Language, in_words, marked, moment, number, percent, say, unit

MOST_FINDINGS = 3
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
SEXES = {"M": marked("male"), "F": marked("female"), "O": marked("other sex")}
KINDS = {"study": marked("Imaging study"), "risk": marked("Risk"), "alert": marked("Alert")}
WAITED = (marked("now"), marked("{count} min"), marked("{hours} h {minutes}"), marked("{count} d"))  # worklist.js says the same
Titles = Callable[[str, Language], str]


@dataclass(frozen=True)
class Found:
    """One finding: its words, and where it is a probability the share and the threshold that a bar is drawn from."""

    label: str
    value: str
    share: float | None = None
    threshold: float | None = None
    above: bool = False
    tone: str = ""


@dataclass(frozen=True)
class Line:
    """One line. Its words are in the page's language and not escaped: templates do that."""

    key: str
    kind: str
    kind_words: str
    urgency: int
    state: str
    reason: str
    waiting_since: float
    waited: str
    since: str
    changed: str
    name: str
    given: str
    traits: tuple[str, ...]
    number: str
    what: str
    made_by: tuple[str, ...]
    modality: str
    department: str
    findings: tuple[Found, ...] = field(repr=False)
    more_findings: int
    declined: tuple[str, ...] = field(repr=False)
    ended: bool


def line_of(entry: Entry, language: Language, titles: Titles, *, now: float, zone: tzinfo | None = None) -> Line:
    """Return what is shown of a line."""
    detail = entry.detail
    patient: dict[str, Any] = detail.get("patient") or {}
    findings = [_found(one, language) for one in detail.get("findings") or ()]
    models = tuple(dict.fromkeys(titles(one, language) for one in entry.model.split()))
    title = in_words(language, str(detail.get("title", "")), str(detail.get("title_fr", "")))
    what = str(detail.get("procedure", "")) if entry.kind == "study" else title
    return Line(
        key=entry.key, kind=entry.kind, kind_words=say(language, KINDS[entry.kind]), urgency=entry.urgency, state=entry.state,
        reason=reason_in(entry.reason, language) if entry.reason else "", waiting_since=entry.waiting_since,
        waited=waited(entry.waiting_since, now, language), since=_moment(entry.waiting_since, language, zone),
        changed=_moment(entry.changed_at, language, zone), name=str(patient.get("name", "")), given=str(patient.get("given", "")),
        traits=_traits(patient, language, datetime.fromtimestamp(now, zone or UTC).date()), number=str(patient.get("id", "")),
        what=what or " · ".join(models) or say(language, KINDS[entry.kind]), made_by=() if models in ((), (what,)) else models,
        modality=entry.modality, department=entry.department, findings=tuple(findings[:MOST_FINDINGS]),
        more_findings=max(0, len(findings) - MOST_FINDINGS), ended=bool(detail.get("ended")),
        declined=(*_silence(detail, language), *_declined(detail.get("declined") or (), titles, language)),
    )


def waited(since: float, now: float, language: Language) -> str:
    """Say how long something waits, as short as a column is narrow.

    >>> waited(0, 3 * 3600 + 300, "en")
    '3 h 05'
    """
    seconds = max(0, int(now - since))
    if seconds < MINUTE_S:
        return say(language, WAITED[0])
    if seconds < HOUR_S:
        return say(language, WAITED[1], count=seconds // MINUTE_S)
    if seconds < 2 * DAY_S:
        return say(language, WAITED[2], hours=seconds // HOUR_S, minutes=f"{seconds % HOUR_S // MINUTE_S:02d}")
    return say(language, WAITED[3], count=number(language, seconds // DAY_S))


def age(born: str, today: date, language: Language) -> str:
    """Say an age from a date of birth, YYYY-MM-DD or YYYYMMDD; "" when that is not a whole date of the past.

    >>> age("2024-01-31", date(2024, 12, 1), "en")
    '10 months'
    """
    digits = born.replace("-", "")
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return ""
    months = 12 * (today.year - day.year) + today.month - day.month - (today.day < day.day)
    if today < day:
        return ""
    if months < 1:
        return say(language, "{count} days", count=(today - day).days)
    return say(language, "{count} months", count=months) if months < 24 else say(language, "{count} years", count=months // 12)


def _traits(patient: dict[str, Any], language: Language, today: date) -> tuple[str, ...]:
    sex = SEXES.get(str(patient.get("sex", "")), "")
    return tuple(filter(None, (age(str(patient.get("birth_date", "")), today, language), say(language, sex))))


def _found(told: dict[str, Any], language: Language) -> Found:
    label = in_words(language, str(told.get("label", "")), str(told.get("label_fr", "")))
    value, threshold = told.get("value"), told.get("threshold")
    if not isinstance(value, int | float):
        return Found(label, "")
    if told.get("kind") != "probability":
        words = unit(language, str(told.get("unit", "")))
        return Found(label, f"{number(language, value, 0 if abs(value) >= 100 else 1)} {words}".strip())
    above = bool(told.get("above_threshold"))
    digits = 1 if threshold is not None and threshold < 0.1 else 0
    tone = "high" if above or told.get("risk") == "high" else ""
    return Found(label, _share(language, value, digits), value, threshold, above, tone)


def _share(language: Language, value: float, digits: int) -> str:
    """Write a probability in the width of a column, and never as certainty: > 99 %."""
    if value < 0.01 or value > 0.99:
        return f"{'<' if value < 0.5 else '>'}\u00a0{percent(language, 0.01 if value < 0.5 else 0.99)}"
    return percent(language, value, digits)


def _declined(told: Iterable[dict[str, Any]], titles: Titles, language: Language) -> list[str]:
    """Say why each model declined; of those that were not meant for the images, that none is."""
    reasons = list(told)
    if len(reasons) > 1 and all(one.get("status") == "unfit" for one in reasons):
        return [say(language, "No model here is meant for these images.")]
    said = []
    for one in reasons:
        model, reason = str(one.get("model", "")), str(one.get("reason", ""))
        known = titles(model, language) if model not in ("", "none") else ""
        why = message_in(str(one.get("message", "")), reason, language)
        said.append(say(language, "{model}: {why}", model=known, why=why) if known else why)
    return list(dict.fromkeys(said))


def _silence(detail: dict[str, Any], language: Language) -> tuple[str, ...]:
    """Say that nothing is heard any more of somebody who is monitored: that is no all-clear."""
    silent = (detail.get("alert") or {}).get("kind") == "no_data"
    return (say(language, "No usable measurements come any more: nothing can be assessed."),) if silent else ()


def _moment(seconds: float, language: Language, zone: tzinfo | None) -> str:
    """Say when something was, by the clock on the wall."""
    return moment(language, datetime.fromtimestamp(seconds, UTC).astimezone(zone).replace(tzinfo=None))
