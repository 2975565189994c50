"""Live: an event stream (SSE) says which lines changed, by their random keys alone; the page asks for those it wants to show.

One look a second at the number of the last change serves all streams of a process. A stream that was away says with
Last-Event-ID up to which number it heard. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.access.caller import Caller, caller_of
from service.logs import where
from service.problem import ProblemError
from service.review.page import HEADERS, ReviewDesk
from service.review.worklist.sight import sees
from service.store import entries
from service.store.entries import Changes

log = logging.getLogger("diaphane")
EVERY_S = 1.0
HEARTBEAT_S = 10.0  # proxies cut what is silent for long; and the Gate ends a stream at a beat once its session ended
RETRY_MS = 3000
MOST_STREAMS = 400  # of one process
MOST_OF_ONE = 8  # of one session: a browser opens six connections to one address
MOST_WAITING = 100  # changes a stream may be behind: then it begins anew


class Events:
    """The streams of one process."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk = desk
        self.number: int | None = None  # up to which all streams were told
        self._streams: dict[asyncio.Queue[Changes | None], str] = {}
        self._looking: asyncio.Task[None] | None = None

    async def answer(self, request: Request) -> Response:
        """Open a stream from the last change on, or from the one that was heard last. Raises ProblemError."""
        caller = caller_of(request)
        whose = caller.session or caller.subject
        if len(self._streams) >= MOST_STREAMS or Counter(self._streams.values())[whose] >= MOST_OF_ONE:
            raise ProblemError("too_many_requests", "Too many live lists are open. Close some, or load this one again.",
                               retry_after_s=int(HEARTBEAT_S))
        after = _number(request.headers.get("last-event-id") or request.query_params.get("after") or "")
        headers = {**HEADERS, "x-accel-buffering": "no"}  # a proxy must not collect what is meant to come at once
        return StreamingResponse(self._told(caller, whose, after), 200, headers, "text/event-stream")

    async def _told(self, caller: Caller, whose: str, after: int | None) -> AsyncIterator[bytes]:
        """Say what the caller may know of, from the number ``after`` on."""
        queue: asyncio.Queue[Changes | None] = asyncio.Queue(MOST_WAITING)
        self._streams[queue] = whose
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            store = self.desk.house.store
            number = await self.desk.look(entries.last_number, store)
            self.number = number if self.number is None else min(self.number, number)  # told again what another stream missed
            heard = number if after is None else after
            yield f"retry: {RETRY_MS}\nid: {heard}\n\n".encode()
            if heard < number:
                missed = await self.desk.look(entries.changes, store, heard)
                if missed.number < number:  # too much was missed to be told one by one
                    missed = Changes(number, (), gap=True)
                yield _event(missed, caller, heard)
                heard = missed.number
            while True:
                try:
                    changes = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    yield b":\n\n"
                    continue
                if changes is None:
                    return
                if changes.number > heard:
                    yield _event(changes, caller, heard)
                    heard = changes.number
        finally:
            self._streams.pop(queue, None)

    async def _look(self) -> None:
        """Tell all streams what changed, while there are any."""
        while self._streams:
            await asyncio.sleep(EVERY_S)
            if self.number is None:  # the first stream has not begun yet
                continue
            try:
                changes = await self.desk.look(entries.changes, self.desk.house.store, self.number)
            except Exception as error:  # the database is away, or the house closes: the streams wait, or are hung up
                log.warning("live list: %s", where(error))
                await asyncio.sleep(5 * EVERY_S)
                continue
            if changes.number > self.number:
                self.number = changes.number
                self._tell(changes)
        self.number = None

    def _tell(self, changes: Changes) -> None:
        for queue in list(self._streams):
            try:
                queue.put_nowait(changes)
            except asyncio.QueueFull:  # it does not read: hung up, its page comes back for what it missed
                del self._streams[queue]
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)


def _event(changes: Changes, caller: Caller, heard: int) -> bytes:
    """Write an event. One that says nothing to this caller still moves the number that a page comes back with."""
    keys = [one.key for one in changes.lines if one.number > heard and sees(caller, one.kind, one.department, one.models)]
    if not keys and not changes.gap:
        return f"id: {changes.number}\n\n".encode()
    return f"event: change\nid: {changes.number}\ndata: {json.dumps({'keys': keys, 'gap': changes.gap})}\n\n".encode()


def _number(told: str) -> int | None:
    return int(told) if told.isascii() and told.isdigit() and len(told) < 19 else None
