"""report.html: the document as one self-contained page that prints. It holds figures of groups, and no image of anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from training.commission import pictures
from training.commission.document import Document


def write_page(path: Path, document: Document) -> None:
    """Write the page."""
    path.write_text(page(document), encoding="utf-8")


def page(document: Document) -> str:
    """Return the page as HTML text without any reference to another file."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True, autoescape=select_autoescape(["html", "j2"]))
    parts: list[dict[str, Any]] = [{
        "heading": part.heading, "texts": part.texts, "points": part.points, "tables": part.tables,
        "pictures": [{"svg": Markup(pictures.svg(one.drawing)), "alt": one.alt, "wide": one.wide}  # noqa: S704  drawn here
                     for one in part.pictures],
    } for part in document.parts]
    return environment.get_template("report.html.j2").render(d=document, parts=parts)
