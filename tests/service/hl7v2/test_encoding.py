"""The encoding: what is escaped is read back, and no text can end a field, a segment or a frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.hl7v2.encoding import components, escaped, message, repetitions, segment, subcomponents, unescaped
from service.hl7v2.mllp import framed
from service.reporting.report import one_line

HOSTILE = st.text(alphabet=st.one_of(st.sampled_from("|^~\\&\r\n\x0b\x1c\x1dFSTRE.Xé"), st.characters()), max_size=80)


@given(HOSTILE)
def test_what_is_escaped_is_read_back_on_one_line(text: str) -> None:
    assert one_line(text) == unescaped(escaped(text))


@given(HOSTILE)
def test_escaped_text_holds_no_structure(text: str) -> None:
    written = escaped(text)
    assert not set(written) & set("|^~&\r\n\x0b\x1c")
    assert framed(message([segment("NTE", {3: text})])).count(b"\x1c") == 1


@given(st.lists(HOSTILE, min_size=1, max_size=5))
def test_text_never_makes_a_field_a_component_or_a_repetition(texts: list[str]) -> None:
    line = segment("ZZZ", {2: repetitions(*(components("a", text, subcomponents("b", text), "c") for text in texts))})
    name, first, second = line.split("|")
    assert ("ZZZ", "") == (name, first)
    assert [4] * len(texts) == [len(one.split("^")) for one in second.split("~")]
    assert [one_line(text) for text in texts] == [unescaped(one.split("^")[1]) for one in second.split("~")]


@pytest.mark.parametrize(("text", "written"), [
    ("A|B", r"A\F\B"), ("A^B", r"A\S\B"), ("A&B", r"A\T\B"), ("A~B", r"A\R\B"), ("A\\B", r"A\E\B"), (r"\F\ ", r"\E\F\E" + "\\"),
])
def test_each_structure_character_has_its_escape(text: str, written: str) -> None:
    assert written == escaped(text)


def test_a_header_has_its_separators_where_the_standard_counts_them() -> None:
    assert r"MSH|^~\&|SIL|CHU|||||ACK" == segment("MSH", {3: "SIL", 4: "CHU", 9: "ACK"})


def test_empty_components_at_the_end_are_left_out() -> None:
    assert ("a^^b", "") == (components("a", "", "b", "", ""), components("", ""))


@pytest.mark.parametrize("inside", ["\x0b", "\x1c", "\x1c\r\x0bMSH|"])
def test_a_message_that_would_end_its_frame_is_not_framed(inside: str) -> None:
    with pytest.raises(ValueError, match="frame"):
        framed(f"MSH|{inside}")
