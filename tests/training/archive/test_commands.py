"""The commands over an archive: what they print, what they refuse to take, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.training.archive.conftest import SECRETS, fill, radiograph
from tests.training.archive.servers import Trouble, serving
from training.archive.commands import app
from training.archive.scored import read_rows


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def test_score_scores_and_says_what_came_of_it(chest: Path, tmp_path: Path, here: str) -> None:
    folder = fill(tmp_path / "SECRET", 3)
    (folder / "bad.dcm").write_bytes(radiograph(9)[:-900])
    done = run("score", "tiny_chest", "--shelf", str(chest.parent), "--archive", str(folder), "--out", str(tmp_path / "rows"),
               "--engine", here)
    assert 0 == done.exit_code, done.output
    assert ["4 cases of 4 people" in done.output, "truncated" in done.output] == [True, True]
    assert 4 == len(read_rows(tmp_path / "rows"))
    assert not [one for one in SECRETS if one in done.output.replace(str(tmp_path), "")]


def test_show_tells_the_word_of_a_station(chest: Path, tmp_path: Path, here: str) -> None:
    out = tmp_path / "rows"
    run("score", str(chest), "--archive", str(fill(tmp_path / "pacs", 1)), "--out", str(out), "--engine", here)
    told = run("show", str(out), "--station", "ROOM SECRET").output
    assert f"ROOM SECRET: {read_rows(out)[0].attributes['station']}" in told


@pytest.mark.parametrize(("words", "said"), [
    (["--engine", "spark"], "local, dask, ray"), (["--where", "split"], "NAME=VALUE"), (["--since", "January"], "YYYY-MM-DD"),
])
def test_a_wrong_option_is_explained(chest: Path, tmp_path: Path, words: list[str], said: str) -> None:
    done = run("score", str(chest), "--archive", str(tmp_path), "--out", str(tmp_path / "rows"), *words)
    assert 2 == done.exit_code
    assert said in done.output


@pytest.mark.parametrize(("release", "archive", "said"), [
    ("no_such", ".", "release folder"), ("tiny_chest", "/nowhere/SECRET", "found none of these"),
    ("tiny_chest", "data:nothing", "challenge2012"), ("tiny_chest", "https://example.org/there", "--kind"),
])
def test_what_is_not_there_ends_with_2_and_says_what_to_do(
    chest: Path, tmp_path: Path, release: str, archive: str, said: str
) -> None:
    done = run("score", release, "--shelf", str(chest.parent), "--archive", archive, "--out", str(tmp_path / "rows"))
    assert (2, True, False) == (done.exit_code, said in done.output, "SECRET" in done.output)


def test_an_archive_that_is_away_ends_with_4(chest: Path, tmp_path: Path) -> None:
    with serving(lambda *_: (403, "text/plain", b"PATIENT"), Trouble()) as root:
        done = run("score", str(chest), "--archive", f"{root}/dicom-web", "--out", str(tmp_path / "rows"))
    assert (4, True) == (done.exit_code, "403" in done.output)
    assert "PATIENT" not in done.output
