"""Text in a card stays text, whatever it holds."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from service.cds_hooks.markdown import LONGEST_TEXT, bullets, one_line, plain, table

GFM = MarkdownIt("gfm-like", {"html": True, "linkify": False})


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


EVIL = [
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "![i](https://evil.example/i.png)", "a | b\n|---|\n| c",
    "**bold** _it_", "`code`", "# title", "<https://evil.example>", "www.evil.example", "&lt;b&gt;", "\\", "line\r\nbreak",
    "\x00\x1b[31m", "\u202eabc", "https://evil.example", "mailto:a@b.example", "~~gone~~", "<img src=x onerror=y>", "1. one",
    "- [ ] task",
]


@pytest.mark.parametrize("text", EVIL)
def test_hostile_text_makes_no_element(text: str) -> None:
    assert Tags(GFM.render(f"a {plain(text)}")).found == {"p"}
    assert Tags(GFM.render(table(["h"], [[text]]))).found == {"table", "thead", "tbody", "tr", "th", "td"}
    assert Tags(GFM.render(bullets([f"a {text}"]))).found == {"ul", "li"}


@given(st.text(max_size=300))
def test_no_text_makes_an_element_or_a_second_cell(text: str) -> None:
    assert Tags(GFM.render(f"a {plain(text)}")).found <= {"p"}
    page = GFM.render(table(["h", "k"], [[text, "end"]]))
    assert page.count("<td>") == 2
    assert "://" not in plain(text)
    assert len(plain(text)) <= 5 * LONGEST_TEXT


@given(st.text(min_size=1, max_size=400), st.integers(20, 139))
def test_a_line_is_cut_to_its_length(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most
    assert "\n" not in line
