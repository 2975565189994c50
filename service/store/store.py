"""Store: the database and the files, opened together. What returns from it is on disk."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from service.settings import Settings
from service.store.engine import READING, open_engine, told
from service.store.errors import StoreError
from service.store.objects import Objects, open_objects, sync_folder

GIB = 1024**3
Transaction = Session  # what other rooms call an open one: they never import SQLAlchemy
OBJECTS = "objects"  # where a session carries the files of its store
SECRET_FILE = "secret"  # noqa: S105  its name
SECRET_BYTES = 32


class Store:
    """One open store; its methods may be called from any thread.

    ``known`` holds (study, series) UIDs that have their rows: it saves a statement an image, and may be emptied.
    """

    def __init__(self, engine: Engine, objects: Objects, *, folder: Path | None = None, min_free_bytes: int = 0,
                 secret: bytes = b"") -> None:
        self.engine = engine
        self.objects = objects
        self.secret = secret or secrets.token_bytes(SECRET_BYTES)
        self.known: set[tuple[str, str]] = set()
        self._reading = engine.execution_options(**{READING: True})
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    @classmethod
    def open(cls, settings: Settings, *, min_free_bytes: int = GIB) -> Store:
        """Make the folders, bring the tables up to date, sweep what a crash left. Raises StoreError with what to do."""
        folder = settings.store.absolute()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(folder.parent)
        except OSError as error:
            raise StoreError(
                f"The folder of the setting store cannot be made: {error.strerror}. Name a writable folder.", code="unwritable"
            ) from None
        engine = open_engine(folder, settings.database.get_secret_value())
        try:
            objects = open_objects(folder / "objects", settings.objects, settings.objects_endpoint)
            secret = settings.secret.get_secret_value().encode() or _secret_of(folder)
        except BaseException:
            engine.dispose()
            raise
        store = cls(engine, objects, folder=folder, min_free_bytes=min_free_bytes, secret=secret)
        try:
            _check_secret(store, first=settings.review)
        except BaseException:
            engine.dispose()
            raise
        return store

    def pseudonym(self, text: str) -> str:
        """Return what stands for an identifier where it must not stand itself: a hash that nobody without the secret can try out."""
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()[:32]

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a writing transaction: committed, and on disk, when the block ends well. Keep it short."""
        with told(), Session(self.engine, expire_on_commit=False, info={OBJECTS: self.objects}) as session, session.begin():
            session.connection()  # begins now and not with the first statement: what the block looks at first, files too, holds
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads: it waits for no writer. Rows stay usable afterwards."""
        with told(), Session(self._reading, expire_on_commit=False) as session, session.begin():
            yield session

    def check_room(self) -> None:
        """Raise StoreError ``full`` when the disk of the setting ``store`` has less than min_free_bytes left."""
        if self._folder is None or not self._min_free_bytes:
            return
        free = shutil.disk_usage(self._folder).free
        if free < self._min_free_bytes:
            raise StoreError(
                f"The disk of the store must keep {self._min_free_bytes // 2**20} MiB free, found {free // 2**20}. "
                "Free space, prune old studies or enlarge it; sending again will then work.",
                code="full",
            )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _check_secret(store: Store, *, first: bool) -> None:
    """Check that this secret is the one the database knows persons by; ``first``: where it knows none, it is from now on.

    With another one no opposition would be found and no line of the audit hold. Raises StoreError.
    """
    mark = hmac.new(store.secret, b"the secret of this store", hashlib.sha256).hexdigest()
    with store.reading() as session:
        known = session.scalar(_MARK)
    if known is None and first:
        with store.session() as session:
            session.execute(_SET_MARK, {"mark": mark, "now": time.time()})
            known = session.scalar(_MARK)
    if known not in (None, mark):
        raise StoreError("The secret of this store is another one than its database was written with. Set DIAPHANE_SECRET to the "
                         "same value on every machine, or restore the file secret of the store from a copy.", code="damaged")


_MARK = text("SELECT hash FROM audit_cursors WHERE name = 'secret'")
_SET_MARK = text("INSERT INTO audit_cursors (name, line_id, hash, holder, until, changed_at) "
                 "VALUES ('secret', 0, :mark, '', 0, :now) ON CONFLICT (name) DO NOTHING")


def _secret_of(folder: Path) -> bytes:
    """Return the secret of a store, made at its first opening. Raises StoreError."""
    path = folder / SECRET_FILE
    try:
        if not path.exists():
            made = folder / f"{SECRET_FILE}.{secrets.token_hex(8)}"
            file = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                os.write(file, secrets.token_bytes(SECRET_BYTES))
                os.fsync(file)
            finally:
                os.close(file)
            try:
                os.link(made, path)  # whoever comes first has made it; a second process takes the same
            except FileExistsError:
                pass
            finally:
                made.unlink()
            sync_folder(folder)
        secret = path.read_bytes()
    except OSError as error:
        raise StoreError(f"The file secret in the folder of the setting store cannot be used: {error.strerror}. "
                         "Make it readable for the service alone.", code="unwritable") from None
    if len(secret) < SECRET_BYTES:
        raise StoreError(f"The file secret in the folder of the setting store must hold {SECRET_BYTES} bytes, found fewer. Restore "
                         "it from a copy: what was written down under another secret cannot be found again.", code="damaged")
    return secret
