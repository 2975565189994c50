"""Guard: the ASGI middleware every request passes: limits, token, counting by route, and the last net for errors.

What it logs is method, route template, status, time and a random number; never a path, a query, a header or a body.
"""

from __future__ import annotations

import hmac
import logging
import math
import secrets
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.fhir.problems import READ_NDJSON, respond_problem
from service.front import STREAMS  # the room bounds their number, and their time says nothing
from service.logs import where
from service.metrics import Metrics
from service.problem import from_exception, problem_of, respond
from service.settings import MIB, Settings

log = logging.getLogger("diaphane")
DENIED = frozenset({"/docs.json", "/schema.json"})  # BentoML's own description of an API that is not ours
ELSEWHERE = "/{rest:path}"  # the route of every address that is not ours
SMALL_BODY = 64 * 1024
WORKITEM_BODY = MIB
_WITH_TOKEN = ("/v1", "/dicom-web", "/fhir")  # /cds-services checks the signed token of its callers itself
_PROBES = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Guard:
    """Wrap an ASGI app. Counts are per process."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics
        self.running = 0
        self.held_bytes = 0
        self._token = settings.api_token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = respond_problem if scope["path"] == "/fhir" or scope["path"].startswith("/fhir/") else respond
        passing = _Passing(receive, send, _limit_of(scope, self.settings), self, streamed=_is_bulk(scope))
        probe = scope["path"] in _PROBES
        counted = not probe and scope["path"] not in STREAMS
        self.running += counted
        self.metrics.running.set(self.running)
        try:
            code, detail = self._refused(scope, passing.limit, probe)
            if code:
                await answer(problem_of(code, detail), retry_after_s=1 if code in _RETRY else None,
                             close=code == "body_too_large")(scope, receive, passing.send)
            else:
                await self.app(scope, passing.receive, passing.send)
        except ClientDisconnect:
            pass  # the sender is gone, or was cut off by a limit: then the answer follows below
        except Exception as error:
            log.error("unexpected %s", where(error))
            if not passing.status:
                await answer(from_exception(error))(scope, receive, passing.send)
        finally:
            self.running -= counted
            self.held_bytes -= passing.held
            self.metrics.running.set(self.running)
            self.metrics.bodies.set(self.held_bytes)
        if passing.over:
            problem = _OVER[passing.over]
            passing.over = ""
            await answer(problem, retry_after_s=1 if problem.code in _RETRY else None, close=True)(
                scope, receive, passing.send)
        self._count(scope, passing.status, time.perf_counter() - started)

    def _refused(self, scope: Scope, limit: float, probe: bool) -> tuple[str, str]:
        headers = dict(scope["headers"])
        if scope["path"] in DENIED:
            return "not_found", "There is nothing here. The API is described at /v1/openapi.json."
        if probe:
            return "", ""
        if self._token and not self.settings.review and scope["path"].startswith(_WITH_TOKEN):  # else the Gate asks, and knows more
            sent = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
            if not hmac.compare_digest(sent, self._token):
                return "no_token", "Send the header 'Authorization: Bearer <token>' with the token you were given."
        if self.running > self.settings.max_requests:
            return "too_many_requests", f"{self.settings.max_requests} requests are being answered. Try again."
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > limit:
            return "body_too_large", _OVER["body_too_large"].detail
        return "", ""

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "none"
        route = "elsewhere" if route == ELSEWHERE else route
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self.metrics.requests.labels(method, route, str(status or "gone")).inc()
        if scope["path"] not in STREAMS:
            self.metrics.seconds.labels(route).observe(seconds)
        level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
        if log.isEnabledFor(level):
            number = scope.get("state", {}).get("request_id") or new_request_id()
            log.log(level, "%s %s %s %.1f ms %s", method, route, status or "gone", seconds * 1000, number)


class _Passing:
    """One request on its way through: counts its body and watches its answer.

    A body without limit is not held here; of one that is read line by line (``streamed``), no more than its longest line.
    """

    def __init__(self, receive: Receive, send: Send, limit: float, guard: Guard, *, streamed: bool = False) -> None:
        self._receive, self._send, self._guard = receive, send, guard
        self.limit = limit
        self._most_held = guard.settings.max_record_body_mib * MIB if streamed else limit
        self.came = self.held = 0
        self.status = 0
        self.over = ""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and self.limit < math.inf:
            size = len(message.get("body", b""))
            self.came += size
            more = int(min(self.came, self._most_held)) - self.held
            self.held += more
            self._guard.held_bytes += more
            if self.came > self.limit:
                self.over = "body_too_large"
            elif more and self._guard.held_bytes > self._guard.settings.max_bodies_mib * MIB:
                self.over = "busy"
            if self.over:
                return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self.over:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


_RETRY = frozenset({"too_many_requests", "busy"})
_OVER = {
    "body_too_large": problem_of("body_too_large", "The body is larger than this address takes. "
                                                   "Send fewer objects in one request."),
    "busy": problem_of("busy", "Too much is being uploaded at this moment. Try again."),
}


def _is_bulk(scope: Scope) -> bool:
    """Tell whether a body is NDJSON, read piece by piece; told from the header that the route will read, the first of its name."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"").decode("latin-1")
    return scope["path"] == "/fhir/$predict" and kind.partition(";")[0].strip().lower() in READ_NDJSON


def new_request_id() -> str:
    """Make a random number that names a request in its answer and in the log, and says nothing else."""
    return secrets.token_hex(8)


def _limit_of(scope: Scope, settings: Settings) -> float:
    """Return the largest body of an address; without end where it is read part by part, within limits of its own."""
    path = scope["path"]
    if settings.dicomweb and path.startswith("/dicom-web/"):
        return math.inf if scope["method"] == "POST" and path.startswith("/dicom-web/studies") else WORKITEM_BODY
    if path == "/v1/images":
        return settings.max_image_body_mib * MIB
    if path in ("/v1/records", "/v1/department") or path.startswith(("/cds-services/", "/fhir/")) or path == "/fhir":
        return (settings.max_bulk_body_mib if _is_bulk(scope) else settings.max_record_body_mib) * MIB
    if path.startswith(("/v1/studies/", "/review/")):
        return MIB
    return SMALL_BODY

