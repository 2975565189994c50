"""The engine: SQLite (one file, WAL, every commit synced) or PostgreSQL by URL, brought to the newest tables on open."""

from __future__ import annotations

import fcntl
import json
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError, TimeoutError
from sqlalchemy.orm import Session

from service.store.errors import StoreError

MIGRATIONS = Path(__file__).parent / "migrations"
SQLITE_FILE = "diaphane.sqlite"
BUSY_S = 60.0
READING = "diaphane_reading"  # execution option: this transaction only reads, so it waits for no writer
# What ends a wait for a host that lost its power or its network while it held the lock, or for a server that did.
_SESSION = {"synchronous_commit": "on", "lock_timeout": "60s", "idle_in_transaction_session_timeout": "120s"}
_WIRE = {
    "connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000,
}
_LOCK = 0x_D1A9_4A4E  # the number of our advisory lock on PostgreSQL


def open_engine(folder: Path, url: str) -> Engine:
    """Return an engine whose database has the newest tables. Raises StoreError saying what to do."""
    with _wording():
        engine = _server(url) if url else _sqlite(folder / SQLITE_FILE)
        try:
            if url:
                _migrate(engine)
            else:
                with _file_lock(folder / "store.lock"):
                    _prepare_sqlite(folder / SQLITE_FILE)
                    _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    return engine


def lock(session: Session) -> None:
    """Wait to be the only one who files, seals or prunes until this transaction ends.

    On SQLite a writing transaction is alone from its start; on PostgreSQL this takes an advisory lock.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


@contextmanager
def told() -> Iterator[None]:
    """Turn what a driver says when the database is away, busy or full into StoreError. Values of rows are left out."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _trouble(error.orig) from None
    except sqlite3.Error as error:
        raise _trouble(error) from None
    except TimeoutError:
        raise StoreError("The database has too much to do at once. Try again later.", code="unreachable") from None


@contextmanager
def _wording() -> Iterator[None]:
    """Do as ``told``, and say what is wrong with a URL or a folder."""
    try:
        with told():
            yield
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError(
            "The setting database must be empty or a URL like postgresql+psycopg://user:password@host/name "
            f"({type(error).__name__}).",
            code="unreachable",
        ) from None
    except ModuleNotFoundError as error:
        raise StoreError(
            f"PostgreSQL needs the package {error.name}: pip install 'diaphane[postgresql]'.", code="missing_extra"
        ) from None
    except OSError as error:
        raise StoreError(
            f"The folder of the setting store cannot be used: {type(error).__name__}. It must be a writable folder on a local disk.",
            code="unwritable",
        ) from None


def _sqlite(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), hide_parameters=True, json_serializer=_to_json,
        pool_size=16, max_overflow=64, connect_args={"timeout": BUSY_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        connection.execute("PRAGMA synchronous=FULL")  # in WAL mode NORMAL would lose the last commits with the power
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA case_sensitive_like=ON")  # as PostgreSQL
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted or changed is overwritten: an erasure leaves no byte

    @event.listens_for(engine, "begin")
    def _begins(connection: Connection) -> None:
        reading = connection.get_execution_options().get(READING, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _server(text_url: str) -> Engine:
    url = make_url(text_url)
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "postgresql":
        raise ArgumentError("postgresql")
    engine = create_engine(
        url, hide_parameters=True, json_serializer=_to_json, pool_size=16, max_overflow=64, pool_pre_ping=True,
        connect_args={name: value for name, value in _WIRE.items() if name not in url.query},
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            for name, value in _SESSION.items():  # what the server or the URL says otherwise holds
                cursor.execute("SELECT set_config(%s, %s, false) WHERE current_setting(%s) IN ('off', '0')", (name, value, name))
        connection.commit()

    return engine


def _prepare_sqlite(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            "The folder of the setting store must be on a local disk: SQLite cannot keep its journal there.", code="unwritable"
        )


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _migrate(engine: Engine) -> None:
    """Bring the tables up in one transaction; others who open meanwhile wait, and find it done."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        found = MigrationContext.configure(connection).get_current_revision()
        if found == scripts.get_current_head():
            return
        if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
            raise StoreError(
                "The database was made by a later version of Diaphane. "
                "Install that version or a newer one, or name another database.",
                code="newer",
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _trouble(cause: BaseException | None) -> StoreError:
    name = getattr(cause, "sqlite_errorname", "") or getattr(cause, "sqlstate", "") or type(cause).__name__
    if name in ("SQLITE_FULL", "53100"):
        return StoreError(f"The database has no room left ({name}). Free space on its disk.", code="full")
    if name.startswith(("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return StoreError(f"The database cannot be written ({name}). See to its disk and its rights.", code="unwritable")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreError(f"The database is damaged ({name}). Restore it from a copy.", code="damaged")
    return StoreError(
        f"The database does not answer ({name}). See that it runs and is not held by another program.", code="unreachable"
    )


def _to_json(value: Any) -> str:
    """Write JSON that PostgreSQL takes too: NaN and infinity, which JSON has not, become null."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
