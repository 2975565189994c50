"""refit.html: one self-contained page that says what was learnt, what was required, what was seen, and the two curves beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from numpy.typing import NDArray

from training import charts, measures
from training.refit.compare import chance
from training.refit.learn import Lesson
from training.report import label, number

Json = dict[str, Any]
BINS = 5  # of few cases: more would draw noise


def write_page(path: Path, report: Json, main: Lesson) -> None:
    """Write the page. It holds figures alone, no case."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True, autoescape=select_autoescape(["html", "j2"]))
    environment.filters.update(number=number, label=label)
    y, both = main.both.y, main.both
    drawn = []
    if 0 < both.events < len(y):
        drawn = [(name, Markup(charts.calibration({"bins": _bins(y, chance(logits))})))  # noqa: S704  drawn here
                 for name, logits in ((f"{report['old']} on the sealed test", both.old), (f"{report['new']} on the same", both.new))]
    path.write_text(environment.get_template("refit.html.j2").render(r=report, drawn=drawn), encoding="utf-8")


def _bins(y: NDArray[np.float64], p: NDArray[np.float64]) -> list[dict[str, float]]:
    edges = np.unique(np.quantile(p, np.linspace(0, 1, BINS + 1)))
    edges[0], edges[-1] = 0.0, 1.0
    return measures.reliability(y, p, edges) if len(edges) > 1 else []
