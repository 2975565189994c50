"""Threads: images a second and the wait for one, for the layouts a service may choose on two cores."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.model import Model
from models.session import SessionOptions, usable_cores
from training.bench.report import Row

PART = "threads"


def bench_threads(folder: Path, one: NDArray[Any], seconds: float) -> list[Row]:
    """Compare one thread a run and a run a core, with one run over all cores. Wall time: quiet machines only."""
    cores = usable_cores()
    narrow, broad = (Model(folder, SessionOptions(threads=threads)) for threads in (1, cores))
    layouts = {
        "1 run, 1 thread": (narrow, 1), f"{cores} runs at once, 1 thread each": (narrow, cores),
        f"1 run, {cores} threads": (broad, 1), f"{cores} runs at once, {cores} threads each": (broad, cores),
    }
    waits: dict[str, list[float]] = {name: [] for name in layouts}
    rates: dict[str, list[float]] = {name: [] for name in layouts}
    for _ in range(5):
        for name, (model, at_once) in layouts.items():
            rate, wait = _sustain(model, one, at_once, seconds / 10)
            rates[name].append(rate)
            waits[name] += wait
    rows = []
    for name, (model, _) in layouts.items():
        p50, p99 = (1000 * float(np.quantile(waits[name], q)) for q in (0.5, 0.99))
        rows.append(Row(PART, f"{model.manifest.name}: {name}", float(np.median(rates[name])), "1/s",
                        float(min(rates[name])), float(max(rates[name])),
                        note=f"wait p50 {p50:.1f} ms, p99 {p99:.1f} ms", times={"p50_ms": p50, "p99_ms": p99}))
    return rows


def _sustain(model: Model, one: NDArray[Any], at_once: int, seconds: float) -> tuple[float, list[float]]:
    """Run back to back in ``at_once`` threads; return runs a second and the wall seconds of each."""
    until = time.perf_counter() + seconds

    def work(_: int) -> list[float]:
        waits = []
        while not waits or time.perf_counter() < until:
            started = time.perf_counter()
            model.session.run(one)
            waits.append(time.perf_counter() - started)
        return waits

    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        waits = [wait for one_thread in pool.map(work, range(at_once)) for wait in one_thread]
    return len(waits) / (time.perf_counter() - started), waits
