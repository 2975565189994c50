"""$predict in the background: taking NDJSON in pieces, saying how far a job is, giving what it made, cancelling it.

https://hl7.org/fhir/R4/async.html. A body of any size is held one piece at a time; what was acknowledged with 202 is on
disk, and a process that is killed loses one piece of work, which another does again with the same result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from typing import Any

from anyio import fail_after
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from models.errors import UnusableInput
from models.shelf import Shelf
from service.ehr_house import House
from service.fhir.batch import asks_predict, entries_of
from service.fhir.bulk_work import BulkWork
from service.fhir.datatypes import Json
from service.fhir.exchange import HEADERS, NDJSON, Refused, respond, respond_problem
from service.fhir.metadata import base_of
from service.fhir.outcome import Fault, error, outcome
from service.fhir.predict import KNOWN, Predictor
from service.problem import ProblemError, problem_of
from service.settings import MIB
from service.store import bulk
from service.store.bulk import Piece, Progress
from service.store.retention import drop_leftovers
from service.words import Language

PIECE_LINES, PIECE_BYTES = 50, 4 * MIB
RETRY_S = 5
OUTPUTS = {"bundles.ndjson": ("output", "Bundle"), "errors.ndjson": ("error", "OperationOutcome")}


class Bulk:
    """The addresses of bulk scoring, and the thread that works it off."""

    def __init__(self, house: House, predictor: Callable[[Shelf], Predictor]) -> None:
        self.house = house
        self.work = BulkWork(house, predictor)

    def open(self) -> None:
        """Start the thread."""
        self.work.start()

    def close(self) -> None:
        """Stop it after the record in hand."""
        self.work.stop()

    async def begin(self, request: Request, language: Language) -> Response:
        """Take NDJSON, one Parameters or Bundle a line, and answer where to ask for it."""
        query = {name: value for name, value in request.query_params.items() if name in KNOWN}
        return await self._create(request, request.stream(), query, language)

    async def begin_with(self, request: Request, body: Json, query: dict[str, str], language: Language) -> Response:
        """Take one call of $predict, or a batch of them, to be answered later."""
        bodies = [body]
        if body.get("type") == "batch" and body.get("resourceType") == "Bundle":
            entries = entries_of(body)
            if not entries or not all(asks_predict(one) and isinstance(one.get("resource"), dict) for one in entries):
                rule = "Entries must be POST $predict, each with its resource."
                raise Refused([error("not-supported", "Bundle.entry.request", rule)])
            bodies = [one["resource"] for one in entries]
        lines = [json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in bodies]

        async def stream() -> AsyncIterator[bytes]:
            for line in lines:
                yield line

        return await self._create(request, stream(), query, language)

    async def status(self, request: Request) -> Response:
        """Say how far a job is (202), or what it made (200)."""
        job = await self._found(request)
        if job.state == "quarantined":
            return respond_problem(problem_of("unexpected", "The job could not be finished; the reason is in the service's log."))
        if job.state != "done":
            return respond(outcome([Fault("information", "informational", "", _how_far(job))]), 202,
                           {"x-progress": _how_far(job), "retry-after": str(RETRY_S)})
        base = base_of(request, self.house.settings)
        listed: dict[str, list[Json]] = {"output": [], "error": []}
        for name, (kind, resource_type) in OUTPUTS.items():
            count = sum(lines for _, lines in getattr(job, kind))
            if count:
                listed[kind].append({"type": resource_type, "url": f"{base}/$predict-output/{job.key}/{name}", "count": count})
        return JSONResponse({
            "transactionTime": _instant(job.created_at), "request": f"{base}/$predict",
            "requiresAccessToken": bool(self.house.settings.api_token.get_secret_value()), **listed,
            "extension": {"lines": job.total, "scored": job.scored, "refused": job.refused, "unusable": job.unusable,
                          "seconds": round(job.seconds, 1)},
        }, 200, HEADERS)

    async def output(self, request: Request) -> Response:
        """Give one file of a finished job, piece by piece."""
        job = await self._found(request)
        name = request.path_params["name"]
        if job.state != "done" or name not in OUTPUTS:
            raise ProblemError("not_found", "A job that is done has files, and its status lists them; there is none of that name.")
        files = getattr(job, OUTPUTS[name][0])

        async def pieces() -> AsyncIterator[bytes]:
            for sha256, _ in files:
                yield await run_in_threadpool(self.house.store.objects.get, sha256)

        return StreamingResponse(pieces(), 200, HEADERS, NDJSON)

    async def cancel(self, request: Request) -> Response:
        """End a job and remove what it made."""
        if not await run_in_threadpool(bulk.cancel, self.house.store, request.path_params["job"]):
            raise _no_job()
        await run_in_threadpool(drop_leftovers, self.house.store)
        return Response(status_code=202, headers=HEADERS)

    async def _found(self, request: Request) -> Progress:
        job = await run_in_threadpool(bulk.progress_of, self.house.store, request.path_params["job"])
        if job is None:
            raise _no_job()
        return job

    async def _create(self, request: Request, stream: AsyncIterator[bytes], query: dict[str, str], language: Language) -> Response:
        store, settings = self.house.store, self.house.settings
        await run_in_threadpool(store.check_room)
        cutter = Cutter(settings.max_record_body_mib * MIB)
        pieces: list[Piece] = []
        try:
            async for data in _in_time(stream, settings.upload_timeout_s):
                for first, count, content in cutter.feed(data):
                    pieces.append(Piece(await run_in_threadpool(store.objects.put, content), first, count))
        except TimeoutError:
            raise ProblemError("upload_too_slow", "The body did not arrive in time. Send it again.") from None
        for first, count, content in cutter.rest():
            pieces.append(Piece(await run_in_threadpool(store.objects.put, content), first, count))
        if not pieces:
            raise ProblemError("empty_body", "Send one Parameters or Bundle a line.")
        key = await run_in_threadpool(lambda: bulk.create(
            store, request={"query": query, "language": language}, input_sha256=cutter.digest.hexdigest(), pieces=pieces))
        self.work.wake()
        place = f"{base_of(request, settings)}/$predict-status/{key}"
        total = sum(one.lines for one in pieces)
        said = f"{total} records are taken; ask Content-Location how far they are."
        told = outcome([Fault("information", "informational", "", said)])
        return respond(told, 202, {"content-location": place, "preference-applied": "respond-async"})


@dataclass
class Cutter:
    """Cuts a stream of bytes into pieces of whole lines: (number of the first line, lines that are not blank, content)."""

    longest_line: int
    digest: Any = field(default_factory=hashlib.sha256)
    _lines: list[bytes] = field(default_factory=list)
    _open: list[bytes] = field(default_factory=list)  # of the line that has not ended yet
    _open_bytes: int = 0
    _bytes: int = 0
    _next: int = 1

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Take some bytes; return the pieces that are full. Raises UnusableInput for a line that is too long."""
        self.digest.update(data)
        made = []
        *whole, last = data.split(b"\n")
        for end in whole:
            self._extend(end)
            self._close_line()
            if len(self._lines) >= PIECE_LINES or self._bytes >= PIECE_BYTES:
                made += self._cut()
        self._extend(last)
        return made

    def rest(self) -> list[tuple[int, int, bytes]]:
        """Return what is left when the stream has ended."""
        if self._open_bytes:
            self._close_line()
        return self._cut()

    def _extend(self, data: bytes) -> None:
        if data:
            self._open.append(data)
            self._open_bytes += len(data)
        if self._open_bytes > self.longest_line:
            raise UnusableInput(f"A line must be at most {self.longest_line // MIB} MiB, found a longer one. Send each stay alone.",
                                code="too_large")

    def _close_line(self) -> None:
        self._lines.append(b"".join(self._open))
        self._bytes += self._open_bytes
        self._open, self._open_bytes = [], 0

    def _cut(self) -> list[tuple[int, int, bytes]]:
        lines, first = self._lines, self._next
        self._next += len(lines)
        self._lines, self._bytes = [], 0
        count = sum(bool(line.strip()) for line in lines)
        return [(first, count, b"\n".join(lines))] if count else []


async def _in_time(stream: AsyncIterator[bytes], quiet_s: float) -> AsyncIterator[bytes]:
    """Pass a stream on as long as it does not pause for ``quiet_s``. Raises TimeoutError."""
    while True:
        with fail_after(quiet_s):
            try:
                data = await anext(stream)
            except StopAsyncIteration:
                return
        yield data


def _how_far(job: Progress) -> str:
    told = f"{job.done} of {job.total} records"
    if not job.seconds or not job.done:
        return told
    rate = job.done / job.seconds
    return f"{told}, {rate:.1f} a second, about {ceil((job.total - job.done) / rate)} s left"


def _no_job() -> ProblemError:
    return ProblemError("not_found", "There is no such job: it was deleted, or never began.")


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
