"""The same tests on SQLite and on PostgreSQL: ``database`` is a URL, "" for SQLite, and ``store`` an open, empty store."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.store.engine import SQLITE_FILE
from service.store.store import Store
from service.store.tables import Base
from tests.make import REQUIRED
from tests.make_store import store_for

START_S = 60


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL of our own on a socket in a temporary folder; return the folder."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (DIAPHANE_REQUIRE=peers makes this a failure)")
    owner = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
    if owner:
        shutil.chown(folder, owner)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=owner, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=START_S)

    data = str(folder / "data")
    run(str(programs / "initdb"), "-D", data, "-U", "diaphane", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=200"  # a test needs no power cut
    run(str(programs / "pg_ctl"), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "-t", str(START_S), "start")
    with psycopg.connect(host=str(folder), user="diaphane", dbname="postgres", autocommit=True) as server:
        server.execute("CREATE DATABASE diaphane")
    try:
        yield str(folder)
    finally:
        run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a database without rows, "" for SQLite; its tables are those of an earlier test."""
    if request.param == "sqlite":
        yield ""
        return
    folder = request.getfixturevalue("postgresql")
    yield f"postgresql+psycopg://diaphane@/diaphane?host={folder}"
    with psycopg.connect(host=folder, user="diaphane", dbname="diaphane", autocommit=True) as server:
        left = {row[0] for row in server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        if {*Base.metadata.tables} <= left:
            server.execute(f"TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY")
        else:
            server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an empty SQLite database: copied, it saves each test the migrations."""
    folder = tmp_path_factory.mktemp("empty")
    store_for(folder).close()
    return folder / "store" / SQLITE_FILE


@pytest.fixture
def store(database: str, empty: Path, tmp_path: Path) -> Iterator[Store]:
    """An open, empty store."""
    if not database:
        (tmp_path / "store").mkdir(mode=0o700)
        shutil.copy(empty, tmp_path / "store" / SQLITE_FILE)
    opened = store_for(tmp_path, database=database)
    yield opened
    opened.close()


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if found:
        return found[-1]
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    assert "peers" not in REQUIRED, "PostgreSQL is not installed, and DIAPHANE_REQUIRE asks for it"
    return None
