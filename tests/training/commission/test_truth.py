"""Truth of every kind is joined by hashes; what is missing, contradictory or of other cases is said, and nobody is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from models.errors import UnusableInput
from tests.training.commission.made import CANARY, rows_of
from training.archive.scored import Names, Row
from training.commission.truth import Truth, read_rule
from training.commission.truth_read import read_truth

OUTPUTS = ["pneumonia", "bacterial"]


@pytest.fixture
def archive(tmp_path: Path) -> tuple[list[Row], Names]:
    return rows_of(tmp_path, "pneumonia", [0.0] * 4, ["a", "a", "b", "c"])


def read(path: Path, text: str, archive: tuple[list[Row], Names]) -> Truth:
    path.write_text(text, encoding="utf-8")
    return read_truth(str(path), *archive, OUTPUTS)


def known(truth: Truth, names: Names, output: str = "pneumonia") -> dict[int, int]:
    """Return place of the case → label."""
    places = {names.hash("file", f"images/{place}.dcm"): place for place in range(4)}
    return {places[case]: label for case, label in truth.known[output].items()}


def test_a_plain_table_needs_an_id_and_a_column_an_output(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    truth = read(tmp_path / "t.csv", "accession;pneumonia\nA0;1\nA1;non\nA2;\nA9;1\n", archive)
    assert known(truth, archive[1]) == {0: 1, 1: 0}
    assert (truth.lines, truth.joined, truth.missing["pneumonia"]) == (4, 3, 2)


def test_lines_that_contradict_leave_a_case_unknown_and_are_counted(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    truth = read(tmp_path / "t.csv", "study,pneumonia\n1.2.0,1\n1.2.0,0\n1.2.1,1\n1.2.1,1\n", archive)
    assert known(truth, archive[1]) == {1: 1}
    assert truth.conflicting["pneumonia"] == 1


def test_a_person_holds_for_all_his_cases(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    truth = read(tmp_path / "t.csv", f"patient,pneumonia\n{CANARY}a,1\n", archive)
    assert known(truth, archive[1]) == {0: 1, 1: 1}


def test_truth_of_other_cases_is_refused_without_naming_any(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    with pytest.raises(UnusableInput, match="none is of a case that was scored") as refused:
        read(tmp_path / "t.csv", f"patient,pneumonia\n{CANARY}x,1\n", archive)
    assert CANARY not in str(refused.value)


TABLE = """
file = "labels.csv.gz"
id = "file"
column = "path"
where = {source = "here"}
[outputs.pneumonia]
column = "labels"
separator = "|"
positive = ["Pneumonia"]
prevalence = 0.04
[outputs.bacterial]
column = "kind"
positive = ["bacteria"]
negative = ["virus"]
"""


def test_a_described_table_picks_lines_splits_labels_and_leaves_other_words_unknown(
    tmp_path: Path, archive: tuple[list[Row], Names]
) -> None:
    lines = ("path,source,labels,kind", "images/0.dcm,here,Effusion|Pneumonia,bacteria", "images/1.dcm,here,No Finding,",
             "images/2.dcm,there,Pneumonia,virus", "images/3.dcm,here,Pneumonia,fungus")
    (tmp_path / "labels.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    truth = read(tmp_path / "t.toml", TABLE, archive)
    assert known(truth, archive[1]) == {0: 1, 1: 0, 3: 1}
    assert known(truth, archive[1], "bacterial") == {0: 1}
    assert truth.prevalences == {"pneumonia": 0.04}


CODES = 'kind = "codes"\nfile = "{file}"\nid = "{id}"\n[outputs.pneumonia]\ncodes = ["J12", "J18"]\nexcluded = ["J20"]\n'


def test_codes_mean_the_outcome_its_absence_or_nothing(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    (tmp_path / "codes.csv").write_text("accession,code\nA0,S52.5\nA0,J18.9\nA1,S525\nA2,J20.9\n", encoding="utf-8")
    truth = read(tmp_path / "t.toml", CODES.format(file="codes.csv", id="accession"), archive)
    assert known(truth, archive[1]) == {0: 1, 1: 0}  # 2: an excluded code, 3: no code


def test_who_has_no_code_counts_as_well_only_where_that_is_said(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    (tmp_path / "codes.csv").write_text("accession,code\nA0,J18.9\n", encoding="utf-8")
    rule = CODES.format(file="codes.csv", id="accession").replace("[outputs", 'absent = "negative"\n[outputs')
    assert known(read(tmp_path / "t.toml", rule, archive), archive[1]) == {0: 1, 1: 0, 2: 0, 3: 0}


def test_codes_are_read_from_fhir_conditions_but_not_refuted_ones(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    def condition(patient: str, code: str, status: str = "confirmed", system: str = "http://hl7.org/fhir/sid/icd-10") -> str:
        return json.dumps({"resourceType": "Condition", "subject": {"reference": f"Patient/{CANARY}{patient}"},
                           "code": {"coding": [{"system": system, "code": code}]},
                           "verificationStatus": {"coding": [{"code": status}]}})

    (tmp_path / "fhir").mkdir()
    (tmp_path / "fhir/Condition.ndjson").write_text("\n".join([
        condition("a", "J18.0"), condition("b", "J18.0", "refuted"), condition("b", "S52"), condition("c", "J18",
            system="urn:other")]))
    truth = read(tmp_path / "t.toml", CODES.format(file="fhir", id="patient"), archive)
    assert known(truth, archive[1]) == {0: 1, 1: 1, 2: 0}


def test_reports_are_judged_by_rules(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    (tmp_path / "reports.csv").write_text('accession,report\nA0,"Foyer du lobe moyen."\nA1,"Pas de foyer."\nA2,"Possible '
                                          'pneumonia."\n')
    truth = read(tmp_path / "t.toml", 'kind = "reports"\nfile = "reports.csv"\nid = "accession"\n[outputs.pneumonia]\n', archive)
    assert known(truth, archive[1]) == {0: 1, 1: 0}


def test_verdicts_count_where_a_reader_said_what_is_right(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    def line(place: int, decision: str, assessed: list[dict[str, object]]) -> str:
        return json.dumps({"files": [f"images/{place}.dcm"], "decision": decision, "assessed": assessed,
                           "findings": [{"name": "pneumonia", "above_threshold": True}]})

    text = "\n".join([line(0, "agree", []), line(1, "correct", [{"name": "pneumonia", "present": False}]), line(2, "reject", []),
                      line(3, "", [])])
    truth = read(tmp_path / "labels.jsonl", text, archive)
    assert truth.kind == "verdicts"
    assert known(truth, archive[1]) == {0: 1, 1: 0}


@pytest.mark.parametrize(("name", "text", "said"), [
    ("t.csv", "who,pneumonia\n1,1\n", "needs a column named sop, study, accession, patient or file"),
    ("t.csv", "study,other\n1,1\n", "needs a column named as an output"),
    ("t.toml", "kind = ", "must be TOML"),
    ("t.toml", 'file = "x.csv"\n[outputs.fracture]\n', "must be of outputs of the release"),
    ("t.toml", 'file = "x.csv"\nwrong = 1\n[outputs.pneumonia]\n', "not valid at wrong"),
])
def test_a_file_that_cannot_be_truth_is_refused_with_what_to_do(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UnusableInput, match=said):
        read_rule(tmp_path / name, OUTPUTS)


def test_a_column_that_is_not_there_is_named(tmp_path: Path, archive: tuple[list[Row], Names]) -> None:
    (tmp_path / "x.csv").write_text("study,a\n1.2.0,1\n")
    with pytest.raises(UnusableInput, match="needs the columns pneumonia"):
        read(tmp_path / "t.toml", 'file = "x.csv"\n[outputs.pneumonia]\n', archive)
