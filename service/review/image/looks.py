"""Looks: who looked at which study, written down once for a page and the pictures that are fetched for it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from pydicom.dataset import Dataset

from service.access.caller import Caller
from service.ehr_house import House
from service.persons_keys import keys_of_dicom
from service.store.review_tables import Entry

SAME_LOOK_S = 3600.0  # pictures fetched in this time after a look was written down belong to that look
MOST_KNOWN = 4096


class Looks:
    """Of one process: another that serves the same page writes its own line, which is once too often and never too seldom."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, caller: Caller, entry: Entry, header: Dataset) -> None:
        """Write down that somebody looks at a study; ``header`` says whose it is."""
        persons = keys_of_dicom(self.house.store, self.house.site, header)
        self.house.audit.note(caller, "view", kind="study", item=entry.key, persons=persons)
        with self._lock:
            self._known[_who(caller), entry.target] = time.monotonic()
            self._known.move_to_end((_who(caller), entry.target))
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)

    def note_once(self, caller: Caller, entry: Entry, header: Callable[[], Dataset]) -> None:
        """Write down a look at pictures without their page, such as those of a prior study beside another."""
        with self._lock:
            at = self._known.get((_who(caller), entry.target))
        if at is None or time.monotonic() - at > SAME_LOOK_S:
            self.note(caller, entry, header())


def _who(caller: Caller) -> str:
    return caller.session or caller.subject
