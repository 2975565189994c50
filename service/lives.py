"""What every long-running process of the service shares: it ends in order on SIGTERM, and dies with its parent."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from service.logs import where

log = logging.getLogger("diaphane")
LONGEST_PAUSE_S = 30.0


def stop_event() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set. Call it from the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def name_of_process(kind: str) -> str:
    """Name this process in a lease: kind, host, pid and a random part, so that a reused pid is not taken for it."""
    return f"{kind}@{socket.gethostname()[:24]}:{os.getpid()}:{secrets.token_hex(3)}"


def repeat(step: Callable[[], bool], stop: threading.Event, *, idle_s: float) -> None:
    """Call ``step`` until stopped: again at once while it says True, after ``idle_s`` when there was nothing to do.

    What it raises is logged by class and place, and followed by a growing pause: a database that is away comes back.
    """
    pause_s = idle_s
    while not stop.is_set():
        try:
            busy = step()
        except Exception as error:
            pause_s = min(LONGEST_PAUSE_S, max(1.0, 2 * pause_s))
            log.error("%s; trying again in %.0f s", where(error), pause_s)
            stop.wait(pause_s)
        else:
            pause_s = idle_s
            if not busy:
                stop.wait(idle_s)


class Background:
    """Work in a thread of its own, begun and ended with the room it belongs to. ``work`` ends soon after ``stop`` is set."""

    def __init__(self, work: Callable[[], None], name: str, *, daemon: bool = False) -> None:
        self._work, self._name, self._daemon = work, name, daemon
        self.stop = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin."""
        self.stop.clear()
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=self._daemon)
        self._thread.start()

    def close(self) -> None:
        """Ask the work to end, and wait for it."""
        self.stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def end(process: subprocess.Popen[Any], patience_s: float, *, session: bool = False) -> None:
    """Ask a process to end, and make it; with ``session`` all that it started too: a session of its own was made for it."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        if session:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
