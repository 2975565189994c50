"""Every address under /dicom-web on one screen: STOW-RS, QIDO-RS, WADO-RS (PS3.18, chapter 10) and UPS-RS (chapter 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from service import queues
from service.decode import Decoder
from service.dicom.qido import search
from service.dicom.steps import is_uid
from service.dicom.stow import Stow, root_of
from service.dicom.ups import Refused, Ups, body_of
from service.dicom.wado import Wado, in_thread
from service.monitor import measured
from service.problem import ProblemError
from service.settings import Settings
from service.store.inbox import Inbox
from service.store.ledger import counts
from service.store.store import Store

ROOT = "/dicom-web"
DECODING = 3  # objects being taken from the store and decoded at once; others wait and leave the threads to searches
_STUDY = f"{ROOT}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
_WORKLIST = f"{ROOT}/workitems"
_WORKITEM = f"{_WORKLIST}/{{workitem}}"
_FRAMES = f"{_INSTANCE}/frames/{{frames}}"
SEARCHES = {
    f"{ROOT}/studies": "studies", f"{ROOT}/series": "series", f"{ROOT}/instances": "instances",
    f"{_STUDY}/series": "series", f"{_STUDY}/instances": "instances", f"{_SERIES}/instances": "instances",
}
Answer = Callable[[Request], Awaitable[Response]]


class DicomWeb:
    """The store as DICOMweb shows it. Opened at the start of the process, closed at its end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store: Store | None = None

    def open(self) -> None:
        """Open the store. Raises StoreError saying what to do."""
        told = self.settings
        store = Store.open(told)
        self._inbox = Inbox(store, quiet_s=told.quiet_s, release_quiet_s=told.release_quiet_s)
        self._decoder = Decoder(timeout_s=told.decode_timeout_s, memory_mib=told.decode_memory_mib)
        self._decoding = asyncio.Semaphore(DECODING)
        self._stow = Stow(told, self._inbox)
        self._store = store

    def close(self) -> None:
        """Wait for what is being written, then close."""
        if self._store is not None:
            store, self._store = self._store, None
            self._stow.close()
            self._inbox.close()
            self._decoder.close()
            store.close()

    @property
    def store(self) -> Store:
        """The open store. Raises ProblemError (503) before that."""
        if self._store is None:
            raise ProblemError("not_ready", "The store is not open yet. Try again.", retry_after_s=2)
        return self._store

    def queues(self) -> bytes:
        """Give the lengths of the queues and what the monitor last found for /metrics."""
        return queues.text(counts(self.store)) + measured.text(self.store)

    def routes(self) -> list[BaseRoute]:
        """List the addresses."""
        get, study, series, instance = ["GET"], _STUDY, _SERIES, _INSTANCE
        return [
            Route(f"{ROOT}/studies", self.stow, methods=["POST"]),
            Route(study, self.stow, methods=["POST"]),
            *(Route(path, self._search(level), methods=get) for path, level in SEARCHES.items()),
            *(Route(path, self._wado(Wado.retrieve), methods=get) for path in (study, series, instance)),
            *(Route(f"{path}/metadata", self._wado(Wado.metadata), methods=get) for path in (study, series, instance)),
            *(Route(f"{path}/thumbnail", self._wado(Wado.thumbnail), methods=get) for path in (study, series, instance, _FRAMES)),
            *(Route(f"{path}/rendered", self._wado(Wado.rendered), methods=get) for path in (instance, _FRAMES)),
            Route(_FRAMES, self._wado(Wado.frames), methods=get),
            Route(f"{instance}/bulkdata/{{path}}", self._wado(Wado.bulkdata), methods=get),
            Route(_WORKLIST, self._ups(lambda ups, request, _: ups.search(request)), methods=get),
            Route(_WORKLIST, self._ups(lambda ups, request, body: ups.create(request, body, root_of(request))), methods=["POST"]),
            Route(_WORKITEM, self._ups(lambda ups, request, _: ups.retrieve(request)), methods=get),
            Route(_WORKITEM, self._ups(Ups.update), methods=["POST"]),
            Route(f"{_WORKITEM}/state", self._ups(Ups.change_state), methods=["PUT"]),
            Route(f"{_WORKITEM}/cancelrequest", self._ups(Ups.request_cancellation), methods=["POST"]),
            Route(f"{_WORKITEM}/subscribers/{{rest:path}}", no_subscriptions, methods=["POST", "DELETE"]),
        ]

    def _ups(self, work: Callable[[Ups, Request, bytes], Response]) -> Answer:
        async def answer(request: Request) -> Response:
            check_address(request)
            ups = Ups(self.store)
            try:
                return await in_thread(work, ups, request, await body_of(request, self.settings.upload_timeout_s))
            except Refused as refused:
                return refused.response()

        return answer

    def _search(self, level: str) -> Answer:
        async def answer(request: Request) -> Response:
            check_address(request)
            return await in_thread(partial(search, request, self.store, level, root_of(request)))

        return answer

    def _wado(self, work: Callable[[Wado, Request], Awaitable[Response]]) -> Answer:
        async def answer(request: Request) -> Response:
            check_address(request)
            return await work(Wado(self.store, self._decoder, self._decoding), request)

        return answer

    async def stow(self, request: Request) -> Response:
        """Store objects."""
        _ = self.store
        check_address(request)
        return await self._stow.store(request)


async def no_subscriptions(_: Request) -> Response:
    """Answer POST and DELETE …/subscribers/{ae}."""
    raise ProblemError("not_supported", "There are no subscriptions here. Retrieve or search the workitem again.")


def check_address(request: Request) -> None:
    """Raise ProblemError when the address names a study, series, instance or workitem by what cannot be a UID (PS3.5, 9.1)."""
    for name in ("study", "series", "instance", "workitem"):
        if not is_uid(request.path_params.get(name, "0")):
            raise ProblemError("bad_uid", "A UID in an address must be digits and dots, at most 64 characters (PS3.5, 9.1).")
