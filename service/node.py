"""Node: every process of an installation under one roof, each started again when it dies.

    python -m service node     HTTP · DICOM receiver · workers · deliverer      SIGTERM ends them in order

A hospital that has a supervisor of its own (systemd, Kubernetes) starts the same commands one by one instead.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from service.lives import LONGEST_PAUSE_S
from service.serve import WITH_PARENT
from service.settings import Settings, to_environ

log = logging.getLogger("diaphane")
STEADY_S = 60.0  # a process that lived so long starts again at once


@dataclass
class Child:
    """One process of the node."""

    command: str
    pause_s: float = 0.0
    start_at: float = 0.0
    started_at: float = 0.0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)


def commands(workers: int, *, http: bool = True, deliver: bool = True) -> list[str]:
    """Name the processes of a node, in the order of starting."""
    return [*(["start"] if http else []), "listen", *["work"] * workers, *(["deliver"] if deliver else [])]


def run(settings: Settings, names: list[str], stop: threading.Event) -> None:
    """Start the processes and keep them up until stopped, then end them and wait."""
    environ = {**os.environ, **to_environ(settings), WITH_PARENT: str(os.getpid())}
    children = [Child(name) for name in names]
    while not stop.is_set():
        for child in children:
            _keep_up(child, environ, time.monotonic())
        stop.wait(0.1)
    for child in children:
        if child.process and child.process.poll() is None:
            child.process.send_signal(signal.SIGTERM)
    patience = time.monotonic() + settings.drain_s + 5
    for child in children:
        if child.process:
            try:
                child.process.wait(max(0.1, patience - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()


def _keep_up(child: Child, environ: dict[str, str], now: float) -> None:
    if child.process is not None and child.process.poll() is not None:
        lived_s = now - child.started_at
        child.pause_s = 0.0 if lived_s > STEADY_S else min(LONGEST_PAUSE_S, max(0.5, 2 * child.pause_s))
        child.start_at = now + child.pause_s
        log.warning("%s ended with %s; starting it again in %.1f s", child.command, child.process.returncode, child.pause_s)
        child.process = None
    if child.process is None and now >= child.start_at:
        child.started_at = now
        child.process = subprocess.Popen([sys.executable, "-m", "service", child.command], env=environ)  # noqa: S603  our own
