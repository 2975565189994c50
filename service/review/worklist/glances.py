"""Glances: that a list showed somebody is written into the audit once in a while for each session, not with each refreshing."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from service.access.caller import Caller
from service.review.page import ReviewDesk
from service.store.review_tables import Entry

AGAIN_S = 600.0
MOST_KNOWN = 50_000


class Glances:
    """Who was shown to whom a short while ago, in this process."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk
        self._shown: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def note(self, caller: Caller, lines: Sequence[Entry]) -> None:
        """Write down that a list shows these people, but for those it showed the same session a short while ago."""
        now, whose = time.monotonic(), caller.session or caller.subject
        persons = list(dict.fromkeys(one.person for one in lines if one.person))
        with self._lock:
            if len(self._shown) > MOST_KNOWN:
                self._shown = {pair: at for pair, at in self._shown.items() if now - at < AGAIN_S}
                if len(self._shown) > MOST_KNOWN:
                    self._shown.clear()
            news = [one for one in persons if now - self._shown.get((whose, one), -AGAIN_S) >= AGAIN_S]
            self._shown.update(((whose, one), now) for one in news)
        if news:
            self.desk.house.audit.note(caller, "view", kind="worklist", persons=news)
