"""What a run over an archive costs above a bare loop over Model.predict, as ratios of one interleaved run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from time import perf_counter

from models.model import Model
from models.session import SessionOptions
from training.archive.cases import Case
from training.archive.engines import Local
from training.archive.plan import Plan
from training.archive.scored import names_of
from training.archive.source import source_of


def bench(plan: Plan, cases: list[Case], *, workers: tuple[int, ...] = (1, 2), rounds: int = 5) -> dict[str, float]:
    """Return the time of each number of workers as a share of the bare loop's: the median over rounds, each beside its own loop.

    The bare loop opens, reads and predicts the same cases, a thread, without rows, processes or journal. Starting the
    processes is not counted: it is seconds, once.
    """
    names = names_of(Path(plan.out))
    with ExitStack() as held:
        source = held.enter_context(closing(source_of(plan, names)))
        model = Model(Path(plan.release), SessionOptions(threads=1))
        engines = {number: held.enter_context(Local(plan, names.key, number)) for number in workers}

        def bare() -> None:
            for case in cases:
                model.predict(source.open(case.where).input)

        ways: dict[str, Callable[[], object]] = {"bare": bare}
        for number, engine in engines.items():
            ways[str(number)] = partial(_through, engine, cases)
        took: dict[str, list[float]] = {name: [] for name in ways}
        for place in range(rounds + 1):  # the first warms up, and starts the processes
            for name, way in ways.items():
                started = perf_counter()
                way()
                if place:
                    took[name].append(perf_counter() - started)
    return {name: statistics.median(mine / loop for mine, loop in zip(took[name], took["bare"], strict=True))
            for name in took if name != "bare"}


def _through(engine: Local, cases: list[Case]) -> None:
    for _ in engine.run(cases):
        pass
