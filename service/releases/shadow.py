"""What is written down of a case in shadow: what each release said of its findings, and how long it took. Never an explanation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from models.errors import UnusableInput
from models.model import Model
from models.prediction import Prediction, Refusal, Result
from service.logs import where
from service.store import shadows
from service.store.shadows import Kind
from service.store.store import Store

log = logging.getLogger("diaphane")
Json = dict[str, Any]
_SHOWN = ("value", "logit", "above_threshold")


@dataclass(frozen=True)
class Candidate:
    """A release in shadow: since when, and the id of the live release it is beside, "" where none is live."""

    model: Model
    since: float
    beside: str


def score(store: Store, candidate: Candidate, kind: Kind, target: str, live_said: Json, *, now: float,
          work: Callable[[], Result]) -> None:
    """Claim a case, score it and write down what came of it. Whatever goes wrong is a failure of the shadow and of nobody else."""
    release = candidate.model.id
    if not shadows.claim(store, release, kind, target, live=candidate.beside, live_said=live_said, now=now):
        return
    began, said, reason = perf_counter(), {}, ""
    try:
        result = work()
    except UnusableInput as error:
        status, reason, seconds = "failed", error.code, perf_counter() - began
    except Exception as error:  # whatever it is: the live path does not know of it
        status, reason, seconds = "failed", type(error).__name__, perf_counter() - began
        log.warning("shadow: %s failed on a case: %s", release, where(error))
    else:
        status, said = result.status, said_of(result)
        reason = str(result.reason) if isinstance(result, Refusal) else ""
        seconds = result.timings_ms.get("total", 1000 * (perf_counter() - began)) / 1000
    shadows.settle(store, release, kind, target, status=status, reason=reason, said=said, seconds=seconds)


def said_of(result: Result) -> Json:
    """Return what is kept of a result."""
    if not isinstance(result, Prediction):
        return {"status": result.status, "reason": str(result.reason), "findings": {}}
    return {"status": result.status, "findings": {one.name: {name: getattr(one, name) for name in _SHOWN} for one in result.findings}}


def said_of_kept(summary: Mapping[str, Any]) -> Json:
    """Return the same of a live result as it was kept."""
    findings = {str(one["name"]): {name: one.get(name) for name in _SHOWN} for one in summary.get("findings", ())}
    return {"status": str(summary.get("status", "")), "reason": str(summary.get("reason", "")), "findings": findings,
            "seconds": float(summary.get("timings_ms", {}).get("total", 0.0)) / 1000}
