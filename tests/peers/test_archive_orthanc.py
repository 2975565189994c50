"""A hospital's PACS, played by Debian's Orthanc, is scored as an archive: the rows are those of the same files in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from service.orthanc import Orthanc
from tests.make import ROOT, dicom_bytes, mr_series, needs_peer, tiny_release
from training.archive.cases import case_of
from training.archive.plan import Plan
from training.archive.score import plan_for
from training.archive.score_case import Scorer
from training.archive.scored import Names, Row
from training.archive.source import source_of

pytestmark = needs_peer("Orthanc")
NAMES = Names(bytes(range(32)))
RELEASE = ROOT / "models/released/chest_xray_pediatric-1.0.0"
RADIOGRAPHS = ROOT / "data-samples/radiograph"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        for path in sorted(RADIOGRAPHS.glob("*.dcm")):
            running.upload(path.read_bytes())
        for one in mr_series():
            running.upload(dicom_bytes(one))
        yield running


def rows(plan: Plan) -> list[Row]:
    """List and score an archive in this process; leave out the path, which only a file has."""
    with closing(source_of(plan, NAMES)) as source, closing(Scorer(plan, NAMES)) as scorer:
        found = [scorer.score(case_of(one, NAMES)).row for one in source.find(lambda _: None)]
    kept = [replace(row, ids={kind: one for kind, one in row.ids.items() if kind != "file"}) for row in found if row]
    return sorted(kept, key=lambda row: row.case)


def test_radiographs_of_a_pacs_give_the_rows_of_their_files(pacs: Orthanc, tmp_path: Path) -> None:
    theirs = rows(plan_for(RELEASE, pacs.dicomweb, tmp_path / "a"))
    ours = rows(plan_for(RELEASE, str(RADIOGRAPHS), tmp_path / "b"))
    assert 5 == len(theirs)
    assert ours == theirs
    assert {"scored"} == {row.status for row in theirs}


def test_a_series_of_slices_is_one_case(pacs: Orthanc, tmp_path: Path) -> None:
    release = tiny_release(tmp_path / "shelf", "volume_segmentation")
    assert ["scored"] == [row.status for row in rows(plan_for(release, pacs.dicomweb, tmp_path / "a"))]


def test_a_period_without_studies_holds_no_case(pacs: Orthanc, tmp_path: Path) -> None:
    plan = plan_for(RELEASE, pacs.dicomweb, tmp_path / "a", since="1990-01-01", until="1990-12-31")
    assert [] == rows(plan)
