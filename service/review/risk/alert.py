"""The alert of remote monitoring that a risk stands for: what was measured around it, the limit, and when it stood."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from models.manifest import Manifest
from models.raw_codes import measured_codes
from service.monitoring.alerts import sentence
from service.review.risk.course import Measured, measured
from service.review.risk.curve import Given
from service.review.risk.shown import RiskView
from service.store import monitoring
from service.store.monitoring import Standing
from service.store.review_tables import Risk
from service.store.store import Store
from service.words import Language

BEFORE = timedelta(hours=6)
AFTER = timedelta(hours=3)


@dataclass(frozen=True)
class AlertView:
    """One alert as its page shows it."""

    sentence: str
    kind: str
    raised_at: datetime
    cleared_at: datetime | None
    value: float | None
    threshold: float | None
    measured: tuple[Measured, ...]


def alert_view(store: Store, alert: Standing, risk: Risk, view: RiskView, now: datetime, language: Language) -> AlertView:
    """Return an alert with what was measured from hours before it was raised to hours after it ended."""
    zone = now.tzinfo
    raised = _local(alert.raised_at, zone)
    cleared = None if alert.cleared_at is None else _local(alert.cleared_at, zone)
    until = now if cleared is None else min(now, cleared + AFTER)
    told = alert.detail
    value, threshold = told.get("value"), told.get("threshold")
    measured = _measured(store, risk, view.manifest, raised - BEFORE, until, (raised, cleared or now)) if view.manifest else ()
    return AlertView(
        sentence(alert, language), alert.kind, raised, cleared, value if isinstance(value, float) else None,
        threshold if isinstance(threshold, float) else None, measured,
    )


def _measured(store: Store, risk: Risk, manifest: Manifest, since: datetime, until: datetime,
              stood: tuple[datetime, datetime]) -> tuple[Measured, ...]:
    """Return a curve for each code the release rests on that was measured then. Old measurements are kept for days only."""
    name = risk.model.rpartition("-")[0]
    _, rows = monitoring.look(store, risk.subject, name, measured_codes(manifest), since.timestamp())
    told: list[Measured] = []
    for code in sorted({one.code for one in rows}):
        given = [Given(_local(one.at, since.tzinfo), one.value) for one in rows if one.code == code and one.at <= until.timestamp()]
        told += measured(manifest, code, given, spans=[stood])
    return tuple(told)


def _local(seconds: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone)
