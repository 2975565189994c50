"""Files by their hash: whole or not at all, checked when read, swept after a crash."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from service.store.errors import StoreError
from service.store.objects import ABANDONED_S, LocalObjects

SHA256 = hashlib.sha256(b"image").hexdigest()


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


def test_what_is_put_is_read_back(objects: LocalObjects) -> None:
    assert SHA256 == objects.put(b"image")
    assert b"image" == objects.get(SHA256)


def test_put_again_writes_nothing(objects: LocalObjects) -> None:
    assert set() == objects.put_many([b"image"])
    path = objects.path(SHA256)
    assert path is not None
    before = path.stat().st_ino
    assert {SHA256} == objects.put_many([b"image", b"other"])
    assert before == path.stat().st_ino


def test_files_are_the_owners_alone(objects: LocalObjects) -> None:
    objects.put(b"image")
    path = objects.path(SHA256)
    assert path is not None
    assert (0o600, 0o700) == (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777)


def test_damaged_file_is_not_read_and_heals_when_sent_again(objects: LocalObjects) -> None:
    objects.put(b"image")
    path = objects.path(SHA256)
    assert path is not None
    path.write_bytes(b"imagf")
    with pytest.raises(StoreError, match="is not what was stored") as caught:
        objects.get(SHA256)
    assert "damaged" == caught.value.code
    objects.put(b"image")
    assert b"image" == objects.get(SHA256)


def test_missing_file_is_said_to_be_gone(objects: LocalObjects) -> None:
    with pytest.raises(StoreError, match="is gone"):
        objects.get(SHA256)


def test_leftovers_of_a_crash_are_swept_and_what_is_being_written_is_not(objects: LocalObjects, tmp_path: Path) -> None:
    old, young = tmp_path / "objects/temporary/old", tmp_path / "objects/temporary/young"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, times=(0, time.time() - ABANDONED_S - 1))
    LocalObjects(tmp_path / "objects")
    assert [young] == list((tmp_path / "objects/temporary").iterdir())


def test_nothing_temporary_stays_after_a_put(objects: LocalObjects, tmp_path: Path) -> None:
    objects.put(b"image")
    assert [] == list((tmp_path / "objects/temporary").iterdir())


def test_folder_that_is_a_file_is_unwritable(tmp_path: Path) -> None:
    (tmp_path / "objects").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        LocalObjects(tmp_path / "objects")
    assert "unwritable" == caught.value.code


def test_delete_forgives_what_is_gone(objects: LocalObjects) -> None:
    objects.put(b"image")
    objects.delete([SHA256, SHA256])
    assert [] == list(objects.older_than(time.time() + 1))


def test_old_files_are_listed_by_their_hash(objects: LocalObjects) -> None:
    objects.put(b"image")
    assert ([SHA256], []) == (list(objects.older_than(time.time() + 1)), list(objects.older_than(time.time() - 60)))
