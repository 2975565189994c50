"""data:NAME as an archive: the stays of a data set that recipes read, by split, with the place that joins them to their outcome."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.make import ROOT, data_root, needs_data
from tests.training.archive.conftest import NAMES, Archive
from training.data import eicu_demo

Make = Callable[..., Archive]


@needs_data
def test_stays_are_scored_and_join_to_their_outcome(archive: Make) -> None:
    release = ROOT / "models/released/icu_mortality-1.0.0"
    made = archive(release, "data:eicu_demo", data=str(data_root()), where=(("split", "val"), ("sex", "female")))
    cases = eicu_demo.records("val", data_root())
    places = [place for place, case in enumerate(cases) if case.subgroups["sex"] == "female"]
    assert len(places) == len(made.cases) < len(cases)
    made.cases = made.cases[:5]
    rows = made.rows()
    assert {NAMES.hash("file", f"val/{place}") for place in places[:5]} == {row.ids["file"] for row in rows}
    assert {NAMES.hash("patient", cases[place].group) for place in places[:5]} == {row.group for row in rows}
    assert {("F", "val")} == {(row.attributes["sex"], row.attributes["split"]) for row in rows}
    assert "scored" in {row.status for row in rows}


def test_a_folder_that_is_no_data_set_is_one_by_its_path(tmp_path: Path, risk: Path, archive: Make) -> None:
    assert [] == archive(risk, tmp_path).cases
