"""ENGINES: who runs the scoring processes. Local threads that hold one each; or Dask or Ray workers, which do exactly the same.

Why plain tasks and not Ray Data: a dataset of one column of places would be read, batched and written by us anyway, and its pool
of actors stands still when it takes every core. Dask and Ray are extras, imported when asked for (BSD-3-Clause; Apache-2.0).
"""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol, Self

from models.errors import DiaphaneError
from training.archive.cases import Case, case_of_line
from training.archive.child import ROOT, Child
from training.archive.plan import Plan, plan_of
from training.archive.score_case import WORKER_DIED, Outcome, outcome_of

AHEAD = 2  # cases waiting at every worker of a cluster, so that none waits for us


class NoEngine(DiaphaneError):
    """An engine is not installed or cannot be reached."""


class Engine(Protocol):
    """``with ENGINES[name](plan, key, workers, address) as engine:`` outcomes come in the order they are ready."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, cases: Iterable[Case]) -> Iterator[Outcome]:
        """Yield one outcome a case."""


class Local:
    """Processes of this machine, a thread for each."""

    def __init__(self, plan: Plan, key: bytes, workers: int, address: str = "") -> None:
        del address
        self.children = [Child(plan, key) for _ in range(workers)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.end()

    def run(self, cases: Iterable[Case]) -> Iterator[Outcome]:
        """Yield outcomes. Raises what a thread met, such as BrokenModel."""
        waiting, lock = iter(cases), threading.Lock()
        done: queue.Queue[Outcome | BaseException | None] = queue.Queue()

        def work(child: Child) -> None:
            try:
                while True:
                    with lock:
                        case = next(waiting, None)
                    if case is None:
                        break
                    done.put(child.score(case))
            except BaseException as error:  # it is raised again in the thread that asked
                done.put(error)
            done.put(None)

        threads = [threading.Thread(target=work, args=(child,), daemon=True) for child in self.children]
        for thread in threads:
            thread.start()
        ended = 0
        while ended < len(threads):
            one = done.get()
            if one is None:
                ended += 1
            elif isinstance(one, BaseException):
                raise one
            else:
                yield one


class OnDask:
    """Workers of Dask: those of a scheduler that runs already, or of a cluster on this machine for the time of the run."""

    def __init__(self, plan: Plan, key: bytes, workers: int, address: str = "") -> None:
        try:
            from dask import config  # noqa: PLC0415  an extra
            from distributed import Client, LocalCluster  # noqa: PLC0415
        except ImportError as error:
            raise NoEngine("Dask must be installed for --engine dask: pip install diaphane[dask].") from error
        config.set({"distributed.comm.timeouts.connect": "30s"})
        self._cluster = None if address else LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0, silence_logs=50,
            security=True)  # certificates of its own: whoever reaches a scheduler runs code, also a neighbour on this machine
        self._client = Client(address or self._cluster, set_as_default=False)
        self._told = _told(plan, key)
        self._run, self._tries = secrets.token_hex(4), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # a worker that is gone has nothing to let go of
            self._client.run(let_go)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def run(self, cases: Iterable[Case]) -> Iterator[Outcome]:
        """Yield outcomes. A worker that dies gives its cases to another; a case that goes on killing workers is lost."""
        from distributed import as_completed  # noqa: PLC0415  an extra

        self._tries += 1
        waiting = iter(cases)
        ahead = AHEAD * max(1, len(self._client.scheduler_info()["workers"]))
        ready = as_completed([self._submit(one) for one in islice(waiting, ahead)], loop=self._client.loop)
        for future in ready:
            error = future.exception()
            case = future.key.rpartition("-")[0]
            yield Outcome(case, lost=WORKER_DIED) if error is not None else _answered(future.result())
            future.release()
            for one in islice(waiting, 1):
                ready.add(self._submit(one))

    def _submit(self, case: Case) -> Any:
        return self._client.submit(score_here, self._told, case.to_line(), key=f"{case.case}-{self._run}{self._tries}", pure=False)


class OnRay:
    """Workers of Ray: those of a cluster that runs already, or of this machine for the time of the run."""

    def __init__(self, plan: Plan, key: bytes, workers: int, address: str = "") -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers that it runs
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if not address:  # it listens to the network, and whoever reaches it runs code: only who knows this word
            os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
        try:
            import ray  # noqa: PLC0415  an extra
        except ImportError as error:
            raise NoEngine("Ray must be installed for --engine ray: pip install diaphane[ray].") from error
        self._ray = ray
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))}
        ray.init(address=address or None, num_cpus=None if address else workers,
                 include_dashboard=None if address else False, log_to_driver=False, logging_level=logging.ERROR,
                 runtime_env={"env_vars": environment})
        self._score = ray.remote(num_cpus=1, max_retries=3)(score_here)
        self._told = ray.put(_told(plan, key))
        self._workers = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self, cases: Iterable[Case]) -> Iterator[Outcome]:
        """Yield outcomes. A worker that dies gives its case to another; a case that goes on killing workers is lost."""
        waiting = iter(cases)
        running = {self._submit(one): one.case for one in islice(waiting, AHEAD * self._workers)}
        while running:
            (ready, *_), _ = self._ray.wait(list(running), num_returns=1)
            case = running.pop(ready)
            try:
                outcome = _answered(self._ray.get(ready))
            except self._ray.exceptions.RayError:
                outcome = Outcome(case, lost=WORKER_DIED)
            yield outcome
            for one in islice(waiting, 1):
                running[self._submit(one)] = one.case

    def _submit(self, case: Case) -> Any:
        return self._score.remote(self._told, case.to_line())


ENGINES: dict[str, Callable[[Plan, bytes, int, str], Engine]] = {"local": Local, "dask": OnDask, "ray": OnRay}


# In a worker of a cluster ---------------------------------------------------------------------------------------------

_children: dict[tuple[int, str], Child] = {}


def score_here(told: str, line: str) -> str:
    """Score one case in this worker's own process, which stays for the next. Nothing is raised: engines write arguments to logs."""
    held = (threading.get_ident(), told)
    try:
        if held not in _children:
            plan = json.loads(told)
            _children[held] = Child(plan_of(plan["plan"]), bytes.fromhex(plan["key"]))
        return json.dumps(_children[held].score(case_of_line(line)).to_json())
    except DiaphaneError as error:
        return json.dumps({"broken": str(error)})


def let_go() -> None:
    """End the processes that this worker holds."""
    while _children:
        _children.popitem()[1].end()


def _told(plan: Plan, key: bytes) -> str:
    return json.dumps({"plan": plan.to_json(), "key": key.hex()})


def _answered(told: str) -> Outcome:
    answer = json.loads(told)
    if "broken" in answer:
        raise NoEngine(f"A worker of the cluster cannot score: {answer['broken']}")
    return outcome_of(answer)
