"""Keeping: cards that were shown, and the risks they told of, are written down shortly after, many in one transaction, so that
nobody waits for the disk.

A process that dies loses what it showed in the last moment: feedback on those cards is taken all the same, as of unknown ones.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from service.ehr_house import House
from service.lives import Background
from service.logs import where
from service.store.errors import StoreError
from service.store.hooks import Shown, show_cards
from service.told_risks import Told, write

log = logging.getLogger("diaphane")
EVERY_S = 0.5
MOST_WAITING = 10_000  # a store that stays away must not fill the memory
MOST_RISKS = 1_000  # each holds a record
RISKS_AT_ONCE = 20  # others who write wait no longer than for so many


class Keeping:
    """Writes cards down in a thread of its own."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._waiting: list[Shown] = []
        self._risks: list[Told] = []
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._background = Background(self._work, "keep-cards")

    def open(self) -> None:
        """Begin."""
        self._background.open()

    def close(self) -> None:
        """Write what waits, and end."""
        self._background.close()
        self.flush()

    def add(self, cards: Sequence[Shown], risks: Sequence[Told] = ()) -> None:
        """Take cards that are about to be shown, and the risks they tell of."""
        with self._lock:
            self._waiting += cards[: max(0, MOST_WAITING - len(self._waiting))]
            self._risks += risks[: max(0, MOST_RISKS - len(self._risks))]

    def flush(self) -> None:
        """Write what waits now. A store in trouble is logged, and the cards wait for the next time."""
        with self._writing:
            with self._lock:
                cards, self._waiting = self._waiting, []
                risks, self._risks = self._risks, []
            if cards:
                try:
                    with self._house.store.session() as session:
                        show_cards(session, cards, time.time())
                except Exception as error:  # whatever it is, clinicians go on seeing their cards
                    log.error("cards could not be kept: %s", where(error))
                    self.add(cards)
            for begin in range(0, len(risks), RISKS_AT_ONCE):
                few = risks[begin : begin + RISKS_AT_ONCE]
                try:
                    write(self._house.store, self._house.site, few)
                except StoreError as error:
                    log.error("risks could not be kept: %s", where(error))
                    self.add((), few)
                except Exception as error:  # these would fail again
                    log.error("risks could not be kept, and are left out: %s", where(error))

    def _work(self) -> None:
        while not self._background.stop.wait(EVERY_S):
            self.flush()
