"""Waiting for results: what was found in each case is read back from the DICOM objects, and saved."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from rich.console import Console

from models.session import SessionOptions
from models.shelf import Shelf
from service import send
from service.fetch import cases_of, read_report
from service.gather import Image, Source, gather
from service.settings import Settings
from service.site import Site
from service.store.store import Store
from service.worker import Worker
from tests.make import dicom_bytes, mr_series, radiograph_dataset, radiograph_pixels
from tests.make_store import settings_for
from tests.service.running import running


@contextmanager
def working(settings: Settings, released: Path, site: Site) -> Iterator[None]:
    """A worker in a thread."""
    stop, store = threading.Event(), Store.open(settings)
    shelf = Shelf(released, SessionOptions(provider="cpu", precision="fp32", threads=1))
    worker = Worker(store, shelf, site, settings, "work@test")

    def work() -> None:
        while not stop.is_set():
            if not worker.step():
                stop.wait(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        worker.close()
        store.close()


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, released: Path) -> tuple[int, str, Path]:
    """A film, a head and a photograph of nothing were sent, waited for and saved: code, what was printed, folder."""
    folder = tmp_path_factory.mktemp("sent")
    (folder / "in").mkdir()
    film = radiograph_dataset(radiograph_pixels(pneumonia=True), StudyInstanceUID="1.2.3.1")
    odd = radiograph_dataset(Modality="XC", StudyInstanceUID="1.2.3.2", SOPInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.3.5")
    for number, one in enumerate([film, odd, *mr_series()]):
        (folder / "in" / str(number)).write_bytes(dicom_bytes(one))
    settings = settings_for(folder, dicomweb=True, release_quiet_s=0.1)
    console = Console(record=True, width=140, file=io.StringIO())
    with running(settings) as root, working(settings, released, Site()):
        code = send.run([folder / "in"], settings, Site(), to=root, wait=True, out=folder / "out", console=console, wait_s=60)
    return code, console.export_text(), folder / "out"


def test_every_case_has_its_answer_in_the_table(sent: tuple[int, str, Path]) -> None:
    code, text, _ = sent

    assert 0 == code
    assert "no result yet" not in text
    assert "tiny_chest 1.0.0" in text
    assert "%" in text
    assert "tiny_volume 1.0.0" in text
    assert "mL" in text
    assert "no model" in text
    assert "found XC" in text
    assert "CANARI" not in text


def test_pictures_and_objects_are_saved_under_numbers(sent: tuple[int, str, Path]) -> None:
    names = sorted(path.name for path in sent[2].iterdir())

    assert {"1", "2", "3"} == {name.split("-")[1] for name in names}
    assert all(name.startswith("case-") and "CANARI" not in name for name in names)
    assert any(name.endswith("report.dcm") for name in names)
    assert b"\x89PNG" == next(path for path in sent[2].iterdir() if path.suffix == ".png").read_bytes()[:4]
    for path in sent[2].glob("*.dcm"):
        assert "Diaphane" == pydicom.dcmread(path).Manufacturer


def test_results_that_do_not_come_in_time_are_told(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(dicom_bytes(radiograph_dataset()))
    settings = settings_for(tmp_path, dicomweb=True)
    console = Console(record=True, width=140, file=io.StringIO())
    with running(settings) as root:  # nobody works
        code = send.run([tmp_path / "film"], settings, Site(), to=root, wait=True, console=console, wait_s=0.3)

    text = console.export_text()
    assert 1 == code
    assert "no result yet" in text
    assert "python -m service status" in text


def test_waiting_needs_a_server_that_can_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "film").write_bytes(dicom_bytes(radiograph_dataset()))
    site = Site.model_validate({"targets": [{"name": "pacs", "kind": "dimse", "host": "127.0.0.1"}]})

    assert 1 == send.run([tmp_path / "film"], settings_for(tmp_path), site, to="pacs", wait=True)
    assert "Waiting needs a DICOMweb root" in capsys.readouterr().err


def test_cases_are_grouped_as_they_are_scored(tmp_path: Path) -> None:
    for number, one in enumerate([radiograph_dataset(), radiograph_dataset(SOPInstanceUID="1.2.3"), *mr_series()]):
        (tmp_path / str(number)).write_bytes(dicom_bytes(one))
    *_, found = gather([tmp_path])

    assert [1, 1, 12] == sorted(len(case.sop_uids) for case in cases_of(found.images))


def test_studies_are_numbered_in_the_order_of_the_sum() -> None:
    images = [Image(Source(Path("x")), 1, f"1.{n}", f"2.{n}", study, f"1.{n}", "DX") for n, study in enumerate(("9.1", "9.1", "9.5"))]

    assert [(1, 1), (1, 2), (2, 3)] == [(case.study, case.number) for case in cases_of(images)]


@pytest.mark.parametrize("changes", [{"Manufacturer": "Somebody else"}, {"ContentSequence": None}])
def test_reports_of_others_are_not_read(changes: dict[str, Any]) -> None:
    report = radiograph_dataset(Manufacturer="Diaphane", PixelData=None, ContentSequence=[Dataset()])
    for keyword, value in changes.items():
        if value is None:
            delattr(report, keyword)
        else:
            setattr(report, keyword, value)

    assert read_report(dicom_bytes(report)) is None
