"""METRICS: what is counted, labelled by route template, model and reason. Nothing here can hold an identifier."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The counters of one process, on a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line for each count, of no use here
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "diaphane_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "diaphane_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self.running = Gauge(
            "diaphane_requests_running", "Requests being answered.", registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.bodies = Gauge(
            "diaphane_bodies_bytes", "Bodies being held.", registry=self.registry, multiprocess_mode="livesum"
        )
        self.results = Counter(
            "diaphane_results", "Results given.", ("model", "status", "reason"), registry=self.registry
        )
        self.scoring = Histogram(
            "diaphane_scoring_seconds", "Time of one model on one case.", ("model",), buckets=_SECONDS,
            registry=self.registry,
        )

    def count(self, model: str, status: str, reason: str, seconds: float) -> None:
        """Count one result."""
        self.results.labels(model, status, reason).inc()
        self.scoring.labels(model).observe(seconds)

    def text(self) -> bytes:
        """Write everything in the Prometheus text format, summed over processes where there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        several = CollectorRegistry()
        MultiProcessCollector(several)  # type: ignore[no-untyped-call]
        return generate_latest(several)
