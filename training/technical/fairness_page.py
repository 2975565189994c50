"""The page and the terminal table of subgroup gaps and of the coverage of prediction sets of one release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from rich.table import Table

from models.manifest import Manifest
from training.report import interval, label, number
from training.technical import forest

TEMPLATES = Path(__file__).parent / "templates"
COLOURS = {"gap": "red", "undecided": "yellow", "within": "green", "too_few": "dim", "holds": "green", "below": "yellow"}


def page(manifest: Manifest, proof: Mapping[str, Any]) -> str:
    """Return the page as HTML text without any reference to another file."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              autoescape=select_autoescape(["html", "j2"]))
    environment.filters.update(number=number, interval=interval, label=label)
    return environment.get_template("fairness.html.j2").render(
        m=manifest, p=proof, drawings=[(name, Markup(text)) for name, text in drawn(proof)],  # noqa: S704  our own SVG
        here="", pages=(), made=proof["made_at"], software=manifest.provenance.git_commit)


def drawn(proof: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the pictures: of each output the gaps by figure, then the coverage by class, as (title, SVG text)."""
    found = []
    for output in dict.fromkeys(one["output"] for one in proof["gaps"]):
        for figure in dict.fromkeys(one["figure"] for one in proof["gaps"]):
            rows = [one for one in proof["gaps"] if one["output"] == output and one["figure"] == figure]
            title = f"{output.replace('_', ' ')}: {label(figure)}, group less the rest"
            found.append((title, forest.gaps(rows, title, figure)))
    for one in proof["prediction_sets"]:
        for answer in dict.fromkeys(row["class"] for row in one["coverage"]):
            rows = [row for row in one["coverage"] if row["class"] == answer]
            title = f"{one['output'].replace('_', ' ')}, {answer}\nLimits from {one['calibrated_on']}"
            found.append((title, forest.coverage(rows, title, 1 - one["limits"]["alpha"])))
    return [(title, text) for title, text in found if text]


def table(proof: Mapping[str, Any]) -> Table:
    """Return the gaps that are not as they should be as a table for a terminal; the page has them all."""
    counts = {word: sum(one["verdict"] == word for one in proof["gaps"]) for word in ("gap", "undecided", "within", "too_few")}
    said = ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in counts.items())
    shown = Table(title=f"{proof['release']}: each group against everybody else ({said})", title_justify="left")
    for name in ("group", "figure", "has", "rest has", "gap (95 %)", ""):
        shown.add_column(name, justify="right" if "has" in name or "gap" in name else "left")
    for one in sorted((row for row in proof["gaps"] if row["verdict"] in ("gap", "undecided")), key=lambda row: row["verdict"]):
        shown.add_row(f"{one['output']}\n{one['by']}: {one['group']}", label(one["figure"]), number(one["value"], 2),
                      number(one["rest"], 2), f"{one['gap']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})",
                      _coloured(one["verdict"]))
    return shown


def coverage_table(proof: Mapping[str, Any]) -> Table:
    """Return the coverage as a table for a terminal: everybody, and every group that is not as it should be."""
    shown = Table(title="Prediction sets: how often the truth is inside", title_justify="left")
    for name in ("output, limits from", "class, group", "n", "covered (95 %)", ""):
        shown.add_column(name, justify="right" if name in ("n", "covered (95 %)") else "left")
    for one in proof["prediction_sets"]:
        for row in one["coverage"]:
            if row["by"] == "population" or row["verdict"] in ("gap", "below"):
                shown.add_row(f"{one['output']}, {one['calibrated_on'].split(',')[0]}",
                              f"{row['class']}\n{row['by']}: {row['group']}", str(row["n"]),
                              interval({**row, "value": row["share"]}, 2), _coloured(row["verdict"]))
    return shown


def _coloured(verdict: str) -> str:
    return f"[{COLOURS[verdict]}]{verdict.replace('_', ' ')}[/]"
