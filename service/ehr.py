"""The EHR side of one process: its house, its rooms, and the order in which they open and close."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol

from starlette.routing import BaseRoute

from models.model import Model
from service import queues
from service.audit.configured import note_configuration
from service.cds_hooks.routes import CdsHooks
from service.ehr_house import House
from service.fhir.routes import Fhir
from service.metrics import Metrics
from service.monitor import measured
from service.monitor.passes import Monitor, watched
from service.monitoring.routes import Monitoring
from service.reporting.routes import Reporting
from service.scoring import Scoring
from service.settings import Settings
from service.site import read_site
from service.store.ledger import counts
from service.store.monitoring import states


class Room(Protocol):
    """A room of the EHR side."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def routes(self) -> list[BaseRoute]: ...


class Ehr:
    """/fhir, /cds-services, remote monitoring, reports and, where it is asked for, the clinician's page."""

    def __init__(self, settings: Settings, scoring: Scoring, metrics: Metrics) -> None:
        self.house = House(settings, read_site(settings.site), scoring, metrics)
        fhir = Fhir(self.house)
        monitoring = Monitoring(self.house, otherwise=fhir.batch)  # it comes first: a Bundle at the root may hold measurements
        self._first: list[BaseRoute] = []
        self.rooms: tuple[Room, ...] = (monitoring, fhir, CdsHooks(self.house), Reporting(self.house))
        self.monitor = Monitor(lambda: self.house.store, self.house.site, lambda: scoring.installed, lambda: scoring.reading,
                               self._watched)
        if settings.review:  # the page, its templates and who may see it are not even imported otherwise
            from service.audit.routes import AuditEvents  # noqa: PLC0415
            from service.review.room import Review  # noqa: PLC0415

            self.rooms = (*self.rooms, Review(self.house))
            self._first = AuditEvents(self.house).routes()  # /fhir has a route for whatever type

    def open(self) -> None:
        """Open the store, then what each room needs. Raises StoreError saying what to do."""
        self.house.open()
        with ExitStack() as opened:  # a room that cannot open must not leave the threads of others behind
            opened.callback(self.house.close)
            if self.house.settings.review:
                note_configuration(self.house.audit)
            for room in self.rooms:
                room.open()
                opened.callback(room.close)
            self.monitor.open()
            opened.pop_all()

    def close(self) -> None:
        """Let each room finish, then close the store."""
        self.monitor.close()
        for room in reversed(self.rooms):
            room.close()
        self.house.close()

    def _watched(self) -> list[Model]:
        """Return the releases that are watched: those that serve or shadow; none while they are being opened."""
        scoring = self.house.scoring
        return watched(self.house.standings, scoring.installed) if scoring.ready else []

    def queues(self) -> bytes:
        """Give the lengths of the queues, the number of people followed and what the monitor last found for /metrics."""
        store = self.house.store
        return queues.text({**counts(store), "watched": states(store)}) + measured.text(store)

    def routes(self) -> list[BaseRoute]:
        """List the addresses of all rooms."""
        return [*self._first, *(route for room in self.rooms for route in room.routes())]
