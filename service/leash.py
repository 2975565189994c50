"""Leash: hold on to a leased row while its work goes on, renewed by a thread; a process that dies lets go by itself.

So does one that hangs, where the longest time is known: native code cannot be interrupted, therefore it is killed.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from types import TracebackType
from typing import Any, Self

from service.logs import where
from service.store import queue
from service.store.store import Store

log = logging.getLogger("diaphane")


class Leash:
    """``with Leash(store, Job, claim, lease_s):`` renews the lease every third of its length until the block ends.

    A block that takes longer than ``longest_s`` ends the process, as SIGKILL does.
    """

    def __init__(self, store: Store, table: Any, claim: queue.Claim, lease_s: float, *, longest_s: float = math.inf) -> None:
        self.store, self.table, self.claim, self.lease_s = store, table, claim, lease_s
        self._end = time.monotonic() + longest_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leash", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _renew(self) -> None:
        mine = True
        while not self._done.wait(min(self.lease_s / 3, max(0.0, self._end - time.monotonic()))):
            if time.monotonic() >= self._end:
                log.error("what a lease is for has not ended after so long that it hangs: this process is killed")
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                mine = mine and queue.renew(self.store, self.table, self.claim, self.lease_s)  # else: what we make is not saved
            except Exception as error:  # the database is away for a moment: the next time may do
                log.warning("a lease could not be renewed: %s", where(error))
