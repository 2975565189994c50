"""GitHub Flavored Markdown of cards: text that stays text, tables, lists, and one line of limited length.

Nothing that a record system sent is written here, only labels of releases and numbers; what is written is escaped all the same.
https://github.github.com/gfm
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST_TEXT = 400
_BLANKS = re.compile("[^\\S\u00a0\u202f]+")  # any but those that do not break, which French has before its signs
_SIGNS = re.compile(r"([\\`*_\[\]<>|~&#!])")
_LINKS = re.compile(r"(?i)\b(?:https?|ftp|mailto|javascript|data|file):|\bwww\.|://|@")
_NAMED = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def plain(text: str) -> str:
    """Return text that no reader of Markdown takes for markup, a link or HTML, on one line."""
    kept = "".join(one if unicodedata.category(one)[0] != "C" else " " for one in text)
    short = _BLANKS.sub(" ", _LINKS.sub(" ", kept)).strip()[:LONGEST_TEXT]
    return _SIGNS.sub(lambda found: _NAMED.get(found[1], f"\\{found[1]}"), short)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; every cell is plain text."""
    lines = [f"| {' | '.join(plain(cell) for cell in row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])


def bullets(lines: Iterable[str]) -> str:
    """Write a list of plain lines."""
    return "\n".join(f"- {plain(line)}" for line in lines)


def section(title: str, body: str) -> str:
    """Write a part with its title; nothing when it is empty."""
    return f"**{plain(title)}**\n\n{body}" if body else ""


def joined(parts: Iterable[str]) -> str:
    """Put parts below each other, empty ones left out."""
    return "\n\n".join(part for part in parts if part)


def one_line(text: str, most: int) -> str:
    """Return text of at most ``most`` characters, cut at a word."""
    flat = _BLANKS.sub(" ", text).strip()
    if len(flat) <= most:
        return flat
    return flat[: most - 1].rsplit(" ", 1)[0].rstrip(" \u00a0,;:(") + "…"
