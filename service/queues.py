"""QUEUES: how long the queues of the store are and how far they are behind, for /metrics. Read when asked; nothing identifies."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest


def text(found: dict[str, Any], now: float | None = None) -> bytes:
    """Write what ``service.store.ledger.counts`` found in the Prometheus text format."""
    moment, registry = time.time() if now is None else now, CollectorRegistry()

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"diaphane_{name}", meaning, labels, registry=registry)

    gauge("cases_waiting", "Cases still being received.").set(found["cases_waiting"])
    jobs = gauge("jobs", "Scoring jobs by state.", "state")
    for state, number in found["jobs"].items():
        jobs.labels(state).set(number)
    deliveries = gauge("deliveries", "Results on their way, by target and state.", "target", "state")
    for target, states in found["deliveries"].items():
        for state, number in states.items():
            deliveries.labels(target, state).set(number)
    watched = gauge("watched", "People followed at home, by state of what is watched.", "state")
    for state, number in found.get("watched", {}).items():
        watched.labels(state).set(number)
    for name, at in (("oldest_job", found["oldest_job_at"]), ("oldest_delivery", found["oldest_delivery_at"])):
        gauge(f"{name}_seconds", "Age of the oldest that waits or runs; 0 when none does.").set(max(0.0, moment - at) if at else 0)
    return generate_latest(registry)
