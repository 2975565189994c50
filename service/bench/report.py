"""The report: each figure with its spread and its bar, as a table to read, as JSON and as Markdown to keep."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from service.bench.ingest import ASSOCIATIONS, Rates
from service.bench.path import Passage

RESULTS = Path(__file__).with_name("results.json")
LEAST_IMAGES_PER_S = 150.0
LEAST_OF_ORTHANC = 0.8
MOST_LATENCY_S = 10.0
MOST_GROWTH = 1.05  # of the memory of all processes, from the second fifth of the time to the last


@dataclass(frozen=True)
class Row:
    """A figure and whether it reaches its bar; ``low`` and ``high`` are the 10th and 90th percentile over rounds or studies."""

    part: str
    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    bar: float | None = None
    better: Literal["more", "less"] = "more"
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Tell whether the bar is reached; None without one."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.better == "more" else self.value <= self.bar


def ingest_rows(rates: Sequence[Rates], *, timed: bool = True) -> list[Row]:
    """Turn the rounds of every receiver, ours first, into rows: rates, and ours over each other's in the same round.

    Times and memory have their bars only when ``timed``: a short run says nothing about them.
    """
    ours, *others = rates
    part = "ingest"
    rows = []
    for one in rates:
        bar = LEAST_IMAGES_PER_S if one is ours and timed else None
        note = f"{ASSOCIATIONS} associations, {len(one.images_per_s)} rounds; on disk before its answer: {one.syncs}"
        rows.append(_spread(part, f"{one.name}: CT images a second", one.images_per_s, "1/s", bar=bar, note=note))
        rows.append(_spread(part, f"{one.name}: CPU an image", one.cpu_ms_per_image, "ms"))
        rows.append(Row(part, f"{one.name}: images acknowledged and not there", one.sent - one.held, "", bar=0, better="less",
                        note=f"of {one.sent}"))
    for other in others:
        ratios = [mine / theirs for mine, theirs in zip(ours.images_per_s, other.images_per_s, strict=True)]
        bar = LEAST_OF_ORTHANC if other.name == "Orthanc" and timed else None
        rows.append(_spread(part, f"{ours.name} over {other.name}", ratios, "x", bar=bar))
    return rows


def path_rows(found: Passage, *, studies_per_h: float, timed: bool = True) -> list[Row]:
    """Turn the full path into rows; ``timed`` as above."""
    part, times = "full path", found.latencies_s
    studies = len(set(found.study_of.values()))
    sent = f"of {len(found.sent_at)} in {studies} studies, {studies_per_h:.0f} an hour, begun at most {found.late_s:.1f} s late"
    came = f"{found.objects} objects came into the PACS"
    rows = [
        Row(part, "images without a report", found.lost, "", bar=0, better="less", note=sent),
        Row(part, "images with two reports", found.doubled, "", bar=0, better="less"),
        Row(part, "reports of nothing that was sent", found.strangers, "", bar=0, better="less"),
        Row(part, "studies that their sender did not get rid of", found.unsent, "", bar=0, better="less"),
        Row(part, "unfinished in the end", found.unfinished, "", bar=0, better="less", note=came),
    ]
    if times:
        note = "from the start of sending a study to its last report seen in Orthanc; a radiograph waits for no quiet time"
        rows += [
            _spread(part, "median time to the report", times, "s", note=note),
            Row(part, "95th percentile of it", quantile(times, 0.95), "s", bar=MOST_LATENCY_S if timed else None, better="less"),
            Row(part, "longest", max(times), "s"),
        ]
    cpu_ms = 1000 * found.cpu_s / max(1, len(found.sent_at))
    rows.append(Row(part, "CPU an image, all our processes", cpu_ms, "ms", note="received, read, scored, written, delivered"))
    for name, values in [*sorted(found.memory.items()), ("all of ours", _ours(found))]:
        if len(values) >= 5:
            start, middle, last = (statistics.median(fifth(values, place)) for place in (1, 2, 4))
            bar = MOST_GROWTH if name == "all of ours" and timed else None
            rows.append(Row(part, f"memory of {name}, end over start", last / max(start, 1e-9), "x", bar=bar, better="less",
                            note=f"{start:.0f}, {middle:.0f}, {last:.0f} MiB in the second, third and last fifth of the time"))
    return rows


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of all do not exceed.

    >>> quantile([3.0, 1.0, 2.0, 4.0], 0.5)
    2.0
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def fifth(values: Sequence[float], place: int) -> Sequence[float]:
    """Return the first (0) to last (4) fifth of values in time."""
    return values[place * len(values) // 5 : max(place * len(values) // 5 + 1, (place + 1) * len(values) // 5)]


def show(rows: Sequence[Row], machine: dict[str, Any], console: Console) -> None:
    """Print the machine and one table."""
    console.print(_machine(machine))
    table = Table("part", "what", "found", "10-90 %", "bar", "", "note")
    for row in rows:
        verdict = {True: "[green]reached[/green]", False: "[red]not reached[/red]", None: ""}[row.reached]
        table.add_row(row.part, row.name, *_cells(row), verdict, row.note)
    console.print(table)


def to_markdown(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """Write the same as Markdown."""
    lines = [_machine(machine), "", "| part | what | found | 10-90 % | bar | | note |", "|---|---|---:|---|---|---|---|"]
    for row in rows:
        verdict = {True: "reached", False: "not reached", None: ""}[row.reached]
        lines.append(f"| {row.part} | {row.name} | {' | '.join(_cells(row))} | {verdict} | {row.note} |")
    return "\n".join(lines) + "\n"


def save(rows: Sequence[Row], machine: dict[str, Any], path: Path) -> None:
    """Write ``path`` as JSON, and Markdown beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"machine": machine, "rows": [{**asdict(row), "reached": row.reached} for row in rows]}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(to_markdown(rows, machine), encoding="utf-8")


def read(path: Path = RESULTS) -> tuple[list[Row], dict[str, Any]]:
    """Read what ``save`` wrote."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return [Row(**{name: value for name, value in row.items() if name != "reached"}) for row in told["rows"]], told["machine"]


def bars(path: Path = RESULTS) -> str:
    """Write the figures that have a bar as Markdown, for the README."""
    rows, machine = read(path)
    return to_markdown([row for row in rows if row.bar is not None], machine)


def _ours(found: Passage) -> list[float]:
    """Add up the memory of our own processes, look by look."""
    return [sum(values) for values in zip(*(values for name, values in found.memory.items() if name != "Orthanc"), strict=True)]


def _spread(part: str, name: str, values: Sequence[float], unit: str, *, bar: float | None = None, note: str = "") -> Row:
    return Row(part, name, statistics.median(values), unit, quantile(values, 0.1), quantile(values, 0.9), bar=bar, note=note)


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    shares = "; ".join(f"{part}: {share:.0%}" for part, share in machine.get("others_share", {}).items())
    return f"{machine['cpu']}, {machine['cores']} cores; {versions}. Cores kept busy by other programs: {shares or 'not measured'}."


def _cells(row: Row) -> tuple[str, str, str]:
    spread = f"{_figure(row.low)}-{_figure(row.high)}" if row.low is not None and row.high is not None else ""
    bar = "" if row.bar is None else f"{'≥' if row.better == 'more' else '≤'} {_figure(row.bar)} {row.unit}".strip()
    return f"{_figure(row.value)} {row.unit}".strip(), spread, bar


def _figure(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
