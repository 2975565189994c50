"""Leash: hold on to a leased row while its work goes on, renewed by a thread; a process that dies lets go by itself."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Self

from service.logs import where
from service.store import queue
from service.store.store import Store

log = logging.getLogger("diaphane")


class Leash:
    """``with Leash(store, Job, claim, lease_s):`` renews the lease every third of its length until the block ends."""

    def __init__(self, store: Store, table: Any, claim: queue.Claim, lease_s: float) -> None:
        self.store, self.table, self.claim, self.lease_s = store, table, claim, lease_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leash", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._done.wait(self.lease_s / 3):
            try:
                if not queue.renew(self.store, self.table, self.claim, self.lease_s):
                    return  # another has it; what we make will not be saved
            except Exception as error:  # the database is away for a moment: the next time may do
                log.warning("a lease could not be renewed: %s", where(error))
