"""python -m training commission, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.commissioned import read_commissioning
from models.manifest import read_manifest, sha256_of
from tests.training.commission.made import CANARY, CHEST, CHILDREN, ICU, drawn, rows_of, written
from training.commission.commands import app

RUN = CliRunner()


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, Path]:
    """A scored archive of 700 cases and its truth by accession number."""
    folder = tmp_path / "archive"
    folder.mkdir()
    logit, truth, persons = drawn(700, spread=3.0)
    rows, _ = rows_of(folder, "pneumonia", logit.tolist(), persons.tolist(), attributes=CHILDREN)
    table = tmp_path / "truth.csv"
    table.write_text("accession,pneumonia\n" + "".join(f"A{place},{one}\n" for place, one in enumerate(truth)), encoding="utf-8")
    return written(folder, CHEST, rows), table


def test_one_command_writes_the_finding_and_both_reports(archive: tuple[Path, Path], tmp_path: Path) -> None:
    done = RUN.invoke(app, [str(CHEST), "--archive", str(archive[0]), "--truth", str(archive[1]), "--out", str(tmp_path / "out"),
                            "--quick"])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"commissioning.json", "report.html", "report.pdf"}
    told = read_commissioning(tmp_path / "out/commissioning.json")
    assert told.manifest_sha256 == sha256_of(CHEST / "manifest.json")
    assert told.thresholds[0].old == read_manifest(CHEST).outputs[0].threshold


@pytest.mark.slow
def test_release_writes_the_next_version_with_a_finding_of_its_own(archive: tuple[Path, Path], tmp_path: Path) -> None:
    done = RUN.invoke(app, [str(CHEST), "--archive", str(archive[0]), "--truth", str(archive[1]), "--out", str(tmp_path / "out"),
                            "--quick", "--release", "--shelf", str(tmp_path / "shelf")])
    assert done.exit_code == 0, done.output
    local = tmp_path / "shelf/chest_xray_pediatric-1.0.1"
    told = read_commissioning(tmp_path / "out/commissioning.json")
    assert read_manifest(local).outputs[0].threshold == told.thresholds[0].proposed
    own = read_commissioning(tmp_path / "chest_xray_pediatric-1.0.1/commissioning.json")
    assert own.manifest_sha256 == sha256_of(local / "manifest.json")
    assert f"sign {local.name}" in done.output.replace("\n", "")


def test_rows_of_another_release_are_refused(archive: tuple[Path, Path], tmp_path: Path) -> None:
    done = RUN.invoke(app, [str(ICU), "--archive", str(archive[0]), "--truth", str(archive[1]), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "rows must be of icu_mortality-1.0.0 as it is now" in done.output


def test_truth_of_others_is_refused_without_a_name(archive: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text(f"patient,pneumonia\n{CANARY}nobody,1\n", encoding="utf-8")
    done = RUN.invoke(app, [str(CHEST), "--archive", str(archive[0]), "--truth", str(tmp_path / "other.csv"), "--out",
                            str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "none is of a case that was scored" in done.output.replace("\n", " ")
    assert CANARY not in done.output


def test_help_teaches() -> None:
    said = " ".join(RUN.invoke(app, ["--help"], env={"COLUMNS": "200"}).output.split())
    for words in ("before it may go live", 'kind = "codes"', "tuned on half of the persons", "--truth labels.csv"):
        assert words in said
