"""A PACS over DICOMweb as an archive: the same cases and figures as from files, whatever the pages, stumbles and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import UnusableInput
from tests.make import dicom_bytes, mr_series
from tests.training.archive.conftest import Archive, radiograph
from tests.training.archive.servers import Pacs, Trouble, serving
from training.archive import web
from training.archive.cases import ArchiveAway
from training.archive.dicomweb import part_of
from training.archive.scored import Row

Make = Callable[..., Archive]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "FIRST_PAUSE_S", 0.001)


def bare(rows: list[Row]) -> list[Row]:
    """Rows without what only a file has: its path."""
    return [replace(row, ids={kind: one for kind, one in row.ids.items() if kind != "file"}) for row in rows]


@pytest.mark.parametrize("heeds_offset", [True, False])
def test_the_rows_are_those_of_the_same_files(tmp_path: Path, chest: Path, archive: Make, heeds_offset: bool) -> None:
    files = [radiograph(number) for number in range(5)]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.dcm").write_bytes(data)
    pacs = Pacs(files, most=2 if heeds_offset else 9, heeds_offset=heeds_offset)
    with serving(pacs.answer, Trouble()) as root:
        theirs = archive(chest, f"{root}/dicom-web").rows()
    assert 5 == len(theirs)
    assert bare(archive(chest, tmp_path).rows()) == bare(theirs)


def test_slices_of_a_series_come_as_one_case(tmp_path: Path, volume: Path, archive: Make) -> None:
    files = [dicom_bytes(one) for one in mr_series(StudyDate="20260105", AccessionNumber="A1", PatientID="P1")]
    with serving(Pacs(files, most=5).answer, Trouble()) as root:
        rows = archive(volume, f"{root}/dicom-web").rows()
    assert ["scored"] == [row.status for row in rows]


def test_only_studies_of_the_period_and_images_of_the_modality_are_asked_for(chest: Path, archive: Make) -> None:
    files = [radiograph(1), radiograph(2, StudyDate="20250101"), radiograph(3, Modality="CT"),
             radiograph(4, StudyInstanceUID="1.2.3.1", Modality="PR")]
    trouble = Trouble()
    with serving(Pacs(files).answer, trouble) as root:
        made = archive(chest, f"{root}/dicom-web", since="2026-01-01")
    assert 1 == len(made.cases)
    assert 1 == made.source.left_out["other_modality"]
    assert any("StudyDate=20260101-" in one and "ModalitiesInStudy=DX" in one for one in trouble.asked)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_waited_for(chest: Path, archive: Make, status: int) -> None:
    trouble = Trouble(times=2, status=status)
    with serving(Pacs([radiograph(1)]).answer, trouble) as root:
        made = archive(chest, f"{root}/dicom-web")
        trouble.times = 2
        assert ["scored"] == [row.status for row in made.rows()]


def test_an_image_that_never_comes_fails_as_the_archives_and_not_its_own_fault(chest: Path, archive: Make) -> None:
    trouble = Trouble(status=500, path="/series/1.2.4.1/")
    with serving(Pacs([radiograph(1), radiograph(2)]).answer, trouble) as root:
        made = archive(chest, f"{root}/dicom-web")
        trouble.times = 99
        assert [("failed", "source_unavailable"), ("scored", "")] == sorted((row.status, row.reason) for row in made.rows())


def test_an_image_that_is_gone_has_failed(chest: Path, archive: Make) -> None:
    pacs = Pacs([radiograph(1)])
    with serving(pacs.answer, Trouble()) as root:
        made = archive(chest, f"{root}/dicom-web")
        pacs.files.clear()
        pacs.datasets.clear()
        assert [("failed", "gone")] == [(row.status, row.reason) for row in made.rows()]


def test_a_token_is_taken_from_the_environment_and_never_sent_in_clear(
    chest: Path, archive: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(token="sesame")
    with serving(Pacs([radiograph(1)]).answer, trouble) as root:
        with pytest.raises(ArchiveAway, match="401"):
            archive(chest, f"{root}/dicom-web")
        monkeypatch.setenv("DIAPHANE_ARCHIVE_TOKEN", "sesame")
        assert 1 == len(archive(chest, f"{root}/dicom-web").cases)
    with pytest.raises(UnusableInput, match="https"):
        archive(chest, "http://pacs.example.org/dicom-web")


def test_an_archive_that_is_not_there_is_said_without_its_address(chest: Path, archive: Make) -> None:
    with pytest.raises(ArchiveAway) as found:
        archive(chest, "http://127.0.0.1:9/SECRET/dicom-web")
    assert "SECRET" not in str(found.value)
    assert found.value.__cause__ is None


def test_an_answer_of_another_kind_is_no_archive(chest: Path, archive: Make) -> None:
    with serving(lambda *_: (200, "text/html", b"<html>Log in</html>"), Trouble()) as root, \
            pytest.raises(ArchiveAway, match="DICOM JSON"):
        archive(chest, f"{root}/dicom-web")


def test_a_redirect_is_not_followed(chest: Path, archive: Make) -> None:
    with serving(lambda *_: (302, "text/plain", b""), Trouble()) as root, pytest.raises(ArchiveAway, match="elsewhere"):
        archive(chest, f"{root}/dicom-web")


def test_one_part_is_taken_out_of_a_multipart_answer_and_two_are_refused() -> None:
    kind = "multipart/related; boundary=b"
    assert b"DATA\r\n--x" == part_of(b"--b\r\nContent-Type: application/dicom\r\n\r\nDATA\r\n--x\r\n--b--", kind)
    assert b"DATA" == part_of(b"DATA", "application/dicom")
    with pytest.raises(UnusableInput, match="found 2"):
        part_of(b"--b\r\n\r\nA\r\n--b\r\n\r\nB\r\n--b--", kind)
