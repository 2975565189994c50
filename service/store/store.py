"""Store: the database and the files, opened together. What returns from it is on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.settings import Settings
from service.store.engine import READING, open_engine, told
from service.store.errors import StoreError
from service.store.objects import Objects, open_objects, sync_folder

GIB = 1024**3
OBJECTS = "objects"  # where a session carries the files of its store


class Store:
    """One open store; its methods may be called from any thread.

    ``known`` holds (study, series) UIDs that have their rows: it saves a statement an image, and may be emptied.
    """

    def __init__(self, engine: Engine, objects: Objects, *, folder: Path | None = None, min_free_bytes: int = 0) -> None:
        self.engine = engine
        self.objects = objects
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
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, objects, folder=folder, min_free_bytes=min_free_bytes)

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
