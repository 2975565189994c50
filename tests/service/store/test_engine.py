"""Opening the store: migrations, locks, rights, and what is said when it cannot be opened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from service.store import ehr_tables, review_tables, trust_tables  # noqa: F401  their tables join Base
from service.store.engine import MIGRATIONS
from service.store.errors import StoreError
from service.store.store import Store
from service.store.tables import Base, Series
from tests.make_store import store_for


def test_migrations_give_exactly_the_tables(database: str, tmp_path: Path) -> None:
    store = store_for(tmp_path, database=database)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert [] == compare_metadata(context, Base.metadata)
    store.close()


def test_store_of_the_version_before_is_brought_up_and_people_log_in_again(database: str, tmp_path: Path) -> None:
    store = store_for(tmp_path, database=database)
    with store.session() as session:  # back to no tables, then as the version before left them
        if database:
            session.execute(text("DROP SCHEMA public CASCADE"))
            session.execute(text("CREATE SCHEMA public"))
        else:
            session.execute(text("PRAGMA defer_foreign_keys = ON"))
            for name in inspect(session.connection()).get_table_names():
                session.execute(text(f'DROP TABLE "{name}"'))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0003")
        session.execute(text("INSERT INTO leftovers VALUES ('a')"))
    store.close()
    again = store_for(tmp_path, database=database)
    with again.session() as session:
        session.add(review_tables.LoginSession(id="a", subject="s", caller={}, csrf="c", created_at=1.0, login_at=1.0, seen_at=1.0,
                                               expires_at=2.0, ended_at=None))
    with again.engine.connect() as connection:
        assert 1 == connection.scalar(text("SELECT count(*) FROM leftovers"))
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert [] == compare_metadata(context, Base.metadata)
    again.close()


def test_opening_again_keeps_what_is_there(store: Store, database: str, tmp_path: Path) -> None:
    with store.session() as session:
        session.execute(text("INSERT INTO leftovers VALUES ('a')"))
    again = store_for(tmp_path, database=database)
    with again.reading() as session:
        assert 1 == session.scalar(text("SELECT count(*) FROM leftovers"))
    again.close()


def test_database_of_a_later_version_is_left_alone(store: Store, database: str, tmp_path: Path) -> None:
    with store.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="later version of Diaphane") as caught:
        store_for(tmp_path, database=database)
    assert "newer" == caught.value.code
    with store.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0004'"))


def test_many_who_open_an_empty_database_at_once_all_find_the_tables(database: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: store_for(tmp_path, database=database), range(6)))
    for store in stores:
        with store.reading() as session:
            assert 0 == session.scalar(text("SELECT count(*) FROM studies"))
        store.close()


def test_commits_are_synced_and_references_checked(store: Store) -> None:
    with store.reading() as session:
        if session.get_bind().dialect.name == "sqlite":
            names = ("synchronous", "foreign_keys", "journal_mode")
            assert [2, 1, "wal"] == [session.scalar(text(f"PRAGMA {name}")) for name in names]
        else:
            assert "on" == session.scalar(text("SHOW synchronous_commit"))


def test_server_lets_go_of_a_writer_that_fell_silent(store: Store) -> None:
    with store.reading() as session:
        if session.get_bind().dialect.name == "sqlite":
            pytest.skip("the lock of a file goes with its process")
        assert ["1min", "2min"] == [session.scalar(text(f"SHOW {name}"))
                                    for name in ("lock_timeout", "idle_in_transaction_session_timeout")]


def test_reader_waits_for_no_writer(store: Store) -> None:
    with store.session() as writing:
        writing.execute(text("INSERT INTO leftovers VALUES ('a')"))
        with store.reading() as session:
            assert 0 == session.scalar(text("SELECT count(*) FROM leftovers"))


def test_database_and_folder_are_the_owners_alone(tmp_path: Path) -> None:
    store_for(tmp_path).close()
    folder = tmp_path / "store"
    assert (0o700, 0o600) == (folder.stat().st_mode & 0o777, (folder / "diaphane.sqlite").stat().st_mode & 0o777)


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"database": "postgresql+psycopg://diaphane:s3cret@127.0.0.1:1/none"}, "unreachable", "does not answer"),
        ({"database": "mysql://diaphane:s3cret@127.0.0.1/none"}, "unreachable", "a URL like postgresql"),
        ({"database": "no url"}, "unreachable", "a URL like postgresql"),
        ({"objects": "ftp://files"}, "unreachable", "s3://bucket/prefix"),
    ],
)
def test_what_cannot_be_opened_says_what_to_do(settings: dict[str, str], code: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        store_for(tmp_path, **settings)
    assert (code, False) == (caught.value.code, "s3cret" in str(caught.value))


def test_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/diaphane.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError) as caught:
        store_for(tmp_path)
    assert "damaged" == caught.value.code


def test_error_of_the_database_shows_no_value(store: Store) -> None:
    with pytest.raises(IntegrityError) as caught, store.session() as session:
        session.add(Series(uid="1.2.3", study_uid="CANARI", modality="MR", attributes={"00100010": "CANARI"}))
    assert "00100010" not in str(caught.value)


def test_full_database_is_said_to_be_full(tmp_path: Path) -> None:
    store = store_for(tmp_path)
    with pytest.raises(StoreError, match="no room left") as caught, store.session() as session:  # noqa: PT012
        session.execute(text("PRAGMA max_page_count = 1"))  # no smaller than it is now: any growth is refused
        session.execute(text("INSERT INTO leftovers VALUES (:many)"), {"many": "a" * 100_000})
    store.close()
    assert "full" == caught.value.code
