"""Studies that were assessed before the page was switched on: each gets its line, among what is done.

So they are found, opened, judged and shown as the prior of a new study, and nobody finds years of them waiting.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace

import pydicom

from service.lives import Background
from service.logs import where
from service.site import Site
from service.store import entries
from service.store.assessed import assessed_cases, is_listed, unlisted
from service.store.store import Store
from service.told_studies import line_of

log = logging.getLogger("diaphane")
AT_ONCE = 100
BETWEEN_S = 0.02  # others write too


class CatchUp:
    """Works in a thread of its own; several processes may do it at once."""

    def __init__(self, store: Callable[[], Store], site: Site) -> None:
        self._store, self._site = store, site
        self._background = Background(self._work, "catch-up", daemon=True)

    def open(self) -> None:
        """Begin."""
        self._background.open()

    def close(self) -> None:
        """End; the next start goes on."""
        self._background.close()

    def run(self) -> int:
        """Write every line that is missing; return how many."""
        store, after, count, stop = self._store(), "", 0, self._background.stop
        while not stop.is_set() and (batch := unlisted(store, after, AT_ONCE)):
            after = batch[-1][0]
            for uid, sha256 in batch:
                if stop.wait(BETWEEN_S):
                    break
                count += _listed(store, self._site, uid, sha256)
        return count

    def _work(self) -> None:
        try:
            if count := self.run():
                log.info("worklist: %d studies of before are listed among what is done", count)
        except Exception as error:  # the list goes on without them; the next start tries again
            log.error("worklist: studies of before could not be listed: %s", where(error))


def _listed(store: Store, site: Site, uid: str, sha256: str) -> bool:
    try:
        header = pydicom.dcmread(io.BytesIO(store.objects.get(sha256)), stop_before_pixels=True, force=True)
    except Exception as error:  # pydicom raises any class; one damaged file holds up no other study
        log.warning("worklist: a study of before could not be read: %s", where(error))
        return False
    with store.session() as session:
        if is_listed(session, uid) or not (cases := assessed_cases(session, uid)):
            return False
        line = line_of(store, site, uid, cases, header)
        entries.put(session, replace(line, open=False, state="seen" if line.state == "new" else line.state))
    return True
