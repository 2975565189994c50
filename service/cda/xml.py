"""XML as documents need it: elements of plain text only, and their bytes, always the same for the same document."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # writes only: nothing is parsed here
from collections.abc import Mapping
from datetime import datetime

from service.reporting.report import one_line

Element = ET.Element


def element(
    name: str, /, *children: Element | str | None, more: Mapping[str, str] | None = None, **attributes: str | None
) -> Element:
    """Make an element; None is left out, of children and of attributes. ``more`` are attributes Python cannot spell (xsi:type).

    Text is put on one line without what XML cannot hold (XML 1.0, 2.2: most controls, lone surrogates).
    """
    made = ET.Element(name, {key: one_line(value) for key, value in {**(more or {}), **attributes}.items() if value is not None})
    for child in children:
        if isinstance(child, str):
            _add_text(made, one_line(child))
        elif child is not None:
            made.append(child)
    return made


def document(root: Element) -> bytes:
    """Return the bytes of a document, UTF-8 with its declaration."""
    written: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + written + b"\n"


def stamp(when: datetime) -> str:
    """Return a time as HL7 writes it, with its offset: 20260301101500+0100."""
    return when.strftime("%Y%m%d%H%M%S%z")


def _add_text(made: Element, text: str) -> None:
    if len(made):
        made[-1].tail = (made[-1].tail or "") + text
    else:
        made.text = (made.text or "") + text
