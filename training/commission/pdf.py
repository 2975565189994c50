"""report.pdf: the same document for a file or a signature, with DejaVu's letters in it, as matplotlib brings them."""

from __future__ import annotations

import io
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
from reportlab.platypus import (  # type: ignore[import-untyped]
    Flowable,
    Image,
    KeepTogether,
    ListFlowable,
    ListItem,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    TableStyle,
)
from reportlab.platypus import Table as Grid

from training.commission import pictures
from training.commission.document import Document, Part, Table
from training.commission.words import say

INK, SOFT, LINE = HexColor("#1f2933"), HexColor("#52606d"), HexColor("#d9e0e6")
COLOURS = {"no_go": ("#a3301c", "#fdf3f0"), "go_with_conditions": ("#8a5a00", "#fdf8ec"), "go": ("#1c6b3c", "#f1f8f3")}
MARKS = {True: "#1c6b3c", False: "#a3301c", None: "#8a5a00"}
WIDTH = A4[0] - 36 * mm
FONTS = Path(mpl.get_data_path()) / "fonts/ttf"


def write_pdf(path: Path, document: Document) -> None:
    """Write the PDF: A4, numbered pages, title and language set."""
    _fonts()
    told = SimpleDocTemplate(str(path), pagesize=A4, leftMargin=18 * mm, rightMargin=18 * mm, topMargin=16 * mm, bottomMargin=18 * mm,
                             title=document.title, author="Diaphane", lang=document.language)
    story: list[Flowable] = [
        Paragraph(escape(document.title), _style(18, bold=True, after=2)), Paragraph(escape(document.lead), _style(9.5, colour=SOFT)),
        Paragraph(escape(document.notice), _style(8, colour=SOFT, after=6)), _verdict(document), Spacer(1, 6), _tiles(document),
    ]
    for part in document.parts:
        story += _part(part)
    story += [Spacer(1, 10), Paragraph(escape(document.footer), _style(7, colour=SOFT, split=True))]

    def numbered(canvas: Any, _: Any) -> None:
        canvas.setFont("DejaVu", 7.5)
        canvas.setFillColor(SOFT)
        canvas.drawString(18 * mm, 10 * mm, document.title)
        canvas.drawRightString(A4[0] - 18 * mm, 10 * mm, say(document.language, "page {page}", page=canvas.getPageNumber()))

    told.build(story, onFirstPage=numbered, onLaterPages=numbered)


@cache
def _fonts() -> None:
    for name, file in (("DejaVu", "DejaVuSans.ttf"), ("DejaVu-Bold", "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(FONTS / file)))
    pdfmetrics.registerFontFamily("DejaVu", normal="DejaVu", bold="DejaVu-Bold", italic="DejaVu", boldItalic="DejaVu-Bold")


def _style(size: float, *, bold: bool = False, colour: Any = INK, after: float = 3, before: float = 0, right: bool = False,
           split: bool = False) -> ParagraphStyle:
    return ParagraphStyle(f"{size}{bold}{colour}{right}", fontName="DejaVu-Bold" if bold else "DejaVu", fontSize=size,
                          leading=size * 1.38, textColor=colour, spaceAfter=after, spaceBefore=before, alignment=2 if right else 0,
                          splitLongWords=1 if split else 0)


def _verdict(document: Document) -> Flowable:
    edge, ground = COLOURS[document.decision]
    inside: list[Flowable] = [Paragraph(escape(document.decided), _style(15, bold=True, colour=HexColor(edge), after=5))]
    inside.append(ListFlowable([ListItem(Paragraph(escape(reason), _style(9, bold=place == 0)), leftIndent=14)
                                for place, reason in enumerate(document.reasons)], bulletType="1", bulletFontName="DejaVu",
                               bulletFontSize=9, leftIndent=14))
    inside.append(Paragraph(escape(document.headings["sign"]), _style(8, colour=HexColor(edge), before=4)))
    return Grid([[inside]], colWidths=[WIDTH], style=TableStyle([
        ("BACKGROUND", (0, 0), (-1, -1), HexColor(ground)), ("BOX", (0, 0), (-1, -1), 1.4, HexColor(edge)),
        ("LEFTPADDING", (0, 0), (-1, -1), 10), ("RIGHTPADDING", (0, 0), (-1, -1), 10), ("TOPPADDING", (0, 0), (-1, -1), 8),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 8)]))


def _tiles(document: Document) -> Flowable:
    cells = [[Paragraph(escape(value), _style(13, bold=True, after=0)), Paragraph(escape(words), _style(7, colour=SOFT, after=0))]
             for value, words in document.tiles]
    return Grid([cells], colWidths=[WIDTH / max(len(cells), 1)] * len(cells), style=TableStyle([
        ("LINEABOVE", (0, 0), (-1, 0), 1.6, HexColor("#1f6f8b")), ("LEFTPADDING", (0, 0), (-1, -1), 4), ("RIGHTPADDING", (0, 0), (-1,
            -1), 4),
        ("VALIGN", (0, 0), (-1, -1), "TOP")]))


def _part(part: Part) -> list[Flowable]:
    head: list[Flowable] = [Paragraph(escape(part.heading), _style(12, bold=True, before=14, after=4))]
    head += [Paragraph(escape(text), _style(8.5)) for text in part.texts]
    body: list[Flowable] = []
    if part.points:
        body.append(ListFlowable([ListItem(Paragraph(escape(point), _style(8.5)), leftIndent=12) for point in part.points],
                                 bulletType="bullet", bulletFontName="DejaVu", bulletFontSize=6, leftIndent=12, start="•"))
    pair = [one for one in part.pictures if not one.wide]
    if pair:
        body.append(Grid([[_image(one.drawing, WIDTH / 2 - 6) for one in pair]], colWidths=[WIDTH / 2] * len(pair)))
    body += [_image(one.drawing, WIDTH) for one in part.pictures if one.wide]
    body += [_table(table) for table in part.tables]
    return [KeepTogether([*head, *body[:1]]), *body[1:]]


def _image(drawing: Any, width: float) -> Image:
    data = pictures.png(drawing)
    across, up = drawing.get_size_inches()
    return Image(io.BytesIO(data), width=width, height=width * up / across)


def _table(table: Table) -> Grid:
    def cell(text: str, place: int, *, head: bool = False, mark: Any = "") -> Paragraph:
        colour = HexColor(MARKS[mark]) if mark != "" else SOFT if head else INK
        return Paragraph(escape(text), _style(7.5, bold=mark != "", colour=colour, after=0, right=place >= table.right,
                                              split=True))

    rows = [[cell(word, place, head=True) for place, word in enumerate(table.header)]]
    for index, row in enumerate(table.rows):
        last = len(row) - 1
        rows.append([cell(text, place, mark=table.marks[index] if table.marks and place == last else "")
                     for place, text in enumerate(row)])
    columns = len(table.header)
    shares = table.widths or ((0.4, *[0.6 / (columns - 1)] * (columns - 1)) if columns > 1 else (1.0,))
    empty = all(not text.strip("\u00a0 ") for row in table.rows for text in row)
    return Grid(rows, colWidths=[WIDTH * share for share in shares], repeatRows=1, rowHeights=[None, 44] if empty else None,
                style=TableStyle([("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE), ("VALIGN", (0, 0), (-1, -1), "TOP"),
                                  ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 6),
                                  ("TOPPADDING", (0, 0), (-1, -1), 2.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5)]))
