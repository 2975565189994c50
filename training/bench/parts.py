"""PARTS: what can be measured, and the run over them that prints one table and writes one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from models.model import Model
from models.session import SessionOptions
from models.shelf import RELEASED, Shelf
from training.bench import inputs
from training.bench.gpu import bench_gpu
from training.bench.machine import Others, describe_machine, gemm_calls, gemm_gflops
from training.bench.measure import interleave
from training.bench.radiograph import bench_radiograph
from training.bench.report import Row, missing, show
from training.bench.risk import MANY, bench_risk
from training.bench.service import bench_service
from training.bench.threads import bench_threads
from training.bench.volume import bench_volume


@dataclass(frozen=True)
class Plan:
    """How long and on what. ``seconds`` is for one comparison; parts with several take a multiple."""

    seconds: float
    requests: int
    many: int
    released: Path
    samples: Path
    data: Path


def run(
    out: Path, *, only: list[str] | None = None, requests: int = 5000, seconds: float = 8.0, many: int = MANY,
    released: Path = RELEASED, samples: Path = inputs.SAMPLES, data: Path | None = None, console: Console | None = None,
) -> dict[str, Any]:
    """Run the parts (all, or those in ``only``), print one table, write ``out`` and return what was written.

    Raises ValueError for a part that does not exist. A part whose release or input is not here says so in its rows.
    """
    unknown = set(only or []) - set(PARTS)
    if unknown:
        raise ValueError(f"No part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}.")
    torch.set_num_threads(1)
    console = console or Console()
    root = data or Path(os.environ.get("DIAPHANE_DATA") or inputs.ROOT.parent / "shared" / "data")
    plan = Plan(seconds, requests, many, released, samples, root)
    machine, others, rows = describe_machine(), Others(), []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("bench", total=len(only or PARTS))
        for name in only or PARTS:
            progress.update(bar, description=f"bench: {name}")
            rows += PARTS[name](plan)
            progress.advance(bar)
    peaks = {name: gemm_gflops(times.least_ms / 1000) for name, times in interleave(gemm_calls(), 0.5).items()}
    best = max(peaks, key=lambda name: peaks[name])
    machine |= {"others_share": others.share(), "gemm_gflops": peaks[best], "gemm_by": best.removeprefix("gemm ")}
    report = {"machine": machine, "rows": [row.to_json() for row in rows]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(rows, machine, console)
    console.print(f"written to {out}")
    return report


def _radiograph(plan: Plan) -> list[Row]:
    return _with_model(plan, "radiograph", "image_classification", lambda model: bench_radiograph(
        model, inputs.accepted(model, plan.samples, plan.data)[0], plan.seconds))


def _volume(plan: Plan) -> list[Row]:
    return _with_model(plan, "volume", "volume_segmentation", lambda model: bench_volume(
        model, inputs.accepted(model, plan.samples, plan.data)[0], plan.seconds))


def _risk(plan: Plan) -> list[Row]:
    return _with_model(plan, "risk", "risk", lambda model: bench_risk(model, plan.seconds, many=plan.many))


def _service(plan: Plan) -> list[Row]:
    def measure(model: Model) -> list[Row]:
        _, paths = inputs.accepted(model, plan.samples, plan.data)
        return bench_service(model, paths[0], plan.seconds, plan.requests, released=plan.released)

    return _with_model(plan, "service", "image_classification", measure)


def _threads(plan: Plan) -> list[Row]:
    def measure(model: Model) -> list[Row]:
        volume, _ = inputs.accepted(model, plan.samples, plan.data)
        return bench_threads(model.folder, model.prepare(volume), plan.seconds)

    return [row for task in ("image_classification", "volume_segmentation")
            for row in _with_model(plan, "threads", task, measure)]


def _gpu(plan: Plan) -> list[Row]:
    def measure(model: Model) -> list[Row]:
        volume, _ = inputs.accepted(model, plan.samples, plan.data)
        return bench_gpu(model, model.prepare(volume), plan.seconds)

    return [row for task in ("image_classification", "volume_segmentation")
            for row in _with_model(plan, "gpu", task, measure)]


def _with_model(plan: Plan, part: str, task: str, measure: Callable[[Model], list[Row]]) -> list[Row]:
    """Measure the active release of a task in fp32 on the CPU, the reference; say so when there is none."""
    shelf = Shelf(plan.released, SessionOptions(provider="cpu", precision="fp32"))
    model = next((one for one in shelf.active.values() if one.manifest.task == task), None)
    if model is None:
        return [missing(part, task, f"no release for {task} in {plan.released.name}")]
    try:
        return measure(model)
    except FileNotFoundError as error:
        return [missing(part, task, str(error))]


PARTS: dict[str, Callable[[Plan], list[Row]]] = {
    "radiograph": _radiograph,
    "volume": _volume,
    "risk": _risk,
    "service": _service,
    "threads": _threads,
    "gpu": _gpu,
}
