"""Trust: which release speaks, and how it is watched, in a process that has no EHR side; with one, its house does both.

A site that asks for sign-offs asks for them of every process that is told of it: one that serves /v1 alone opens the store too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.model import Model
from service.scoring import Scoring
from service.settings import Settings
from service.site import read_site

if TYPE_CHECKING:
    from service.dicom.routes import DicomWeb
    from service.monitor.passes import Monitor
    from service.releases.standing import Standings
    from service.store.store import Store


class Trust:
    """Opened once the DICOMweb room is, before releases are opened; closed before it."""

    def __init__(self, settings: Settings, scoring: Scoring, dicomweb: DicomWeb | None) -> None:
        self._settings, self._scoring, self._dicomweb = settings, scoring, dicomweb
        self._own: Store | None = None
        self._monitor: Monitor | None = None

    def open(self) -> None:
        """Let no release speak that must not. Raises SettingsError for the site file, StoreError saying what to do."""
        site = read_site(self._settings.site)
        if self._dicomweb is None and not site.commissioning.required:
            return  # nobody is asked, and nothing is kept: no store is opened
        from service.monitor.passes import Monitor  # noqa: PLC0415  bring the store
        from service.releases.standing import Standings  # noqa: PLC0415
        from service.store.store import Store  # noqa: PLC0415

        if self._dicomweb is None:
            self._own = Store.open(self._settings)
        store, scoring = self._own or self._room().store, self._scoring
        standings = Standings(store, site)
        scoring.view = standings.view
        if self._dicomweb is not None:  # what /v1 alone answers is kept nowhere: there is nothing to watch
            self._monitor = Monitor(lambda: self._room().store, site, lambda: scoring.installed, lambda: scoring.reading,
                                    lambda: self._watched(standings))
            self._monitor.open()

    def close(self) -> None:
        """End it."""
        if self._monitor is not None:
            self._monitor.close()
        if self._own is not None:
            self._own.close()

    def _room(self) -> DicomWeb:
        assert self._dicomweb is not None  # who calls it looked
        return self._dicomweb

    def _watched(self, standings: Standings) -> list[Model]:
        from service.monitor.passes import watched  # noqa: PLC0415

        return watched(standings, self._scoring.installed) if self._scoring.ready else []
