"""Standings: which releases speak in this process, as the store has it at most a second ago. No restart is needed.

Threads share one; whoever finds it old looks again while the others go on with what is known. Where the store cannot answer,
what was known last holds: a database that is away switches nothing on and nothing off.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from models.model import Model
from models.shelf import Shelf
from service.logs import where
from service.releases.latecomers import Latecomers
from service.releases.shadow import Candidate
from service.releases.state import State, installed_of, states_of
from service.site import Site
from service.store import standings
from service.store.errors import StoreError
from service.store.store import Store
from service.store.trust_tables import Standing

log = logging.getLogger("diaphane")
LOOKED_S = 1.0  # how old what is known may be


class Standings:
    """What each release of a shelf does here. Raises StoreError only before the store has answered once."""

    def __init__(self, store: Store, site: Site) -> None:
        self._store, self._required = store, site.commissioning.required
        self._looking = threading.Lock()
        self._looked_at: float | None = None
        self._newest = -1
        self._decided: dict[str, Standing] = {}
        self._base: Shelf | None = None
        self._known: tuple[Shelf, dict[str, State]] | None = None  # of the base; replaced as a whole
        self._said: set[str] = set()
        self._silent: list[str] = []
        self.latecomers = Latecomers()

    def view(self, shelf: Shelf) -> Shelf:
        """Return the shelf as it serves now: the same releases, open once, of which only the live ones are active."""
        return self._now(shelf)[0]

    def shadows(self, shelf: Shelf) -> list[Model]:
        """Return the releases that score unseen."""
        states = self._now(shelf)[1]
        return [shelf.models[name] for name, one in states.items() if one.state == "shadow"]

    def candidates(self, shelf: Shelf) -> list[Candidate]:
        """Return the same with since when, and which live release of their name each is beside."""
        states = self._now(shelf)[1]
        live = {one.name: one.release for one in states.values() if one.state == "live"}
        return [Candidate(shelf.models[name], one.since or 0.0, live.get(one.name, ""))
                for name, one in states.items() if one.state == "shadow"]

    def states(self, shelf: Shelf) -> dict[str, State]:
        """Return what each release does, by id."""
        return self._now(shelf)[1]

    def state(self, release: str) -> State:
        """Return what one release of the shelf that was viewed does. Raises KeyError when it is not on it."""
        if self._base is None:
            raise KeyError(f"No shelf was viewed yet, so that nothing is known of {release!r}.")
        return self._now(self._base)[1][release]

    def look(self) -> None:
        """Look into the store now, so that who changed something sees it."""
        with self._looking:
            self._look()

    def _now(self, shelf: Shelf) -> tuple[Shelf, dict[str, State]]:
        stale = self._looked_at is None or time.monotonic() - self._looked_at >= LOOKED_S
        if stale and self._looking.acquire(blocking=self._looked_at is None):
            try:
                if self._looked_at is None or time.monotonic() - self._looked_at >= LOOKED_S:
                    self._look()
            finally:
                self._looking.release()
        known = self._known
        if known is not None and known[0].models is shelf.models:
            return known
        with self._looking:
            self._base = shelf
            return self._decide(shelf)

    def _look(self) -> None:
        """Read what was decided, when anything was since the last look. The lock is held."""
        try:
            newest = standings.newest(self._store)
            if newest != self._newest:
                self._decided, self._newest = standings.latest(self._store), newest
                if self._base is not None:
                    self._decide(self._base)
        except StoreError as error:
            if self._looked_at is None:
                raise
            log.warning("which release serves could not be asked, what was known holds: %s", where(error))
        self._looked_at = time.monotonic()

    def _decide(self, base: Shelf) -> tuple[Shelf, dict[str, State]]:
        while True:
            models = base.models
            states = states_of(installed_of(base), {name: one.id for name, one in base.active.items()}, self._decided,
                               required=self._required)
            live = {one.name: one.release for one in states.values() if one.state == "live"}
            view = base.serving(live, {one.release for one in states.values() if one.barred})
            if view.models is models:  # else one came while we looked, of which nothing is decided here yet
                break
        self._known = known = view, states
        self.latecomers.look(base, self._decided)
        self._say_silent(states)
        for one in states.values():
            if one.changed and one.release not in self._said:
                self._said.add(one.release)
                log.error("ALARM: the folder of %s is not the one that was decided on: it does not speak here. Put the signed folder "
                          "back, or commission and sign this one.", one.release)
        return known

    def _say_silent(self, states: Mapping[str, State]) -> None:
        """Say in the log which models say nothing here for want of a signature: an upgrade may have made it so."""
        silent = sorted({one.name for one in states.values()} - {one.name for one in states.values() if one.state != "unsigned"})
        if silent != self._silent and (silent or self._silent):
            log.warning("without a signature these say nothing here: %s. See python -m service release list",
                        ", ".join(silent) or "none")
        self._silent = silent
