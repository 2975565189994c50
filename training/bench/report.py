"""Row: one line of the bench, with its bar where the project set one; and the table a person reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from training.bench.measure import Samples, ratio


@dataclass(frozen=True)
class Row:
    """A figure, how it was got, and whether it reaches its bar. ``value`` None: not measurable, ``note`` says why."""

    part: str
    name: str
    value: float | None
    unit: Literal["x", "%", "ms", "1/s", "MB", ""]
    low: float | None = None
    high: float | None = None
    bar: float | None = None
    better: Literal["more", "less"] = "more"
    note: str = ""
    times: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Tell whether the bar is reached; None without a bar or a value."""
        if self.value is None or self.bar is None:
            return None
        return self.value >= self.bar if self.better == "more" else self.value <= self.bar

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "reached": self.reached}


def faster(part: str, name: str, slow: Samples, fast: Samples, *, bar: float | None = None, note: str = "") -> Row:
    """Say how many times faster ``fast`` is."""
    found = ratio(slow, fast)
    times = {"slow": slow.to_json(), "fast": fast.to_json()}
    return Row(part, name, found.value, "x", found.low, found.high, bar, "more", note, times)


def dearer(part: str, name: str, more: Samples, less: Samples, *, bar: float | None = None, note: str = "") -> Row:
    """Say how many times the time of ``less`` the call ``more`` takes."""
    found = ratio(more, less)
    times = {"more": more.to_json(), "less": less.to_json()}
    return Row(part, name, found.value, "x", found.low, found.high, bar, "less", note, times)


def missing(part: str, name: str, why: str, *, bar: float | None = None) -> Row:
    """Say that a figure cannot be had here, and why."""
    return Row(part, name, None, "", bar=bar, note=why)


def show(rows: Iterable[Row], machine: dict[str, Any], console: Console) -> None:
    """Print the machine and one table."""
    console.print(
        f"[bold]{machine['cpu']}[/bold], {machine['cores']} cores, {', '.join(machine['instructions']) or 'no AVX2'}; "
        f"1 thread; best GEMM {machine['gemm_gflops']:.0f} GFLOP/s ({machine['gemm_by']}); other programs used "
        f"{machine['others_share']:.0%} of the cores"
    )
    console.print(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    table = Table("part", "what", "found", "10-90 %", "bar", "", "note")
    for row in rows:
        spread = f"{_figure(row.low)}-{_figure(row.high)}" if row.low is not None else ""
        sign = "≥" if row.better == "more" else "≤"
        bar = "" if row.bar is None else f"{sign} {_figure(row.bar)} {row.unit}".strip()
        verdict = {True: "[green]reached[/green]", False: "[red]not reached[/red]", None: ""}[row.reached]
        found = "-" if row.value is None else f"{_figure(row.value)} {row.unit}"
        table.add_row(row.part, row.name, found, spread, bar, verdict, row.note)
    console.print(table)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
