"""MEASURED: what the monitor last found, for /metrics. A fixed set of names; labels are releases, kinds and a release's streams."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from service.monitor.judged import EMBEDDING
from service.monitor.weeks import KINDS
from service.store import alarms, golden, watching
from service.store.store import Store

STREAMS = 12  # of a release, those that changed most: the others are on the page


def text(store: Store, now: float | None = None) -> bytes:
    """Write it in the Prometheus text format."""
    moment, registry = time.time() if now is None else now, CollectorRegistry()

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"diaphane_{name}", meaning, labels, registry=registry)

    psi = gauge("drift_psi", "Population stability index of the last window beyond chance; the streams that changed most.",
                "release", "stream")
    mmd = gauge("drift_mmd", "Squared maximum mean discrepancy of the last window beyond chance, as a share of its spread.",
                "release")
    results = gauge("watched_results", "Results of the last seven days.", "release", "status")
    refused = gauge("watched_refused_share", "Share of the results of the last seven days that were refused.", "release")
    agreed = gauge("agreement_share", "Share of verdicts that agree, of all that were given.", "release")
    right = gauge("alert_precision_share", "Share of raised alerts that professionals took for right, of those judged.", "release")
    seconds = gauge("result_seconds", "Time of a result in the last seven days.", "release", "quantile")
    ringing = gauge("alarms", "Alarms that are open.", "release", "kind")
    changed = gauge("golden_changed", "Golden inputs and studies that came out otherwise in the last night.", "release")
    checked = gauge("golden_checked", "Golden inputs and studies scored again in the last night.", "release")
    age = gauge("watch_age_seconds", "Time since releases were last looked at; -1 before the first time.")
    states, rings, runs = watching.states(store), alarms.ringing(store), golden.last_runs(store)
    for release, row in states.items():
        _one(release, row.found, psi, mmd, results, refused, agreed, right, seconds)
    for release in sorted({*states, *runs, *(name for name, _ in rings)}):
        for kind in KINDS:
            ringing.labels(release, kind).set(rings.get((release, kind), 0))
    for release, run in runs.items():
        changed.labels(release).set(run.changed)
        checked.labels(release).set(run.checked)
    done = watching.done_at(store, "pass")
    age.set(moment - done if done else -1)
    return generate_latest(registry)


def _one(release: str, found: Mapping[str, Any], psi: Gauge, mmd: Gauge, results: Gauge, refused: Gauge, agreed: Gauge,
         right: Gauge, seconds: Gauge) -> None:
    if not found:
        return
    for row in [row for row in found["streams"] if "psi" in row][:STREAMS]:
        psi.labels(release, row["stream"]).set(row["psi"])
    for row in found["streams"]:
        if row["stream"] == EMBEDDING:
            mmd.labels(release).set(row["mmd"])
    week = found["last_7_days"]
    results.labels(release, "scored").set(week["n"] - week["refused"])
    results.labels(release, "refused").set(week["refused"])
    if week["n"]:
        refused.labels(release).set(week["refused"] / week["n"])
    for gauge, hits, n in ((agreed, found["agreement"]["agreed"], found["agreement"]["given"]),
                           (right, found["precision"]["right"], found["precision"]["alerts"])):
        if n:
            gauge.labels(release).set(hits / n)
    for name in ("p50", "p95"):
        if found["seconds"][name] is not None:
            seconds.labels(release, f"0.{name[1:]}").set(found["seconds"][name])
