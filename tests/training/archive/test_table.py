"""The table beside an archive: its columns by what they are called elsewhere, its conditions, its ages and sexes."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UnusableInput
from training.archive.table import age_of, read_attributes, sex_of, told_age

NIH = """Image Index,Patient ID,Patient Age,Patient Gender,View Position,source
a.png,1,058Y,M,PA,nih
b.png,1,41,F,ap,nih
c.png,2,,,PA,other
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "metadata.csv"
    path.write_text(NIH, encoding="utf-8")
    return path


def test_common_names_of_columns_are_known(table: Path) -> None:
    first, second, third = read_attributes(table).lines
    assert ({"file": "a.png", "patient": "1"}, {"age_years": 58.0, "sex": "M", "view": "PA"}) == (first.ids, first.attributes)
    assert {"age_years": 41.0, "sex": "F", "view": "AP"} == second.attributes
    assert {"view": "PA"} == third.attributes


def test_conditions_on_one_column_are_alternatives_and_on_several_all_hold(table: Path) -> None:
    def files(*where: tuple[str, str]) -> list[str]:
        return [line.ids["file"] for line in read_attributes(table, where=where).lines]

    assert ["a.png", "b.png"] == files(("source", "nih"))
    assert ["a.png", "b.png", "c.png"] == files(("source", "nih"), ("source", "other"))
    assert ["a.png"] == files(("source", "nih"), ("View Position", "PA"))


def test_a_column_may_be_named_left_out_or_kept(table: Path) -> None:
    assert "age_years" not in read_attributes(table, columns=[("age_years", "")]).lines[0].attributes
    assert "nih" == read_attributes(table, columns=[("site", "source")]).lines[0].attributes["site"]
    assert "other" == read_attributes(table, keep=["source"]).lines[2].attributes["source"]


def test_a_french_table_with_semicolons_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeffAccession Number;Sexe;Âge\nA1;Femme;7\n", encoding="utf-8")
    line = read_attributes(path, columns=[("sex", "Sexe"), ("age_years", "Âge")]).lines[0]
    assert ({"accession": "A1"}, {"sex": "F", "age_years": 7.0}) == (line.ids, line.attributes)


@pytest.mark.parametrize(("options", "said"), [
    ({"where": [("place", "x")]}, "place"), ({"keep": ["place"]}, "place"), ({"columns": [("age_years", "Alter")]}, "Alter"),
    ({"columns": [("years", "source")]}, "years"),
    ({"keep": ["Patient ID"]}, "name nobody"),
])
def test_a_column_that_is_not_there_is_named(table: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(UnusableInput, match=said):
        read_attributes(table, **options)  # type: ignore[arg-type]


def test_a_table_that_names_nobody_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("colour\nblue\n")
    with pytest.raises(UnusableInput, match="which file"):
        read_attributes(path)


@pytest.mark.parametrize(("text", "years"), [
    ("003Y", 3), ("018M", 1.5), ("42", 42), ("> 89", 89), (">89", 89), ("old", None), ("", None),
])
def test_ages_are_read_as_they_are_written(text: str, years: float | None) -> None:
    assert years == (age_of(text) if age_of(text) is None else pytest.approx(age_of(text)))


@pytest.mark.parametrize(("years", "told"), [
    (3.9, 3), (89.5, 89), (90, 90), (104, 90), (0.51, 0.5), (-1, None), (None, None), (999, None),
])
def test_ages_are_told_in_years_months_below_two_and_as_one_group_above_89(years: float | None, told: float | None) -> None:
    assert told == told_age(years)


def test_a_number_is_no_sex_for_codings_differ() -> None:
    assert ["M", "F", "F", "O", "", ""] == [sex_of(one) for one in ("male", "W", "Femme", "other", "1", "2")]
