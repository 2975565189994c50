"""report.html: one self-contained, printable page of an evaluation.

It shows real images of the data set, so it stays where the data may stay.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from models.manifest import Manifest
from training import charts
from training.findings import Picture

TEMPLATES = Path(__file__).parent
LABELS = {
    "auroc": "AUROC", "average_precision": "Average precision (AUPRC)", "brier": "Brier score",
    "ece": "Expected calibration error", "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept", "calibration_in_the_large": "Calibration in the large",
    "observed_over_expected": "Observed / expected", "sensitivity": "Sensitivity", "specificity": "Specificity",
    "ppv": "Positive predictive value", "npv": "Negative predictive value", "event1": "min(sensitivity, PPV)",
}


def write_report(path: Path, manifest: Manifest, figures: dict[str, Any], pictures: list[Picture]) -> None:
    """Write the page. ``figures`` is the content of evaluation.json; ``pictures`` are real cases."""
    path.write_text(page(manifest, figures, pictures), encoding="utf-8")


def page(manifest: Manifest, figures: dict[str, Any], pictures: list[Picture]) -> str:
    """Return the page as HTML text without any reference to another file."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True, autoescape=select_autoescape(["html", "j2"]))
    environment.filters.update(number=number, interval=interval, label=label)
    grouped = [(name, [(p.caption, charts.picture(p)) for p in group])
               for name, group in groupby(pictures, key=lambda p: p.group)]
    return environment.get_template("report.html.j2").render(
        m=manifest, e=figures, main=figures["rows"][0], subgroups=figures["rows"][1:],
        names=_columns(figures["rows"][1:]), charts=_charts(figures), wide=_wide_charts(figures), pictures=grouped,
        audits=[(label(k), v) for k, v in figures["audits"].items()],
    )


def number(value: Any, digits: int = 3) -> str:
    """Write a number for a reader; an en dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return " to ".join(number(v, digits) for v in value)
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if value and abs(value) < 0.5 * 10**-digits:
        return f"{value:.0e}"
    return f"{value:.{digits}f}"


def interval(figure: dict[str, Any], digits: int = 3) -> str:
    """Write value and interval: 0.953 (0.941 to 0.964)."""
    if figure.get("value") is None:
        return "–"
    text = number(float(figure["value"]), digits)
    if figure.get("low") is None:
        return text
    return f"{text} ({number(float(figure['low']), digits)} to {number(float(figure['high']), digits)})"


def label(name: str) -> str:
    """Write a key of evaluation.json as words."""
    return LABELS.get(name, name.replace("_", " ").replace(" mm", " (mm)").replace(" ml", " (mL)").capitalize())


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Return the figures to compare groups by: the few that every group has."""
    wanted = ("auroc", "sensitivity", "specificity", "observed_over_expected", "dice_anterior", "dice_posterior",
              "hd95_mm_whole", "volume_error_median_whole", "mean_absolute_error", "within_20_percent", "coverage")
    return [name for name in wanted if any(name in row["figures"] for row in rows)]


def _charts(figures: dict[str, Any]) -> list[Markup]:
    """Draw whatever the evaluation has curves for. The SVG is ours, so it is not escaped."""
    curves, main = figures["curves"], figures["rows"][0]["figures"]
    drawn = []
    if "roc" in curves:
        drawn += [charts.roc(curves["roc"], interval(main["auroc"])),
                  charts.precision_recall(curves["precision_recall"], interval(main["average_precision"])),
                  charts.calibration(curves["calibration"]),
                  charts.decision(curves["decision"], figures["confusion"].get("threshold"))]
    if "dice" in curves:
        drawn.append(charts.overlap(curves["dice"]))
    drawn += [charts.agreement(points, part) for part, points in curves.get("agreement", {}).items()]
    return [Markup(text) for text in drawn]  # noqa: S704


def _wide_charts(figures: dict[str, Any]) -> list[Markup]:
    """Draw the comparisons of groups, which need the width of the page."""
    drawn = []
    if any("auroc" in row["figures"] for row in figures["rows"]):
        drawn.append(charts.forest(figures["rows"], "auroc", "AUROC, with 95 % interval"))
    if len(figures["refusals"]) > 1:
        drawn.append(charts.refusals(figures["refusals"]))
    return [Markup(text) for text in drawn if text]  # noqa: S704
