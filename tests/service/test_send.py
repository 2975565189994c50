"""Sending files: what is found, how it travels, what is tried again, and what is told."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from rich.console import Console

from service import send
from service.dicom.listen import Receiver
from service.gather import Gathered, Image, Source, gather
from service.links import target_of
from service.settings import Settings
from service.site import Site
from service.store.inbox import Inbox
from service.store.query import find_instances
from service.store.store import Store
from tests.make import dicom_bytes, mr_series, radiograph_dataset
from tests.make_store import settings_for as store_settings
from tests.service.running import Busy, Forgetful, running


def settings_for(folder: Path, **told: Any) -> Settings:
    return store_settings(folder, dicomweb=True, **told)


def fill(folder: Path) -> Path:
    """A folder as people have them: a series in a folder, a radiograph in a zip, and things that are no image."""
    (folder / "MR").mkdir(parents=True)
    for number, one in enumerate(mr_series()):
        (folder / "MR" / f"IM{number}").write_bytes(dicom_bytes(one))
    with zipfile.ZipFile(folder / "film.zip", "w") as archive:
        archive.writestr("x/film", dicom_bytes(radiograph_dataset(StudyInstanceUID="1.2.3.4")))
        archive.writestr("x/readme.txt", "hello")
    (folder / "notes.pdf").write_bytes(b"%PDF-1.4" + b" " * 200)
    (folder / ".hidden").write_bytes(b"x")
    return folder


def found_in(*paths: Path) -> Gathered:
    *_, found = gather(paths)
    return found


def told(*args: Any, **options: Any) -> tuple[int, str]:
    console = Console(record=True, width=120, file=io.StringIO())
    return send.run(*args, console=console, **options), console.export_text()


def stored(folder: Path) -> list[str]:
    store = Store.open(settings_for(folder))
    try:
        return [one["00080018"]["Value"][0] for one in find_instances(store, {}, limit=10_000, offset=0)]
    finally:
        store.close()


# What is found -------------------------------------------------------------------------------------------------------

def test_images_are_found_in_folders_and_zips_and_the_rest_is_counted(tmp_path: Path) -> None:
    found = found_in(fill(tmp_path / "in"))

    assert (13, 2, 0) == (len(found.images), found.others, found.repeated)
    assert ["DX", "MR"] == sorted({image.modality for image in found.images})


def test_a_copy_is_sent_once(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in")
    (folder / "again").write_bytes((folder / "MR" / "IM0").read_bytes())

    assert (13, 1) == (len(found_in(folder).images), found_in(folder).repeated)


def test_what_would_be_refused_is_told_by_code_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "damaged.dcm").write_bytes(dicom_bytes(radiograph_dataset())[:-50])
    report = radiograph_dataset(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34", PixelData=None)
    (tmp_path / "report.dcm").write_bytes(dicom_bytes(report))
    found = found_in(tmp_path)

    assert [] == found.images
    assert {1} == set(found.refused.values())
    assert set(found.refused) == set(found.reasons)
    assert 2 == len(found.refused)


def test_links_are_not_followed_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.dcm").write_bytes(dicom_bytes(radiograph_dataset()))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.dcm").symlink_to(tmp_path / "secret.dcm")
    (tmp_path / "in" / "up").symlink_to(tmp_path)

    assert [] == found_in(tmp_path / "in").images
    assert 1 == len(found_in(tmp_path / "in" / "link.dcm").images)  # named by the person: meant


@pytest.mark.parametrize(("name", "make"), [
    ("cut short", lambda whole: whole[:-30]),
    ("an archive of zeros that unpacks to 300 MB", lambda _: bomb()),
    ("not a zip after its first bytes", lambda _: b"PK\x03\x04" + b"\0" * 500),
])
def test_a_zip_that_cannot_be_trusted_is_refused_with_a_reason(tmp_path: Path, name: str, make: Any) -> None:
    fill(tmp_path / "in")
    (tmp_path / "bad.zip").write_bytes(make((tmp_path / "in" / "film.zip").read_bytes()))
    found = found_in(tmp_path / "bad.zip")

    assert ([], {"bad_zip": 1}) == (found.images, dict(found.refused))


def bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("zeros", "w") as member:
        for _ in range(300):
            member.write(bytes(1_000_000))
    return packed.getvalue()


def test_a_dicomdir_names_the_files_of_its_folder_and_none_outside(tmp_path: Path) -> None:
    (tmp_path / "cd" / "IMAGES").mkdir(parents=True)
    (tmp_path / "cd" / "IMAGES" / "A").write_bytes(dicom_bytes(radiograph_dataset()))
    (tmp_path / "outside").write_bytes(dicom_bytes(radiograph_dataset(SOPInstanceUID="1.2.3")))
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.DirectoryRecordSequence = []
    for names in (["IMAGES", "A"], ["..", "outside"], ["IMAGES", "MISSING"]):
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", names
        directory.DirectoryRecordSequence.append(record)
    directory.save_as(tmp_path / "cd" / "DICOMDIR", enforce_file_format=True)
    found = found_in(tmp_path / "cd" / "DICOMDIR")

    assert (1, {"unreadable_file": 2}) == (len(found.images), dict(found.refused))


# How it travels ------------------------------------------------------------------------------------------------------

def image(series: int, number: int, size: int = 100) -> Image:
    return Image(Source(Path("x")), size, f"1.{series}.{number}", f"1.{series}", "1", f"1.{series}", "MR")


def test_a_series_stays_in_one_batch_where_it_fits() -> None:
    images = [image(series, number) for series in (1, 2, 3) for number in range(4)]

    assert [8, 4] == [len(batch) for batch in send.batches(images, most_images=10, most_bytes=10_000)]


def test_a_batch_never_exceeds_its_limits_but_an_image_always_goes() -> None:
    images = [image(1, number) for number in range(10)] + [image(2, 0, 5_000)] + [image(3, 0)]
    cut = list(send.batches(images, most_images=4, most_bytes=350))

    assert images == [one for batch in cut for one in batch]
    assert all(len(batch) <= 4 and (len(batch) == 1 or sum(one.size for one in batch) <= 350) for batch in cut)


def test_what_is_sent_is_stored_and_summed_up_without_names(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with running(settings) as root:
        code, text = told([fill(tmp_path / "in")], settings, Site(), to=root)

    assert 0 == code
    assert sorted(one.sop_uid for one in found_in(tmp_path / "in").images) == sorted(stored(tmp_path))
    assert "CANARI" not in text
    assert not [uid for uid in stored(tmp_path) if uid in text]
    assert "2 files are not DICOM images and were passed over" in text


def test_sending_again_changes_nothing(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with running(settings) as root:
        assert 0 == told([fill(tmp_path / "in")], settings, Site(), to=root)[0]
        assert 0 == told([tmp_path / "in"], settings, Site(), to=root)[0]

    assert 13 == len(stored(tmp_path))


@pytest.mark.parametrize("trouble", [
    partial(Busy, times=1), partial(Busy, times=1, status=429, headers=((b"retry-after", b"1"),)), partial(Busy, times=2, status=507),
    partial(Forgetful, times=1), partial(Busy, times=3, status=413),
], ids=["busy", "too many requests", "full", "hangs up", "body too large"])
def test_what_may_pass_is_tried_again(tmp_path: Path, trouble: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send.time, "sleep", lambda _: None)
    settings = settings_for(tmp_path)
    with running(settings, trouble=trouble) as root:
        code, _ = told([fill(tmp_path / "in")], settings, Site(), to=root)

    assert (0, 13) == (code, len(stored(tmp_path)))


def test_a_server_that_stays_away_is_given_up_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = told([fill(tmp_path / "in")], settings_for(tmp_path), Site(), to="http://127.0.0.1:1/dicom-web", retry_s=0.5)

    assert 1 == code
    assert "13 images were not accepted: no connection (ConnectError)" in " ".join(capsys.readouterr().err.split())


def test_the_token_of_this_installation_is_sent_and_a_missing_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(tmp_path, api_token="t0ken")
    with running(settings) as root:
        assert 0 == told([fill(tmp_path / "in")], settings, Site(), to=root)[0]
        assert 1 == told([tmp_path / "in"], settings_for(tmp_path / "other"), Site(), to=root)[0]

    assert "asks for a token" in capsys.readouterr().err


def test_a_target_of_the_site_is_known_by_its_name_and_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(tmp_path)
    with running(settings) as root:
        site = Site.model_validate({"targets": [{"name": "ours", "kind": "stow", "url": root}]})
        assert 0 == told([fill(tmp_path / "in")], settings, site, to="ours")[0]
        assert 1 == told([tmp_path / "in"], settings, site, to="theirs")[0]

    assert "a target of the site file: ours." in capsys.readouterr().err


def test_one_image_that_the_server_refuses_does_not_stop_the_others(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(tmp_path / "in")
    images = found_in(tmp_path / "in").images
    (tmp_path / "in" / "MR" / "IM3").write_bytes(b"\0" * 128 + b"DICM" + b"damaged meanwhile")
    total = send.Sum()
    with running(settings) as root:
        send.send_all(images, target_of(root, settings, Site()), total, Console(file=io.StringIO()), 1.0)

    assert 12 == sum(fate == "" for fate in total.fates.values())
    assert 1 == sum(total.refused().values())


def test_an_answer_that_is_not_of_a_dicomweb_server_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_for(tmp_path)
    with running(settings) as root:
        assert 1 == told([fill(tmp_path / "in")], settings, Site(), to=root.replace("dicom-web", "v1"))[0]

    assert "Is --to the root of a DICOMweb server?" in capsys.readouterr().err


def test_nothing_found_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    code, text = told([tmp_path], settings_for(tmp_path), Site(), to="http://127.0.0.1:1")

    assert 1 == code
    assert "No image was found. Name DICOM files, folders or zips that hold some." in text


def test_two_senders_of_the_same_images_store_them_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(tmp_path / "in")
    codes: list[int] = []
    with running(settings) as root:
        def one() -> None:
            codes.append(told([tmp_path / "in"], settings, Site(), to=root)[0])
        both = [threading.Thread(target=one) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()

    assert ([0, 0], 13) == (codes, len(stored(tmp_path)))


# To a target of the site, by C-STORE ----------------------------------------------------------------------------------

@contextmanager
def listening(folder: Path, **told: Any) -> Iterator[Site]:
    """A receiver on a free port, and a site that knows it as the target "pacs"."""
    settings = settings_for(folder, dicom_port=0, **told)
    store = Store.open(settings)
    inbox = Inbox(store, quiet_s=20, release_quiet_s=3)
    receiver = Receiver(settings, Site(), inbox)
    receiver.start()
    target = {"name": "pacs", "kind": "dimse", "host": "127.0.0.1", "port": receiver.address[1], "ae_title": "DIAPHANE"}
    try:
        yield Site.model_validate({"targets": [target]})
    finally:
        receiver.drain(5)
        inbox.close()
        store.close()


def test_a_target_by_c_store_is_sent_to_as_well(tmp_path: Path) -> None:
    with listening(tmp_path) as site:
        code, _ = told([fill(tmp_path / "in")], settings_for(tmp_path), site, to="pacs")

    assert (0, 13) == (code, len(stored(tmp_path)))


def test_a_target_that_does_not_know_us_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(tmp_path) as site:
        other = site.model_copy(update={"targets": [site.targets[0].model_copy(update={"ae_title": "OTHER"})]})
        code, _ = told([fill(tmp_path / "in")], settings_for(tmp_path), other, to="pacs", retry_s=1)

    assert (1, []) == (code, stored(tmp_path))
    assert "The target does not talk to us (rejected_called_ae_title)." in " ".join(capsys.readouterr().err.split())
