"""python -m models, as a person at a terminal uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models import __main__ as program
from models.describe import describe
from models.manifest import read_manifest
from models.shelf import write_pin
from tests.make import dicom_bytes, icu_bundle, mr_series, radiograph_dataset, radiograph_pixels, tiny_release


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    for task in ("image_classification", "volume_segmentation", "risk"):
        tiny_release(folder, task)
    tiny_release(folder, "risk", version="1.1.0")
    return folder


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    named = {name: tmp_path / name for name in ("ill.dcm", "mammogram.dcm", "mr", "stay.json", "nothing.txt", "empty")}
    named["ill.dcm"].write_bytes(dicom_bytes(radiograph_dataset(radiograph_pixels(pneumonia=True))))
    named["mammogram.dcm"].write_bytes(dicom_bytes(radiograph_dataset(Modality="MG")))
    named["mr"].mkdir()
    named["empty"].mkdir()
    for place, dataset in enumerate(mr_series()):
        (named["mr"] / f"{place}.dcm").write_bytes(dicom_bytes(dataset))
    named["stay.json"].write_text(json.dumps(icu_bundle(gcs=3)))
    named["nothing.txt"].write_bytes(b"\0\0")
    return named


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(program.app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_list_shows_every_release_and_which_is_active(shelf: Path) -> None:
    code, output = run("list", "--folder", shelf, "--json")
    assert code == 0
    assert {row["id"]: row["active"] for row in json.loads(output)} == {
        "tiny_chest-1.0.0": True,
        "tiny_risk-1.0.0": False,
        "tiny_risk-1.1.0": True,
        "tiny_volume-1.0.0": True,
    }
    assert "tiny_chest-1.0.0" in run("list", "--folder", shelf)[1]


@pytest.mark.parametrize("name", ["tiny_chest", "tiny_chest-1.0.0"])
def test_describe_prints_the_description(shelf: Path, name: str) -> None:
    assert run("describe", name, "--folder", shelf) == (0, describe(read_manifest(shelf / "tiny_chest-1.0.0")))


def test_describe_as_json_is_the_manifest(shelf: Path) -> None:
    code, output = run("describe", shelf / "tiny_risk-1.0.0", "--json")
    assert (code, json.loads(output)["name"]) == (0, "tiny_risk")


def test_a_name_means_the_active_version(shelf: Path) -> None:
    assert "tiny_risk-1.1.0" in run("describe", "tiny_risk", "--folder", shelf)[1]
    write_pin(shelf, "tiny_risk", "1.0.0")
    try:
        assert "tiny_risk-1.0.0" in run("describe", "tiny_risk", "--folder", shelf)[1]
    finally:
        write_pin(shelf, "tiny_risk", None)


def test_check_says_what_is_sound(shelf: Path) -> None:
    code, output = run("check", "tiny_chest", "--folder", shelf, "--provider", "cpu")
    assert (code, output.count("✓")) == (0, 5)
    assert json.loads(run("check", "tiny_chest", "--folder", shelf, "--json")[1])["sound"] is True


def test_score_prints_one_row_a_case_and_exits_0_when_all_are_scored(shelf: Path, files: dict[str, Path]) -> None:
    code, output = run("score", "tiny_chest", files["ill.dcm"], "--folder", shelf)
    assert code == 0
    assert "Pneumonia 0.7" in output
    assert run("score", "tiny_volume", files["mr"], "--folder", shelf)[0] == 0


def test_score_exits_1_for_a_refusal_and_2_for_a_file_it_cannot_use(shelf: Path, files: dict[str, Path]) -> None:
    codes = [
        run("score", "tiny_chest", files["ill.dcm"], files[name], "--folder", shelf)[0]
        for name in ("mammogram.dcm", "nothing.txt", "empty")
    ]
    assert codes == [1, 2, 2]


def test_score_as_json_gives_one_object_a_line(shelf: Path, files: dict[str, Path]) -> None:
    code, output = run("score", "tiny_risk", files["stay.json"], files["nothing.txt"], "--folder", shelf, "--json")
    lines = [json.loads(line) for line in output.splitlines()]
    assert code == 2
    assert [line["status"] for line in lines] == ["scored", "unusable"]
    assert lines[0]["findings"][0]["name"] == "death"


def test_refused_and_unusable_have_their_words_in_the_table(shelf: Path, files: dict[str, Path]) -> None:
    output = run("score", "tiny_chest", files["mammogram.dcm"], files["nothing.txt"], "--folder", shelf)[1]
    assert "wrong_modality" in output
    assert "unknown_kind" in output


@pytest.mark.parametrize("option", [("--provider", "abacus"), ("--precision", "fp64")])
def test_an_option_that_does_not_exist_names_those_that_do(shelf: Path, option: tuple[str, str]) -> None:
    code, output = run("check", "tiny_chest", "--folder", shelf, *option)
    assert (code, "must be one of" in output) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [(["--help"], 0, "score"), (["describe", "ghost", "--folder", "FOLDER"], 3, "No release 'ghost'")],
)
def test_the_program_ends_with_its_exit_code_and_one_line(shelf: Path, words: list[str], code: int, text: str) -> None:
    words = [str(shelf) if word == "FOLDER" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "models", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(program.__file__).parents[1],
    )
    assert done.returncode == code
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
