"""Verdicts as truth: what teaches, what is left out and why, and that nobody lies on two sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import UnusableInput
from training.refit.verdicts import read_verdicts, truths_of


def line(group: str = "A", split: str = "train", **changes: Any) -> dict[str, Any]:
    said = {"name": "pneumonia", "kind": "probability", "ai_value": 0.7, "ai_present": True, "present": None}
    return {"group": group, "split": split, "files": [f"images/{group}/1.dcm"], "model": "chest-1.0.0", "status": "scored",
            "decision": "agree", "in_force": True, "reason_code": "", "assessed": [said], **changes}


def a_set(folder: Path, *lines: dict[str, Any], neither: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    (folder / "records.jsonl").write_text("")
    (folder / "manifest.csv").write_text("file,group,split,sex,age,view,modality\nimages/A/1.dcm,A,train,F,003Y,AP,DX\n")
    (folder / "neither.csv").write_text(f"group\n{neither}\n")
    return folder


def test_agreeing_confirms_and_correcting_says_what_is_there(tmp_path: Path) -> None:
    other = {"name": "pneumonia", "ai_present": True, "present": False}
    found = read_verdicts(a_set(tmp_path, line("A"), line("B", decision="correct", assessed=[other])), "chest")
    assert [{"pneumonia": 1.0}, {"pneumonia": 0.0}] == [row.truths for row in found.rows]
    assert {"sex": "F", "age": "1-4", "view": "AP", "modality": "DX"} == found.rows[0].subgroups


def test_what_teaches_nothing_is_counted_by_its_reason(tmp_path: Path) -> None:
    found = read_verdicts(a_set(
        tmp_path, line("A", decision="reject", reason_code="image-quality"), line("B", decision=""), line("C", in_force=False),
        line("D", status="refused", assessed=[]), line("E", model="other-1.0.0"), line("F"), line("G", assessed=[]),
        neither="F"), "chest")
    assert () == found.rows
    assert {"rejected: image-quality": 1, "not judged": 1, "a second reader is waited for": 1, "the model had declined": 1,
            "about another model": 1, "of a person who was on two sides of the split": 1, "nothing was said of a finding": 1} == (
        found.left_out)


def test_a_correction_says_nothing_of_a_finding_that_was_not_looked_at() -> None:
    assert {} == truths_of({"decision": "correct", "assessed": [{"name": "a", "ai_present": True, "present": None}]})


def test_a_person_on_two_sides_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="one side of the split"):
        read_verdicts(a_set(tmp_path, line("A"), line("A", "test")), "chest")


def test_a_folder_without_a_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="rights dataset"):
        read_verdicts(tmp_path, "chest")


def test_another_verdict_is_another_set(tmp_path: Path) -> None:
    one = read_verdicts(a_set(tmp_path / "a", line("A")), "chest").sha256
    assert one == read_verdicts(a_set(tmp_path / "b", line("A")), "chest").sha256
    assert one != read_verdicts(a_set(tmp_path / "c", line("A", decision="reject")), "chest").sha256
