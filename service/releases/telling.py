"""Releases on the command line: what each does, what commissioning and the gate say, and the comparison, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite

from rich.table import Column, Table

from models.commissioned import Gate
from models.statistics.paired import Difference
from service.releases.compare import BIAS, Comparison, Output
from service.releases.promote import Judgement
from service.releases.releases import Releases
from service.releases.state import State
from service.store import signoffs, standings

MET = {True: "met", False: "NOT MET", None: "not known"}


def states_table(releases: Releases) -> Table:
    """Return every release with what it does."""
    states = releases.states()
    signed = signoffs.by_ids(releases.store, {one.signoff for one in states.values() if one.signoff is not None})
    columns = ("release", "does", "since (UTC)", "signed by", "commissioning said", "remarks")
    table = Table(*columns, title="Releases", title_justify="left")
    for one in states.values():
        row = signed.get(one.signoff or 0)
        table.add_row(one.release, one.state, _at(one.since), row.signer.get("name", "") if row else "", row.advice if row else "",
                      _remarks(one))
    return table


def about(releases: Releases, release: str) -> Iterator[object]:
    """Yield what is known of one release."""
    state, installed = releases.states()[release], releases.installed[release]
    yield f"{release}: {state.state}. {_remarks(state)}"
    yield f"manifest {installed.manifest_sha256}"
    for row in signoffs.of_release(releases.store, release):
        same = "this folder" if row.manifest_sha256 == installed.manifest_sha256 else "another folder of the same id"
        yield (f"{_at(row.signed_at)} {row.decision} by {row.signer.get('name', '')} ({row.signer_subject}) for {same}; "
               f"commissioning said {row.advice}, report {row.report_sha256}: {row.statement}")
        yield gates_table([Gate.model_validate(one) for one in row.report.get("gates", ())], "What commissioning asked for and saw")
    table = Table("since (UTC)", "does", "by", "how", "reason", title="History", title_justify="left")
    for one in standings.history(releases.store, installed.name):
        if one.release == release:
            reason = f"AGAINST ADVICE: {one.reason}" if one.against_advice else one.reason
            who = f"{one.actor.get('name', '')} ({one.actor_subject})"
            table.add_row(_at(one.since), one.state, who, str(one.detail.get("action", "")), reason)
    yield table


def gates_table(gates: Sequence[Gate], title: str) -> Table:
    """Return what was required, what was seen, and whether it is met."""
    table = Table(*(Column(name, overflow="fold") for name in ("gate", "required", "seen", "met")), title=title, title_justify="left")
    for one in gates:
        table.add_row(one.name, one.required, one.seen, MET[one.met])
    return table


def compared(judged: Judgement) -> Iterator[object]:
    """Yield a comparison and its gate."""
    if judged.found is not None:
        yield from _comparison(judged.found)
    yield gates_table(judged.gates, f"Promotion of {judged.candidate}" + (f" in place of {judged.live}" if judged.live else ""))
    yield "Everything that is required is met." if judged.met else "Not everything that is required is met."


def _comparison(found: Comparison) -> Iterator[object]:
    yield (f"{found.candidate} in shadow beside {found.live}: {found.pairs} cases, scored by both {found.both_scored}, failed in "
           f"shadow {found.failed}.")
    table = Table("output", "figure", "live", "candidate", "difference (95 %)", "p", "cases", title="On the same cases",
                  title_justify="left")
    if found.refused:
        _row(table, "", "refused", found.refused)
    for one in found.outputs:
        _rows(table, one)
    yield table
    yield BIAS


def _rows(table: Table, one: Output) -> None:
    if one.agreement is not None:
        kappa = one.agreement
        interval = f"{_number(kappa.value)} ({_number(kappa.low)} to {_number(kappa.high)})"
        table.add_row(one.name, "agreement (kappa)", "", "", interval, "", str(kappa.n))
    judged = one.judged
    for name, figure in (("AUROC", judged.auroc), ("sensitivity", judged.sensitivity), ("specificity", judged.specificity),
                         ("Brier", judged.brier), ("calibration slope", judged.slope)):
        if figure is not None:
            _row(table, one.name, name, figure)


def _row(table: Table, output: str, name: str, one: Difference) -> None:
    interval = f"{one.difference:+.3f} ({_number(one.low)} to {_number(one.high)})"
    p = "" if one.p is None else f"{one.p:.3f}"
    table.add_row(output, name, _number(one.first), _number(one.second), interval, p, str(one.n))


def _number(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else "unknown"


def _remarks(state: State) -> str:
    told = []
    if state.changed:
        told.append("its folder is another one than was decided on")
    if state.against_advice:
        told.append("against the advice of commissioning or the gate")
    if state.implied:
        unsigned = state.state == "unsigned"
        told.append("nobody decided: " + ("a sign-off is needed" if unsigned else "live where no site file asks for a signature"))
    return "; ".join(told)


def _at(seconds: float | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}" if seconds else ""
