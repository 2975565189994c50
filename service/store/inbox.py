"""The inbox: received objects into the store. Files and rows are on disk before anything is acknowledged.

Many threads put at once; each writes its own file, then one thread writes the rows of all that wait in one transaction.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Literal, NamedTuple

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import aliased

from service.store.engine import lock
from service.store.errors import StoreError
from service.store.facts import Arrival
from service.store.filing import KNOWN_MOST, Verdict, file_arrivals
from service.store.store import Store
from service.store.tables import Case, OpenAssociation

__all__ = ["Inbox", "Verdict", "receive", "released"]

BATCH = 64
_TRIES = 4


def receive(store: Store, arrivals: Sequence[Arrival], *, quiet_s: float) -> list[Verdict]:
    """Keep ``arrivals`` in one transaction and say what each was. Raises StoreError: then none was kept.

    A file may stay behind when the rows could not be written; it is taken up when its sender tries again.
    """
    store.check_room()
    there = store.objects.put_many([one.data for one in arrivals], [one.sha256 for one in arrivals])
    return _file(store, arrivals, there, quiet_s)


def released(store: Store, association: str, *, release_quiet_s: float, quiet_s: float) -> None:
    """Note that an association ended: its series are complete soon, unless another still sends to them.

    Another counts when it sent within ``quiet_s`` and is not released either.
    """
    now = time.time()
    other = aliased(OpenAssociation)
    mine = select(OpenAssociation.case_id).where(OpenAssociation.association == association)
    still_sent = exists().where(other.case_id == Case.id, other.association != association, other.touched_at > now - quiet_s)
    soon = now + release_quiet_s
    with store.session() as session:
        lock(session)
        session.execute(update(Case).where(Case.id.in_(mine), Case.due_at > soon, ~still_sent).values(due_at=soon),
                        execution_options={"synchronize_session": False})
        session.execute(delete(OpenAssociation).where(OpenAssociation.association == association))


class _Waiting(NamedTuple):
    arrival: Arrival
    there: bool
    verdict: Future[Verdict]


_Closing = Literal["closing"]


class Inbox:
    """The one way in for a process with many threads: their rows are committed together, up to BATCH at a time."""

    def __init__(self, store: Store, *, quiet_s: float, release_quiet_s: float) -> None:
        self._store = store
        self._quiet_s = quiet_s
        self._release_quiet_s = release_quiet_s
        self._waiting: queue.SimpleQueue[_Waiting | _Closing] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="inbox", daemon=True)
        self._writer.start()

    def put(self, arrival: Arrival) -> Verdict:
        """Keep one object; it is on disk when this returns. Raises StoreError: then it was not kept."""
        return self.put_many([arrival])[0]

    def put_many(self, arrivals: Sequence[Arrival]) -> list[Verdict]:
        """Keep several, in order. Raises the first StoreError; the others may have been kept, and may be put again."""
        self._store.check_room()
        there = self._store.objects.put_many([one.data for one in arrivals], [one.sha256 for one in arrivals])
        waiting = [_Waiting(one, one.sha256 in there, Future()) for one in arrivals]
        with self._closing:
            if self._closed:
                raise StoreError("The store is closing. Send again later.", code="closed")
            for one in waiting:
                self._waiting.put(one)
        return [one.verdict.result() for one in waiting]

    def released(self, association: str) -> None:
        """Note that an association ended. Raises StoreError; its series are then complete after the longer quiet time."""
        released(self._store, association, release_quiet_s=self._release_quiet_s, quiet_s=self._quiet_s)

    def close(self) -> None:
        """Write what waits and stop. What is put later is refused."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._waiting.put("closing")
        self._writer.join()

    def _write(self) -> None:
        while True:
            first = self._waiting.get()
            if isinstance(first, str):
                return
            batch, last = self._more(first)
            self._answer(batch)
            if last:
                return

    def _more(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Take what waits without waiting for it; True when the inbox is closing and nothing follows."""
        batch = [first]
        while len(batch) < BATCH:
            try:
                one = self._waiting.get_nowait()
            except queue.Empty:
                break
            if isinstance(one, str):
                return batch, True
            batch.append(one)
        return batch, False

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            there = {one.arrival.sha256 for one in batch if one.there}
            verdicts = _file(self._store, [one.arrival for one in batch], there, self._quiet_s)
        except Exception as error:
            if len(batch) > 1 and not (isinstance(error, StoreError) and error.code != "refused"):
                for one in batch:  # one bad row must not cost its neighbours their acknowledgement
                    self._answer([one])
            else:
                for one in batch:
                    one.verdict.set_exception(error)
            return
        for one, verdict in zip(batch, verdicts, strict=True):
            one.verdict.set_result(verdict)


def _file(store: Store, arrivals: Sequence[Arrival], there: set[str], quiet_s: float) -> list[Verdict]:
    """Write the rows. ``there`` are the contents whose file was not written just now: a prune may be removing it."""
    for last in (*[False] * (_TRIES - 1), True):
        try:
            with store.session() as session:
                lock(session)
                again = [one for one in arrivals if one.sha256 in there]
                store.objects.put_many([one.data for one in again], [one.sha256 for one in again])
                verdicts = file_arrivals(session.connection(), arrivals, known=store.known, quiet_s=quiet_s, now=time.time())
        except IntegrityError:  # a study known to be there was pruned, or another process was faster: look again
            store.known.clear()
            if last:
                raise StoreError("The database refuses a row. This is our fault: report it.", code="refused") from None
        except SQLAlchemyError as error:
            store.known.clear()
            raise StoreError(f"The database refuses a row ({type(error).__name__}).", code="refused") from None
        else:
            if len(store.known) > KNOWN_MOST:
                store.known.clear()
            store.known.update((one.study_uid, one.series_uid) for one, what in zip(arrivals, verdicts, strict=True) if what != "own")
            return verdicts
    raise AssertionError  # the loop returns or raises
