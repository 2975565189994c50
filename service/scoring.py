"""Scoring: the releases of this process, whether they are ready, and the few threads that do the work."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from models.check import check_model
from models.errors import BrokenModel
from models.session import SessionOptions
from models.shelf import RELEASED, Shelf
from service.problem import ProblemError
from service.reading import Reading
from service.settings import Settings

log = logging.getLogger("diaphane")
T = TypeVar("T")


class Stop:
    """Tells work in a thread that nobody waits for it any more."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the work to end at its next step."""
        self._event.set()

    def check(self) -> None:
        """End the work here when nobody waits for it. Raises ProblemError."""
        if self._event.is_set():
            raise ProblemError("timeout", "The answer took too long. Send fewer objects in one request.")


class Scoring:
    """Open the releases in the background, then run work on at most ``concurrent_scorings`` threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fault = "the releases are being opened and checked"
        self._shelf: Shelf | None = None
        self.view: Callable[[Shelf], Shelf] = _as_it_is
        self.reading = Reading(settings)
        self._threads = ThreadPoolExecutor(settings.concurrent_scorings, thread_name_prefix="score")
        self._opening = threading.Thread(target=self.open, name="open-releases", daemon=True)

    @property
    def ready(self) -> bool:
        """Tell whether every release is open and has reproduced its golden inputs."""
        return self._shelf is not None

    @property
    def shelf(self) -> Shelf:
        """The open releases, of which those are active that are live here now. Raises ProblemError while there are none."""
        return self.view(self.installed)

    @property
    def installed(self) -> Shelf:
        """The open releases, whatever they do here. Raises ProblemError while there are none."""
        if self._shelf is None:
            raise ProblemError("not_ready", f"Not ready: {self.fault}.", retry_after_s=2)
        return self._shelf

    def start(self) -> None:
        """Begin opening the releases."""
        self._opening.start()

    def stop(self) -> None:
        """Let running work finish, and take no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.reading.close()

    def open(self) -> None:
        """Open every release and reproduce its golden inputs; a broken one keeps the service from being ready."""
        settings, began = self.settings, time.perf_counter()
        try:
            self._shelf = open_shelf(settings)
        except BrokenModel as error:
            self.fault = "a release did not pass its checks; the service's log names it"
            log.error("not ready: %s", error)
        except Exception as error:
            self.fault = "the releases could not be opened; the service's log says why"
            log.exception("not ready: %s", type(error).__name__)
        else:
            log.info("ready with %s after %.1f s", ", ".join(self._shelf.models) or "no release",
                     time.perf_counter() - began)

    async def run(self, work: Callable[[Shelf, Stop], T]) -> T:
        """Run ``work`` in a thread; give up waiting after ``timeout_s``. Raises ProblemError."""
        shelf, stop = self.shelf, Stop()
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, shelf, stop)
        try:
            return await asyncio.wait_for(future, self.settings.timeout_s)
        except TimeoutError:
            raise ProblemError("timeout", "The answer took too long. Send fewer objects in one request.",
                               retry_after_s=1) from None
        finally:
            stop.set()


def _as_it_is(shelf: Shelf) -> Shelf:
    """Without a store nobody can have decided anything: the active releases serve."""
    return shelf


def open_shelf(settings: Settings) -> Shelf:
    """Open the releases the settings name, and check every one. Raises BrokenModel."""
    options = SessionOptions(provider=settings.provider, precision=settings.precision, threads=settings.session_threads)
    shelf = Shelf(settings.released or RELEASED, options)
    for model in shelf.models.values():
        check_model(model)
    return shelf
