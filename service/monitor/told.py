"""Told: what the monitor found as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from service.monitor.judged import EMBEDDING, NUISANCE_MMD, NUISANCE_PSI
from service.monitor.weeks import KINDS
from service.store.trust_tables import Alarm

if TYPE_CHECKING:
    from service.monitor.drill import Drilled
    from service.monitor.golden import Night

STREAMS = 10
SOURCES = {"commissioning": "what commissioning saw here", "release": "its validation split",
           "first_results": "its first results here", "none": "nothing yet: there are too few results"}


def tables(release: str, found: Mapping[str, Any]) -> Iterable[Any]:
    """Return what was found of one release."""
    week, reference = found["last_7_days"], found["reference"]
    yield f"[bold]{release}[/bold]: {week['n']} results in seven days, {week['refused']} refused. Watched against " \
          f"{SOURCES[reference['source']]} ({reference['n']} cases)."
    agreement, precision, seconds = found["agreement"], found["precision"], found["seconds"]
    yield f"  Agreement {_share(agreement['agreed'], agreement['given'])}; alerts taken for right " \
          f"{_share(precision['right'], precision['alerts'])}; median time {_seconds(seconds['p50'])}, " \
          f"95 % {_seconds(seconds['p95'])}."
    for one in found["signals"]:
        yield f"  [red]{one['kind']}[/red] {one['stream']}: {_rule(one)}"
    rows = [row for row in found["streams"] if row.get("notable") or row["stream"] == EMBEDDING][:STREAMS]
    if rows:
        table = Table("stream", "PSI beyond chance", "KS", "p", "n", title="Streams that differ", title_justify="left")
        for row in rows:
            size = f"MMD² {row['mmd']:.3f}" if "mmd" in row else f"{row['psi']:.3f}"
            table.add_row(row["stream"], size, f"{row['ks']:.3f}" if "ks" in row else "", f"{row['p']:.1e}", str(row["n"]))
        yield table


def alarm_table(rows: Sequence[Alarm]) -> Any:
    """Return alarms."""
    if not rows:
        return "No alarm is open."
    table = Table("number", "since", "release", "kind", "first of all", "ended", "seen by")
    for row in rows:
        table.add_row(str(row.id), _when(row.opened_at), row.release, row.kind, row.stream, _when(row.closed_at), row.acknowledged_by)
    return table


def night_table(nights: Sequence[Night]) -> Any:
    """Return what came out of golden inputs and studies."""
    table = Table("release", "scored again", "changed", "gone", "what changed")
    for one in nights:
        table.add_row(one.release, str(one.checked), str(one.changed), str(one.gone), "; ".join(one.faults) or "nothing")
    return table


def drill_tables(done: Sequence[Drilled]) -> Iterable[Any]:
    """Return the false alarms of ordinary weeks, and which alarm rang after how many weeks."""
    quiet = Table("release", "weeks", "results a week", *KINDS, title="False alarms in ordinary weeks", title_justify="left")
    for one in done:
        quiet.add_row(one.release, str(one.weeks), str(one.per_week), *(str(one.false_alarms.get(kind, 0)) for kind in KINDS))
    yield quiet
    rang = Table("release", "mishap", "alarm", "rang", "weeks until then", title="Mishaps", title_justify="left")
    for one in done:
        for ring in one.rings:
            waited = "at the next night" if ring.kind == "golden" else "" if ring.weeks is None else f"{ring.weeks:g}"
            rang.add_row(one.release, ring.mishap, ring.kind, f"{ring.rang} of {ring.tries}", waited)
    yield rang
    total, weeks = sum(sum(one.false_alarms.values()) for one in done), sum(one.weeks for one in done)
    yield f"{total} false alarms in {weeks} ordinary weeks. " + ("Passed." if all(one.passed for one in done) else "Not passed.")


def _rule(one: Mapping[str, Any]) -> str:
    if one["rule"] in ("two_windows", "far_beyond") and "seen" not in one:
        name, size, slight = ("PSI", one["psi"], NUISANCE_PSI) if "psi" in one else ("MMD²", one["mmd"], NUISANCE_MMD)
        size = f"{name} {size:.2f}, slight from {slight}"
        return f"{size}, {'two windows in a row' if one['rule'] == 'two_windows' else 'far beyond at once'}"
    return f"was {one['expected']:.3g}, is {one['seen']:.3g}"


def _share(hits: int, n: int) -> str:
    return f"{hits / n:.0%} of {n}" if n else "not judged yet"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2g} s"


def _when(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
