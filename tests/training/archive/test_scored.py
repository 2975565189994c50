"""Rows of scored cases: what they may hold, how they join to a truth, and when they may be read."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from models.errors import UnusableInput
from training.archive.scored import Names, Row, make_names, names_of, read_rows, row_of

ROW = Row("c1", "g1", {"file": "f"}, "tiny-1.0.0", "scored", values={"b": 0.25, "a": 0.5}, seconds=1.5)


def test_a_hash_is_the_same_for_the_same_key_kind_and_text_alone() -> None:
    names = Names(b"k" * 32)
    assert names.hash("patient", "123") == names.hash("patient", " 123\0 ") != names.hash("accession", "123")
    assert names.hash("patient", "123") != Names(b"l" * 32).hash("patient", "123")
    assert (names.hash("patient", "  "), len(names.hash("sop", "1.2"))) == ("", 32)


def test_a_key_is_never_shown() -> None:
    assert "6b6b" not in repr(Names(b"k" * 32))
    assert "kkk" not in repr(Names(b"k" * 32))


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    first = make_names(tmp_path)
    assert first == make_names(tmp_path) == names_of(tmp_path)
    assert 0o600 == stat.S_IMODE((tmp_path / "private/key").stat().st_mode)
    assert 0o700 == stat.S_IMODE((tmp_path / "private").stat().st_mode)


@pytest.mark.parametrize("key", ["", "abcd", "not hexadecimal"])
def test_a_damaged_key_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private/key").write_text(key)
    with pytest.raises(UnusableInput, match="key"):
        names_of(tmp_path)


def test_a_line_holds_everything_but_the_seconds(tmp_path: Path) -> None:
    told = json.loads(ROW.to_line())
    assert "seconds" not in told
    assert ROW == row_of(told)
    (tmp_path / "rows.jsonl").write_text(ROW.to_line() + "\n")
    (tmp_path / "timings.jsonl").write_text('{"case": "c1", "seconds": 1.5}\n')
    assert [(ROW, 1.5)] == [(row, row.seconds) for row in read_rows(tmp_path)]


def test_rows_that_are_not_finished_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="scored to its end"):
        read_rows(tmp_path)


@pytest.mark.parametrize("line", ["{", "[]", '{"case": "c", "name": "x"}'])
def test_lines_that_are_no_rows_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(UnusableInput, match="one row"):
        read_rows(tmp_path)


def test_a_row_holds_no_number_that_is_none() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Row("c", "g", {}, "m-1.0.0", "scored", values={"a": float("nan")}).to_line()
