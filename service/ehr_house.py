"""House: what the rooms of the EHR side share: settings, site, scoring, counters, and once they are open the store and the audit."""

from __future__ import annotations

from service.audit.audit import Audit
from service.metrics import Metrics
from service.problem import ProblemError
from service.releases.standing import Standings
from service.scoring import Scoring
from service.settings import Settings, is_loopback
from service.site import Site
from service.store.store import Store


class House:
    """One for each process. The store is opened at the start of the process and closed at its end."""

    def __init__(self, settings: Settings, site: Site, scoring: Scoring, metrics: Metrics) -> None:
        self.settings, self.site, self.scoring, self.metrics = settings, site, scoring, metrics
        self._store: Store | None = None
        self._audit: Audit | None = None
        self._standings: Standings | None = None

    @property
    def standings(self) -> Standings:
        """Which release does what here. Raises ProblemError (503) before the store is open."""
        if self._standings is None:
            raise ProblemError("not_ready", "The store is not open yet. Try again.", retry_after_s=2)
        return self._standings

    @property
    def store(self) -> Store:
        """The open store. Raises ProblemError (503) before that."""
        if self._store is None:
            raise ProblemError("not_ready", "The store is not open yet. Try again.", retry_after_s=2)
        return self._store

    @property
    def audit(self) -> Audit:
        """The audit of the open store. Raises ProblemError (503) before that."""
        if self._audit is None:
            raise ProblemError("not_ready", "The store is not open yet. Try again.", retry_after_s=2)
        return self._audit

    @property
    def is_private(self) -> bool:
        """Tell whether only this machine, or a proxy that asks for us, can call: then a caller need not show a token."""
        return is_loopback(self.settings.host) or self.settings.allow_anonymous

    def open(self) -> None:
        """Open the store. Raises StoreError saying what to do."""
        store = Store.open(self.settings)
        self._audit = Audit(store, self.site, self.settings)
        self._audit.open()
        self._store = store
        self._standings = Standings(store, self.site)
        self.scoring.view = self._standings.view

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            store, self._store = self._store, None
            audit, self._audit = self._audit, None
            if audit is not None:
                audit.close()
            store.close()
