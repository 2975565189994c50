"""Audit: who did what, written down line by line. One for each process that has a store.

    house.audit.note(caller, "view", kind="study", item=key, persons=keys)      # on disk before the answer begins
    with store.session() as session:                                            # or: there when the transaction is
        audit.append(session, caller, "verdict", kind="result", item=key, persons=keys, detail={"decision": "reject"})

Lines of several requests, and the frequent ones of programs, share one transaction. A process that is killed loses at most
what programs did in its last half second; one whose store stays away answers 503 rather than go on unseen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from service.access.caller import Caller
from service.audit.head import Head
from service.audit.line import Action, is_frequent, line_of
from service.audit.settled import REQUEST
from service.audit.syslog import Sender
from service.logs import where
from service.settings import Settings
from service.site import Site
from service.store import audit
from service.store.audit import End, NewLine, Outcome
from service.store.errors import StoreError
from service.store.store import Store, Transaction

log = logging.getLogger("diaphane")
EVERY_S = 0.5
MOST_WAITING = 20_000
MOST_AT_ONCE = 2_000
PATIENCE_S = 70.0  # longer than a database is waited for


class Audit:
    """Writes lines, in a thread of its own between ``open`` and ``close``; without it at once."""

    def __init__(self, store: Store, site: Site, settings: Settings) -> None:
        self.store, self.site, self.settings = store, site, settings
        self.head = Head(settings.store.absolute())
        self._frequent: list[NewLine] = []
        self._urgent: list[tuple[NewLine, Future[None]]] = []
        self._lock, self._writing, self._wake = threading.Lock(), threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._sender = Sender(store, site) if site.audit.syslog else None

    def open(self) -> None:
        """Begin to write, and to send on where the site says where to."""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()
        if self._sender is not None:
            self._sender.open()

    def close(self) -> None:
        """Write what waits, and end."""
        if self._thread is not None:
            self._stopping = True
            self._wake.set()
            self._thread.join()
            self._thread = None
        while self.flush():
            pass
        if self._sender is not None:
            self._sender.close()

    def note(
        self, caller: Caller | None, action: Action, *, kind: str = "", item: str = "", persons: Iterable[str] = (),
        outcome: Outcome = "success", detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down that a caller did something; None is this program itself, or who was not let in.

        It returns at once while a request is answered: its answer waits. Elsewhere it returns when the line is on disk, but
        for what programs do often. Raises StoreError when lines cannot be written.
        """
        line = self._line(caller, action, kind=kind, item=item, persons=persons, outcome=outcome, detail=detail)
        if is_frequent(line) and self._thread is not None:
            with self._lock:
                if len(self._frequent) >= MOST_WAITING:
                    raise StoreError("The audit cannot be written and no more may be done unseen. See to the database.",
                                     code="unreachable")
                self._frequent.append(line)
            return
        written: Future[None] = Future()
        with self._lock:
            self._urgent.append((line, written))
        request = REQUEST.get()
        if self._thread is None:
            self.flush()
        else:
            self._wake.set()
            if request is not None and not request.begun:
                request.waiting.append(written)
                return
        written.result(PATIENCE_S)

    def append(
        self, session: Transaction, caller: Caller | None, action: Action, *, kind: str = "", item: str = "",
        persons: Iterable[str] = (), outcome: Outcome = "success", detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a line within a transaction: there when it is committed, and not when it fails."""
        line = self._line(caller, action, kind=kind, item=item, persons=persons, outcome=outcome, detail=detail)
        audit.append(session, self.store.secret, [line], self._moved)

    def flush(self) -> bool:
        """Write what waits now; tell whether it was written and more waits. What a program did goes back to wait when the store
        is in trouble; who waits is told."""
        with self._writing:
            with self._lock:
                frequent, self._frequent = self._frequent[:MOST_AT_ONCE], self._frequent[MOST_AT_ONCE:]
                urgent, self._urgent = self._urgent, []
            lines = sorted([*frequent, *(line for line, _ in urgent)], key=lambda one: one.at)
            if not lines:
                return False
            try:
                self._write(lines)
            except BaseException as error:
                log.error("audit: %d lines could not be written: %s", len(lines), where(error))
                with self._lock:
                    self._frequent[:0] = frequent
                for _, written in urgent:
                    written.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                return False
            for _, written in urgent:
                written.set_result(None)
            return bool(self._frequent)

    def _line(self, caller: Caller | None, action: Action, *, detail: Mapping[str, Any] | None, **told: Any) -> NewLine:
        request = REQUEST.get()
        known = {"address": request.address} if request is not None and request.address else {}
        return line_of(caller, action, detail={**known, **(detail or {})}, pseudonym=self.store.pseudonym, **told)

    def _write(self, lines: Sequence[NewLine]) -> None:
        with self.store.session() as session:
            audit.append(session, self.store.secret, lines, self._moved)

    def _moved(self, end: End) -> None:
        """Move the head. The lines are on disk already: a head that cannot be moved is said, and undoes nothing."""
        try:
            self.head.move(end)
        except OSError as error:
            log.error("audit: the file %s cannot be written: %s", self.head.path.name, where(error))

    def _work(self) -> None:
        while not self._stopping:
            self._wake.wait(EVERY_S)
            self._wake.clear()
            self.flush()
