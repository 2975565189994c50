"""The secret of a store: persons are known by it, so a process with another one does not begin to work."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import Settings
from service.store.assessed import unlisted
from service.store.errors import StoreError
from service.store.rights import nobody_opposes, oppose
from service.store.store import SECRET_FILE, Store, _check_secret


def test_a_store_is_not_opened_with_another_secret_than_it_was_written_with(tmp_path: Path) -> None:
    reviewed, plain = Settings(store=tmp_path, review=True), Settings(store=tmp_path)
    Store.open(plain).close()
    Store.open(reviewed).close()
    before = (tmp_path / SECRET_FILE).read_bytes()
    Store.open(reviewed).close()
    (tmp_path / SECRET_FILE).write_bytes(b"another one, of 32 bytes or more")
    for settings in (reviewed, plain):
        with pytest.raises(StoreError, match="DIAPHANE_SECRET to the same value on every machine"):
            Store.open(settings)
    (tmp_path / SECRET_FILE).write_bytes(before)
    Store.open(plain).close()


def test_without_the_page_nobody_is_asked_for_one_secret_on_all_machines(tmp_path: Path) -> None:
    Store.open(Settings(store=tmp_path)).close()
    (tmp_path / SECRET_FILE).write_bytes(b"another one, of 32 bytes or more")
    Store.open(Settings(store=tmp_path)).close()


def test_on_either_database_the_first_process_says_which_secret_it_is(store: Store) -> None:
    _check_secret(store, first=True)
    _check_secret(store, first=True)
    store.secret = b"x" * 32
    with pytest.raises(StoreError, match="another one"):
        _check_secret(store, first=False)


def test_on_either_database_nothing_is_unlisted_where_nothing_was_assessed(store: Store) -> None:
    assert unlisted(store, "", 10) == []
    assert nobody_opposes(store)
    with store.session() as session:
        oppose(session, persons=["0" * 32], scope="training", by="test")
    assert not nobody_opposes(store)
