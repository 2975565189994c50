"""The two tables of the README, made from the releases' evaluation.json and the bench's JSON; a test compares them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SHELF = ROOT / "models" / "released"
BENCH = ROOT / "training" / "bench" / "results.json"


def fill(readme: Path = README) -> None:
    """Write both tables between their markers."""
    text = readme.read_text(encoding="utf-8")
    for name, table in (("figures", figures()), ("speed", speed())):
        text = re.sub(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", lambda m, t=table: m[1] + t + m[2], text,
                      flags=re.DOTALL)
    readme.write_text(text, encoding="utf-8")


def figures(shelf: Path = SHELF) -> str:
    """Return one line for every bar of every release: reached, interval, bar, met or missed."""
    lines = ["| release | what | reached (95 % interval) | bar | |", "|---|---|---|---|---|"]
    for path in sorted(shelf.glob("*/evaluation.json")):
        for one in json.loads(path.read_text(encoding="utf-8"))["bars"]:
            name = one["name"].replace("|", r"\|")
            lines.append(f"| {path.parent.name} | {name} | {_interval(one)} | {one['rule']} {_bar(one['bar'])} | "
                         f"{'met' if one['met'] else '**missed**'} |")
    return "\n".join(lines) + "\n"


def speed(path: Path = BENCH) -> str:
    """Return one line for every row of the bench that has a bar, and the machine it ran on."""
    if not path.is_file():
        return "Not yet measured.\n"
    found = json.loads(path.read_text(encoding="utf-8"))
    machine = found["machine"]
    lines = [f"On {machine['cpu']}, {machine['cores']} cores, {', '.join(machine['instructions'])}; one thread; other "
             f"programs used {machine['others_share']:.0%} of the cores.", "",
             "| what | found (10–90 %) | bar | |", "|---|---|---|---|"]
    for row in found["rows"]:
        if row["bar"] is None:
            continue
        sign = "≥" if row["better"] == "more" else "≤"
        value = row["note"] if row["value"] is None else f"{row['value']:.3g} {row['unit']}".strip()
        if row["low"] is not None:
            value += f" ({row['low']:.3g}–{row['high']:.3g})"
        verdict = {True: "reached", False: "**not reached**", None: "not measurable here"}[row["reached"]]
        lines.append(f"| {row['part']}: {row['name']} | {value} | {sign} {row['bar']:g} {row['unit']} | {verdict} |")
    return "\n".join(lines) + "\n"


def _interval(one: dict[str, Any]) -> str:
    text = "not measured" if one["value"] is None else _number(one["value"])
    return text if one["low"] is None else f"{text} ({_number(one['low'])}–{_number(one['high'])})"


def _bar(bar: float | list[float]) -> str:
    return "–".join(_number(v) for v in bar) if isinstance(bar, list) else _number(bar)


def _number(value: float) -> str:
    return f"{value:.0e}" if value and abs(value) < 5e-4 else f"{value:.3f}"
