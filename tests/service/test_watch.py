"""The watched folder: what is whole is received once, what is not waits, what cannot be is put aside with the reason."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import watch as watching
from service.gather import Source
from service.settings import Settings, to_environ
from service.store.errors import StoreError
from service.store.inbox import Inbox
from service.store.query import find_instances
from service.store.store import Store
from service.store.tables import OpenAssociation
from service.watch import Watch
from service.way_in import Here
from tests.make import dicom_bytes, mr_series, radiograph_dataset
from tests.make_store import settings_for
from tests.service.running import Busy, running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path, dicomweb=True)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def way(store: Store) -> Iterator[Here]:
    inbox = Inbox(store, quiet_s=20, release_quiet_s=3)
    yield Here(inbox)
    inbox.close()


def stored(store: Store) -> list[str]:
    return sorted(one["00080018"]["Value"][0] for one in find_instances(store, {}, limit=10_000, offset=0))


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def put_series(folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    series = mr_series()
    for number, one in enumerate(series):
        (folder / f"IM{number}").write_bytes(dicom_bytes(one))
    return sorted(one.SOPInstanceUID for one in series)


def test_what_is_whole_is_received_and_moved_to_done(folder: Path, store: Store, way: Here) -> None:
    uids = put_series(folder / "MR")
    watch = Watch(folder, way, settled_s=0)

    assert (False, True, False) == (watch.look(), watch.look(), watch.look())
    assert uids == stored(store)
    assert {f".done/MR/IM{number}" for number in range(12)} == names(folder)
    assert not (folder / "MR").exists()


def test_what_was_received_is_deleted_when_asked(folder: Path, store: Store, way: Here) -> None:
    uids = put_series(folder)
    watch = Watch(folder, way, delete=True, settled_s=0)
    watch.look()
    watch.look()

    assert (uids, set()) == (stored(store), names(folder))


def test_a_file_that_still_grows_is_left_alone(folder: Path, store: Store, way: Here) -> None:
    whole = dicom_bytes(radiograph_dataset())
    path = folder / "film"
    watch = Watch(folder, way, settled_s=0)
    for end in (100, 2_000, len(whole)):
        path.write_bytes(whole[:end])
        assert not watch.look()
    assert [] == stored(store)
    assert watch.look()
    assert 1 == len(stored(store))


def test_a_file_is_whole_only_after_it_has_rested(folder: Path, way: Here) -> None:
    (folder / "film").write_bytes(dicom_bytes(radiograph_dataset()))
    watch = Watch(folder, way, settled_s=0.15)
    began = time.monotonic()
    while not watch.look():
        assert time.monotonic() - began < 5
        time.sleep(0.01)

    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize("name", ["film.part", "film.TMP", ".film", "~$film", "film.crdownload"])
def test_names_of_unfinished_and_hidden_files_are_left_alone(folder: Path, way: Here, name: str) -> None:
    (folder / name).write_bytes(dicom_bytes(radiograph_dataset()))
    watch = Watch(folder, way, settled_s=0)

    assert (False, False) == (watch.look(), watch.look())
    assert {name} == names(folder)


def test_a_zip_is_taken_apart_and_its_images_are_received(folder: Path, store: Store, way: Here) -> None:
    with zipfile.ZipFile(folder / "study.zip", "w") as archive:
        for number, one in enumerate(mr_series()):
            archive.writestr(f"../../evil/{number}", dicom_bytes(one))
        archive.writestr("viewer.exe", b"MZ")
    watch = Watch(folder, way, settled_s=0)
    watch.look()
    watch.look()

    assert 12 == len(stored(store))
    assert {".done/study.zip"} == names(folder)
    assert {"in", "store"} == {path.name for path in folder.parent.iterdir()}


def test_what_cannot_be_received_is_put_aside_with_the_reason_and_nobodys_name(folder: Path, store: Store, way: Here) -> None:
    (folder / "letter.pdf").write_bytes(b"%PDF-1.4" + b" " * 300)
    (folder / "damaged").write_bytes(dicom_bytes(radiograph_dataset())[:-50])
    with zipfile.ZipFile(folder / "mixed.zip", "w") as archive:
        archive.writestr("a", dicom_bytes(radiograph_dataset()))
        archive.writestr("b", dicom_bytes(radiograph_dataset())[:-50])
    watch = Watch(folder, way, settled_s=0)
    watch.look()
    watch.look()

    put_aside = {"letter.pdf", "damaged", "mixed.zip"}
    assert {f".refused/{name}" for name in put_aside} | {f".refused/{name}.txt" for name in put_aside} == names(folder)
    notes = {name: (folder / ".refused" / f"{name}.txt").read_text() for name in put_aside}
    assert "A file must be a DICOM image or a zip of them, found something else." in notes["letter.pdf"]
    assert notes["mixed.zip"].startswith("1 images were received.\n1 refused: ")
    assert 1 == len(stored(store))
    assert "CANARI" not in "".join(notes.values())


def test_a_zip_bomb_is_put_aside(folder: Path, store: Store, way: Here) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("x", "w") as member:
        for _ in range(300):
            member.write(bytes(1_000_000))
    (folder / "bomb.zip").write_bytes(packed.getvalue())
    watch = Watch(folder, way, settled_s=0)
    watch.look()
    watch.look()

    assert {".refused/bomb.zip", ".refused/bomb.zip.txt"} == names(folder)


def test_a_second_file_of_a_name_overwrites_nothing(folder: Path, way: Here) -> None:
    watch = Watch(folder, way, settled_s=0)
    for uid in ("1.2.3.1", "1.2.3.2"):
        (folder / "film.dcm").write_bytes(dicom_bytes(radiograph_dataset(SOPInstanceUID=uid)))
        watch.look()
        watch.look()

    assert {".done/film.dcm", ".done/film-2.dcm"} == names(folder)


def test_links_are_not_followed(tmp_path: Path, folder: Path, store: Store, way: Here) -> None:
    (tmp_path / "secret").write_bytes(dicom_bytes(radiograph_dataset()))
    (folder / "link").symlink_to(tmp_path / "secret")
    watch = Watch(folder, way, settled_s=0)
    watch.look()
    watch.look()

    assert ([], True) == (stored(store), (tmp_path / "secret").exists())


def test_a_file_that_changes_while_it_is_received_is_looked_at_again(folder: Path, store: Store, way: Here) -> None:
    first, second = (dicom_bytes(radiograph_dataset(SOPInstanceUID=f"1.2.3.{n}", Manufacturer="x" * n)) for n in (1, 2))
    (folder / "film").write_bytes(first)

    class Changing(Here):
        def keep(self, images: list) -> list[str]:
            answers = super().keep(images)
            if (folder / "film").read_bytes() == first:
                (folder / "film").write_bytes(second)
            return answers

    watch = Watch(folder, Changing(way._inbox), settled_s=0)
    watch.look()
    watch.look()
    assert {"film"} == names(folder)
    watch.look()
    watch.look()
    assert ({".done/film"}, ["1.2.3.1", "1.2.3.2"]) == (names(folder), stored(store))


def test_while_the_store_cannot_take_it_files_stay_where_they_are(folder: Path, store: Store, way: Here) -> None:
    uids = put_series(folder)

    class Full(Here):
        full = True

        def keep(self, images: list) -> list[str]:
            if self.full:
                raise StoreError("full", code="full")
            return super().keep(images)

    full = Full(way._inbox)
    watch = Watch(folder, full, settled_s=0)
    watch.look()
    with pytest.raises(StoreError):
        watch.look()
    assert 12 == len([name for name in names(folder) if not name.startswith(".")])
    full.full = False
    watch.look()
    assert (uids, 12) == (stored(store), len(list((folder / ".done").iterdir())))


def test_a_row_the_database_refuses_is_put_aside_alone(way: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.dicom.arrival import arrive_file

    good, bad = (arrive_file(dicom_bytes(radiograph_dataset(SOPInstanceUID=f"1.2.3.{n}"))) for n in (1, 2))
    real = way._inbox.put_many

    def refusing(arrivals: list) -> list:
        if any(one.sop_uid == bad.sop_uid for one in arrivals):
            raise StoreError("The database refuses a row.", code="refused")
        return real(arrivals)

    monkeypatch.setattr(way._inbox, "put_many", refusing)

    assert ["", "The database refuses a row."] == way.keep([(Source(Path("a")), good), (Source(Path("b")), bad)])


def test_when_nothing_is_left_the_series_are_released_once(folder: Path, store: Store, way: Here) -> None:
    put_series(folder)
    watch = Watch(folder, way, settled_s=0)
    first = way.association
    watch.look()
    (folder / "growing.bin").write_bytes(b"x")
    watch.look()
    with store.session() as session:
        assert [first] == [one.association for one in session.query(OpenAssociation).all()]
    watch.look()  # growing.bin is taken and refused: nothing is left
    with store.session() as session:
        assert 0 == session.query(OpenAssociation).count()
    assert first != way.association


def test_a_folder_can_feed_a_dicomweb_server_that_is_busy_at_first(
    tmp_path: Path, folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "POLL_S", 0.02)
    uids = put_series(folder)
    stop = threading.Event()
    with running(settings, trouble=lambda app: Busy(app, times=1)) as root:
        thread = threading.Thread(target=watching.run, args=(folder, settings_for(tmp_path / "other"), stop),
                                  kwargs={"to": root, "settled_s": 0.05})
        thread.start()
        until = time.monotonic() + 20
        while len(list((folder / ".done").glob("*"))) < 12 and time.monotonic() < until:
            time.sleep(0.02)
        stop.set()
        thread.join(10)
    store = Store.open(settings)
    assert uids == stored(store)
    store.close()
    assert not (tmp_path / "other" / "store").exists()


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".done").write_text("a file where a folder must be")
    with pytest.raises(SystemExit, match="The folder must be writable"):
        watching.run(tmp_path, settings_for(tmp_path), threading.Event())


@pytest.mark.parametrize(("films", "least_kills"), [(24, 2), pytest.param(400, 30, marks=pytest.mark.slow)])
def test_killed_at_any_moment_nothing_is_lost_or_doubled(
    folder: Path, settings: Settings, films: int, least_kills: int
) -> None:
    uids = []
    for number in range(films):
        dataset = radiograph_dataset(SOPInstanceUID=f"1.2.3.{number}", SeriesInstanceUID=f"1.2.4.{number}")
        (folder / f"film{number}").write_bytes(dicom_bytes(dataset))
        uids.append(f"1.2.3.{number}")
    code = ("import sys, threading; from pathlib import Path; from service.settings import read_settings; from service import watch; "
            "watch.BATCH_IMAGES = 4; watch.run(Path(sys.argv[1]), read_settings(), threading.Event(), settled_s=0.0)")
    kills = 0
    until = time.monotonic() + 5 * films
    while any(not path.name.startswith(".") for path in folder.iterdir()) and time.monotonic() < until:
        process = subprocess.Popen([sys.executable, "-c", code, str(folder)], env={**os.environ, **to_environ(settings)},
                                   stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()  # it watches
        before = len(list((folder / ".done").iterdir()))
        while len(list((folder / ".done").iterdir())) < min(films, before + 11) and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        kills += 1
    store = Store.open(settings)
    found = stored(store)
    store.close()

    assert sorted(uids) == found
    assert films == len(list((folder / ".done").iterdir()))
    assert kills >= least_kills
