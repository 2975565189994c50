"""The bench of the PACS side runs, loses nothing and writes its report. Its figures are for `make bench-pacs`, not for here."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from service.bench.run import run
from tests.make import needs_peer


@needs_peer("Orthanc")
@needs_peer("dcmsend")
@pytest.mark.slow
def test_a_trial_of_both_parts_loses_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.chdir(tmp_path)
    ended = run(seconds=600, quick=True, parts="all", studies_per_h=1200, images_per_study=1, side_px=512, workers=1,
                out=Path("made"), console=Console(file=said, width=200))
    assert 0 == ended, said.getvalue()
    rows = {row["name"]: row for row in json.loads((tmp_path / "made" / "bench-pacs.json").read_text(encoding="utf-8"))["rows"]}
    assert 0 == rows["images without a report"]["value"] == rows["images with two reports"]["value"]
    assert rows["Diaphane: CT images a second"]["value"] > 0
    assert rows["Diaphane over Orthanc"]["value"] > 0
    assert [] == [path.name for path in (tmp_path / "made").iterdir() if path.is_dir()], "it leaves nothing but its report"


def test_an_unknown_part_is_told(tmp_path: Path) -> None:
    said = io.StringIO()
    assert 2 == run(seconds=1, quick=True, parts="all of it", studies_per_h=1, images_per_study=1, side_px=1, workers=1, out=tmp_path,
                    console=Console(file=said))
    assert "--part must be ingest, path or all." in said.getvalue()
