"""The trace: every path and test that a requirement names is there, and the table cannot say otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.technical.requirements import HERE, all_tests, requirements, risks, test_exists

ROOT = Path(__file__).parents[3]


def test_every_file_and_test_of_every_requirement_is_there() -> None:
    found = requirements(ROOT)

    assert [(one.id, one.missing_files) for one in found if one.missing_files] == []
    assert [(one.id, one.missing_tests) for one in found if one.missing_tests] == []
    assert len(found) >= 60
    assert len({one.id for one in found}) == len(found)


def test_every_requirement_controls_a_risk_and_every_risk_says_what_is_missing() -> None:
    found = risks(requirements(ROOT))

    assert [one.id for one in found if not one.controls and not one.note] == []
    assert all(one.missing == ("severity", "probability", "residual") for one in found if not one.by)


def test_a_test_that_is_not_there_is_seen(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("def test_one():\n    pass\n\n\ndef helper():\n    pass\n", encoding="utf-8")
    table = tmp_path / "requirements.toml"
    table.write_text(_requirement("REQ-A-01", ["tests/test_a.py"], ["tests/test_a.py::test_one", "tests/test_a.py::test_two"]) +
                     _requirement("REQ-A-02", ["gone.py"], []), encoding="utf-8")

    first, second = requirements(tmp_path, table)

    assert first.missing_tests == ("tests/test_a.py::test_two",)
    assert first.traced
    assert second.missing_files == ("gone.py",)
    assert not second.traced
    assert all_tests(tmp_path) == 1
    assert not test_exists(tmp_path, "tests/test_a.py::helper")


def test_an_id_given_twice_and_a_risk_that_is_none_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "requirements.toml"
    table.write_text(_requirement("REQ-A-01", ["a.py"], []) * 2, encoding="utf-8")
    with pytest.raises(ValueError, match="REQ-A-01 twice"):
        requirements(tmp_path, table)

    table.write_text(_requirement("REQ-A-01", ["a.py"], [], risk="RISK-99"), encoding="utf-8")
    with pytest.raises(ValueError, match="RISK-99"):
        risks(requirements(tmp_path, table))


def test_the_table_names_nothing_outside_the_tree() -> None:
    text = (HERE / "requirements.toml").read_text(encoding="utf-8")
    assert ".." not in text.replace("...", "")


def _requirement(name: str, files: list[str], tests: list[str], risk: str = "RISK-01") -> str:
    return (f'[[requirement]]\nid = "{name}"\nsection = "A"\ntext = "Does."\nfiles = {files!r}\ntests = {tests!r}\n'
            f'risks = ["{risk}"]\n\n').replace("'", '"')
