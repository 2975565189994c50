"""What the pages of releases show: each release with what it does, its report and sign-offs, its history, and a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from math import isfinite
from typing import Any

from models.commissioned import Commissioning, Figure, Gate
from models.statistics.paired import Difference
from service.releases.compare import Comparison
from service.releases.releases import Releases
from service.releases.state import Installed, State
from service.review.model.figures import FIGURES, figure_words
from service.store import signoffs
from service.store.trust_tables import Signoff, Standing
from service.words import Language, in_words, marked, number, percent, say

STATES = {  # what a release does → words, tone and symbol of its badge
    "live": (marked("live"), "good", "check"), "shadow": (marked("in shadow"), "ai", "state-seen"),
    "off": (marked("off"), "low", "close"), "unsigned": (marked("unsigned"), "high", "lock"),
}
ACTIONS = {
    "live": marked("put live"), "shadow": marked("put in shadow"), "off": marked("switched off"), "promote": marked("promoted"),
    "rollback": marked("returned to"), "replaced": marked("replaced by another version"),
    "declined": marked("switched off: declined"),
}
ADVICE = {
    "go": (marked("Go live here"), "good"), "go_with_conditions": (marked("Go live here, with conditions"), "high"),
    "no_go": (marked("Do not go live here"), "stop"),
}
GATES = {
    "signed": marked("Signed for"), "alarms": marked("Alarms"), "cases": marked("Cases"),
    "positives": marked("Cases with the finding"),
    "auroc": marked("Area under the ROC curve"), "sensitivity": marked("Sensitivity"), "calibration": marked("Calibration"),
    "refusals": marked("Refusals"), "failures": marked("Failures"), "latency": marked("Duration"),
}
MORE_FIGURES = {"refused": marked("Refused"), "failed": marked("Failed")}


@dataclass(frozen=True)
class Row:
    """One release in the list."""

    id: str
    title: str
    state: str
    words: str
    tone: str
    symbol: str
    since: datetime | None
    signer: str
    advice: str
    against_advice: bool
    changed: bool


@dataclass(frozen=True)
class Past:
    """One change of what a release did."""

    at: datetime
    words: str
    who: str
    reason: str
    against_advice: bool


@dataclass(frozen=True)
class Signed:
    """One sign-off. ``of_this``: it is of the folder as it is now."""

    at: datetime
    accepted: bool
    who: str
    statement: str
    advice: str
    of_this: bool
    report: str


@dataclass(frozen=True)
class Report:
    """What commissioning found."""

    advice: str
    tone: str
    reasons: tuple[str, ...]
    figures: tuple[tuple[str, str, str, str], ...]  # output, figure, value with interval, cases
    gates: tuple[tuple[str, str, str, bool | None], ...]
    n: int
    signed: bool


def rows_of(releases: Releases, language: Language, zone: tzinfo | None) -> list[Row]:
    """Return every release, those of one name together, the highest version first."""
    states = releases.states()
    signed = signoffs.by_ids(releases.store, {one.signoff for one in states.values() if one.signoff is not None})
    latest = reversed(states.items())
    rows = [row_of(releases.installed[name], state, signed.get(state.signoff or 0), language, zone) for name, state in latest]
    return sorted(rows, key=lambda row: row.title)


def row_of(one: Installed, state: State, signed: Signoff | None, language: Language, zone: tzinfo | None) -> Row:
    """Return one release as a line."""
    words, tone, symbol = STATES[state.state]
    return Row(
        one.id, in_words(language, one.manifest.title, one.manifest.title_fr), state.state, say(language, words), tone, symbol,
        _at(state.since, zone) if state.since else None, str(signed.signer.get("name", "")) if signed else "",
        say(language, ADVICE[signed.advice][0]) if signed else "", state.against_advice, state.changed,
    )


def past_of(found: Iterable[Standing], release: str, language: Language, zone: tzinfo | None) -> list[Past]:
    """Return what a release did, the latest first."""
    mine = [one for one in found if one.release == release]
    return [Past(_at(one.since, zone), say(language, ACTIONS.get(str(one.detail.get("action")), one.state)),
                 str(one.actor.get("name") or one.actor_subject), one.reason, one.against_advice) for one in reversed(mine)]


def signed_of(found: Iterable[Signoff], one: Installed, language: Language, zone: tzinfo | None) -> list[Signed]:
    """Return the sign-offs of a release, the latest first."""
    return [Signed(_at(row.signed_at, zone), row.decision == "accepted", str(row.signer.get("name") or row.signer_subject),
                   row.statement, say(language, ADVICE[row.advice][0]), row.manifest_sha256 == one.manifest_sha256,
                   row.report_sha256) for row in found]


def report_of(found: Commissioning, language: Language, *, signed: bool) -> Report:
    """Return what commissioning found as a page shows it."""
    words, tone = ADVICE[found.decision]
    figures = tuple((one.output, _called(one.name, language), _written(one, language), number(language, one.n))
                    for one in found.figures)
    return Report(say(language, words), tone, found.reasons, figures, gate_rows(found.gates, language), found.n, signed)


def gate_rows(gates: Sequence[Gate], language: Language) -> tuple[tuple[str, str, str, bool | None], ...]:
    """Return gates as lines of a table: name, what was required, what was seen, whether it is met."""
    return tuple((say(language, GATES[one.name]) if one.name in GATES else one.name, one.required, one.seen, one.met)
                 for one in gates)


def compared_rows(found: Comparison, language: Language) -> list[dict[str, str]]:
    """Return a comparison as lines of a table."""
    rows: list[dict[str, str]] = []
    if found.refused:
        rows.append(_difference("", say(language, "Refused"), found.refused, language, share=True))
    for one in found.outputs:
        if one.agreement is not None:
            kappa = one.agreement
            interval = _interval(kappa.value, kappa.low, kappa.high, language, share=False)
            rows.append({"output": one.name, "figure": say(language, "Agreement (kappa)"), "first": "", "second": "", "p": "",
                         "difference": interval, "n": number(language, kappa.n)})
        figures: tuple[tuple[str, Difference | None, bool], ...] = (
            (say(language, "Area under the ROC curve"), one.judged.auroc, False),
            (say(language, "Sensitivity"), one.judged.sensitivity, True),
            (say(language, "Specificity"), one.judged.specificity, True), (say(language, "Brier score"), one.judged.brier, False),
            (say(language, "Calibration slope"), one.judged.slope, False),
        )
        rows += [_difference(one.name, name, figure, language, share=share) for name, figure, share in figures if figure is not None]
    return rows


def _difference(output: str, name: str, one: Difference, language: Language, *, share: bool) -> dict[str, str]:
    return {"output": output, "figure": name, "first": _value(one.first, language, share=share),
            "second": _value(one.second, language, share=share),
            "difference": _interval(one.difference, one.low, one.high, language, share=share),
            "p": "" if one.p is None else number(language, one.p, 3), "n": number(language, one.n)}


def _interval(value: float, low: float, high: float, language: Language, *, share: bool) -> str:
    told = {name: _value(one, language, share=share) for name, one in (("value", value), ("low", low), ("high", high))}
    return say(language, "{value} ({low} to {high})", **told)


def _value(value: float, language: Language, *, share: bool) -> str:
    if not isfinite(value):
        return say(language, "not known")
    return percent(language, value, 1) if share else number(language, value, 3)


def _called(name: str, language: Language) -> str:
    words = FIGURES[name][0] if name in FIGURES else MORE_FIGURES.get(name, "")
    return say(language, words) if words else name.replace("_", " ")


def _written(one: Figure, language: Language) -> str:
    if one.value is None:
        return say(language, "not known")
    told: dict[str, Any] = one.model_dump()
    if one.name in FIGURES:
        return figure_words(one.name, told, language)
    share = one.name in MORE_FIGURES
    if one.low is None or one.high is None:
        return _value(one.value, language, share=share)
    return _interval(one.value, one.low, one.high, language, share=share)


def _at(seconds: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone)
