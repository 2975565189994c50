"""A report as PDF: embedded font, title and language stated, bookmarks, page numbers, and on a draft its mark on every page.

The same report is the same bytes. The pages carry no structure tree: for a screen reader there is the HTML page.
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from reportlab.lib.colors import HexColor  # type: ignore[import-untyped]
from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped]
from reportlab.lib.units import mm  # type: ignore[import-untyped]
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]
from reportlab.platypus import (  # type: ignore[import-untyped]
    BaseDocTemplate,
    Flowable,
    Frame,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from service.reporting.printed import Line, Part, Printed

INK, GREY, RED, GREEN = "#1a1a1a", "#595959", "#8a1c1c", "#1b5e20"
LEFT, TOP, BOTTOM = 20 * mm, 19 * mm, 17 * mm
# C0 controls and lone surrogates, which no page can show and XML forbids
_UNSHOWN = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")


def pdf(report: Printed, *, made_at: datetime) -> bytes:
    """Write the pages. ``made_at`` is the date the file states."""
    _fonts()
    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer, pagesize=A4, leftMargin=LEFT, rightMargin=LEFT, topMargin=TOP, bottomMargin=BOTTOM, lang=report.language,
        title=f"{report.title} – {report.status}", author="Diaphane", subject=report.notice, creator="Diaphane", invariant=1,
        displayDocTitle=True,
    )
    frame = Frame(LEFT, BOTTOM, A4[0] - 2 * LEFT, A4[1] - BOTTOM - TOP, id="text", leftPadding=0, rightPadding=0)
    document.addPageTemplates([PageTemplate(id="page", frames=[frame])])
    document.build(_story(report), canvasmaker=_canvas_of(report, made_at))
    return buffer.getvalue()


def _story(report: Printed) -> list[Flowable]:
    story: list[Flowable] = [Paragraph(_safe(report.title), _style(16, bold=True, after=6)), _Banner(report)]
    rows = [[Paragraph(_safe(label), _style(9, bold=True)), Paragraph(_safe(value), _style(9))] for label, value in report.facts]
    if rows:
        table = Table(rows, colWidths=[66 * mm, None], hAlign="LEFT")
        table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0),
                                   ("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1)]))
        story += [Spacer(1, 4 * mm), table]
    if report.notice:
        story += [Spacer(1, 3 * mm), Paragraph(_safe(report.notice), _style(9, colour=RED if report.is_draft else GREY))]
    for part in report.parts:
        story += _section(part)
    if report.limits:
        story.append(_Heading(report.limits_title, "limits"))
        story += [Paragraph(f"• {_safe(text)}", _style(9)) for text in report.limits]
    if report.sources:
        story.append(_Heading(report.sources_title, "sources"))
        story += [Paragraph(f"{number}. {_safe(text)}", _style(8, colour=GREY)) for number, text in report.sources]
    return story


def _section(part: Part) -> list[Flowable]:
    heading = _Heading(part.title, part.name)
    if not part.lines:
        return [heading, Paragraph(_safe(part.empty), _style(10, colour=GREY))]
    return [heading, *(Paragraph(_marked_up(line), _style(10, after=3)) for line in part.lines)]


def _marked_up(line: Line) -> str:
    text = _safe(line.text)
    if line.mark:
        mark = _safe(line.mark).replace(" ", "\u00a0")  # on one line
        text += f' <font size="7.5" color="{RED}">[{mark}]</font>'
    return text + (f' <super size="7">{line.note}</super>' if line.note else "")


class _Heading(Paragraph):  # type: ignore[misc]
    """A heading with a bookmark."""

    def __init__(self, title: str, name: str) -> None:
        super().__init__(_safe(title), _style(12, bold=True, before=10, after=3))
        self.keepWithNext = True
        self._title, self._name = title, name

    def draw(self) -> None:
        """Draw, and set the bookmark here."""
        self.canv.bookmarkPage(self._name)
        self.canv.addOutlineEntry(self._title, self._name, level=0)
        super().draw()


class _Banner(Flowable):  # type: ignore[misc]
    """The state of the report in a frame."""

    def __init__(self, report: Printed) -> None:
        super().__init__()
        colour = RED if report.is_draft else GREEN
        self._colour = HexColor(colour)
        self._words = Paragraph(_safe(report.status), _style(11, bold=True, colour=colour))

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """Return the size it takes."""
        _, inner = self._words.wrap(width - 8 * mm, height)
        self._size = (width, inner + 5 * mm)
        return self._size

    def draw(self) -> None:
        """Draw frame and words."""
        self.canv.setStrokeColor(self._colour)
        self.canv.setLineWidth(1.2)
        self.canv.rect(0, 0, *self._size)
        self._words.drawOn(self.canv, 4 * mm, 2.5 * mm)


def _canvas_of(report: Printed, made_at: datetime) -> type[Any]:
    """Return a canvas that knows how many pages there are, and puts footer and mark on each."""

    class Numbered(Canvas):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            stamp, when = self._doc._timeStamp, made_at.astimezone(UTC)
            stamp.t, stamp.lt, stamp.YMDhms = when.timestamp(), when.timetuple(), when.timetuple()[:6]
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802  reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                _dress(self, report, number, len(self._pages))
                super().showPage()
            super().save()

    return Numbered


def _dress(canvas: Any, report: Printed, number: int, count: int) -> None:
    canvas.saveState()
    canvas.setFont("DejaVu", 8)
    canvas.setFillColor(HexColor(GREY))
    canvas.drawString(LEFT, 10 * mm, report.footer)
    canvas.drawRightString(A4[0] - LEFT, 10 * mm, report.page.format(page=number, pages=count))
    if report.is_draft:
        canvas.setFillColor(HexColor(RED))
        canvas.setFont("DejaVu-Bold", 9)
        canvas.drawCentredString(A4[0] / 2, A4[1] - 12 * mm, report.status)
        canvas.setFillColor(HexColor(RED), alpha=0.09)
        canvas.setFont("DejaVu-Bold", 44)
        canvas.translate(A4[0] / 2, A4[1] / 2)
        canvas.rotate(52)
        canvas.drawCentredString(0, 0, report.status)
    canvas.restoreState()


def _style(size: float, *, bold: bool = False, colour: str = INK, before: float = 0, after: float = 0) -> Any:
    return ParagraphStyle("", fontName="DejaVu-Bold" if bold else "DejaVu", fontSize=size, leading=1.35 * size,
                          textColor=HexColor(colour), spaceBefore=before, spaceAfter=after)


def _safe(text: str) -> str:
    return escape(_UNSHOWN.sub(" ", text))


@cache
def _fonts() -> None:
    """Register DejaVu Sans, which matplotlib brings: it has every letter of French and is free to embed."""
    folder = Path(mpl.get_data_path()) / "fonts/ttf"
    for name, file in (("DejaVu", "DejaVuSans.ttf"), ("DejaVu-Bold", "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))
    pdfmetrics.registerFontFamily("DejaVu", normal="DejaVu", bold="DejaVu-Bold", italic="DejaVu", boldItalic="DejaVu-Bold")
