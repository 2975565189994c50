"""A report as one HTML page: no script, nothing fetched, every value escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service.reporting.printed import Printed

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)


def html(report: Printed) -> str:
    """Write the page."""
    return _PAGES.get_template("report.html").render(report=report)
