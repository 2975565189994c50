"""A scoring process and how to hold it: one case at a time, killed when it takes too long, begun again when it died."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.errors import BrokenModel
from training.archive.cases import Case
from training.archive.plan import Plan
from training.archive.score_case import TIME, WORKER_DIED, Outcome, outcome_of
from training.archive.scored import PRIVATE

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
START_PAUSES_S = (0.0, 0.5, 5.0)
LOG = "workers.log"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Child:
    """One process, started when it is first needed. It is used by one thread, and may be ended by another."""

    def __init__(self, plan: Plan, key: bytes) -> None:
        self.plan, self.key = plan, key
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._lock = threading.Lock()
        self._ended = False

    @property
    def pid(self) -> int | None:
        """The process, if it lives."""
        return None if self._process is None else self._process.pid

    def score(self, case: Case) -> Outcome:
        """Return the outcome of a case; ``lost`` says that the process died of it or beside it, or took too long.

        Raises BrokenModel for a release that cannot be opened.
        """
        started = time.perf_counter()
        if self._process is None or self._process.poll() is not None:
            self._open()
        line = self._ask(case.to_line().encode() + b"\n", self.plan.timeout_s)
        if isinstance(line, bytes):
            return outcome_of(json.loads(line))
        self._reap()
        return Outcome(case.case, seconds=time.perf_counter() - started, lost=line)

    def end(self) -> None:
        """End the process for good."""
        with self._lock:
            self._ended = True
        self._reap()

    def _open(self) -> None:
        """Start the process; again if it died, for it may have been killed as any other may."""
        for pause_s in START_PAUSES_S:
            time.sleep(pause_s)
            said = self._start()
            if not said:
                return
        raise BrokenModel(f"A scoring process must open the release, it did not: {said}. See {PRIVATE}/{LOG}.")

    def _start(self) -> str:
        """Start the process and return why it is not ready, "" when it is. Raises BrokenModel when it says so itself."""
        self._reap()
        environment = os.environ | dict.fromkeys(_THREADS, "1") | {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))}
        with self._lock:
            if self._ended:
                raise BrokenModel("The scoring processes have been stopped.")
            with _log(Path(self.plan.out)) as log:
                self._process = subprocess.Popen([sys.executable, "-m", "training.archive.worker"], stdin=subprocess.PIPE,
                                                 stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True)
        told = self._ask(json.dumps({"plan": self.plan.to_json(), "key": self.key.hex()}).encode() + b"\n", START_S)
        if not isinstance(told, bytes):
            return f"{told}, exit {self._reap()}"
        answer: dict[str, Any] = json.loads(told)
        if "broken" in answer:
            self._reap()
            raise BrokenModel(answer["broken"])
        return ""

    def _ask(self, line: bytes, within_s: float) -> bytes | str:
        """Write a line and return the next one that comes, or why none came."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return WORKER_DIED
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except (OSError, ValueError):
            return WORKER_DIED
        until = time.monotonic() + within_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return TIME
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                return WORKER_DIED
            self._rest += piece
        found, _, self._rest = self._rest.partition(b"\n")
        return found

    def _reap(self) -> int | None:
        """End the process and return its exit status, negative when a signal ended it."""
        with self._lock:
            process, self._process, self._rest = self._process, None, b""
        if process is None:
            return None
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was still to be written goes nowhere
                    pipe.close()
        return process.wait()


def _log(out: Path) -> Any:
    """Open what the processes print: for the owner alone, since libraries quote what they read. Elsewhere than here: nowhere."""
    folder = out / PRIVATE
    if not folder.is_dir():
        return Path(os.devnull).open("ab")
    return os.fdopen(os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
