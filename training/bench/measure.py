"""Time several calls in turns (A B C A B C …) on one thread, and compare them by ratios.

Times are CPU seconds of this process: on a quiet machine they are the wall time of a call, on a busy one they do not
count the waiting. Wall times are kept beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], Any]
SAMPLE_S = 0.002  # a sample repeats a short call until it lasts this long: the clock itself costs a microsecond


@dataclass(frozen=True)
class Samples:
    """Seconds a call took, one value a round, in the order of the rounds: CPU and wall."""

    cpu_s: NDArray[np.float64]
    wall_s: NDArray[np.float64]

    @property
    def median_ms(self) -> float:
        """Median CPU time in milliseconds."""
        return 1000 * float(np.median(self.cpu_s))

    @property
    def least_ms(self) -> float:
        """Least CPU time in milliseconds."""
        return 1000 * float(self.cpu_s.min())

    def to_json(self) -> dict[str, float]:
        """Return counts and milliseconds for the report."""
        return {"rounds": len(self.cpu_s), "cpu_ms_min": self.least_ms, "cpu_ms_median": self.median_ms,
                "wall_ms_min": 1000 * float(self.wall_s.min()), "wall_ms_median": 1000 * float(np.median(self.wall_s))}


@dataclass(frozen=True)
class Ratio:
    """Median of one over median of another, and the 10th and 90th percentile of the ratio within a round."""

    value: float
    low: float
    high: float


def interleave(calls: Mapping[str, Call], seconds: float, *, least_rounds: int = 0, most_rounds: int = 2000
               ) -> dict[str, Samples]:
    """Run every call once to warm up, then all of them in turns for ``seconds``.

    At least ``least_rounds`` times; by default 5, or 2 for less than a second, which is only a trial.
    """
    least_rounds = least_rounds or (5 if seconds >= 1 else 2)
    repeats = {name: _repeats(call) for name, call in calls.items()}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    wall: dict[str, list[float]] = {name: [] for name in calls}
    until = time.perf_counter() + seconds
    rounds = 0
    while rounds < least_rounds or (rounds < most_rounds and time.perf_counter() < until):
        for name, call in calls.items():
            times = range(repeats[name])
            started, started_cpu = time.perf_counter(), time.process_time()
            for _ in times:
                call()
            cpu[name].append((time.process_time() - started_cpu) / repeats[name])
            wall[name].append((time.perf_counter() - started) / repeats[name])
        rounds += 1
    return {name: Samples(np.array(cpu[name]), np.array(wall[name])) for name in calls}


def ratio(over: Samples, under: Samples) -> Ratio:
    """Compare two calls of one interleaved run: how many times longer ``over`` takes than ``under``."""
    within = over.cpu_s / np.maximum(under.cpu_s, 1e-9)
    return Ratio(over.median_ms / max(under.median_ms, 1e-6), *(float(np.quantile(within, q)) for q in (0.1, 0.9)))


def _repeats(call: Call) -> int:
    for _ in range(2):  # the first call may load and compile
        started = time.perf_counter()
        call()
        lasted = max(time.perf_counter() - started, 1e-7)
        if lasted > 10 * SAMPLE_S:
            return 1
    return max(1, min(2000, round(SAMPLE_S / lasted)))
