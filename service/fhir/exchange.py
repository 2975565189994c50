"""What every exchange under /fhir shares: media types, what the client accepts, and that every error is an OperationOutcome.

https://hl7.org/fhir/R4/http.html. JSON of R4 only: other formats are refused by name, with 406 or 415.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from math import isinf
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from models.errors import UnusableInput
from service.body import HEADERS, body_of
from service.fhir.datatypes import Json
from service.fhir.outcome import Fault, outcome
from service.fhir.problems import MEDIA_TYPE, NDJSON, READ_NDJSON, outcome_of, respond, respond_problem
from service.guard import new_request_id
from service.logs import where
from service.problem import ProblemError, from_exception
from service.words import language_of, problem_in

__all__ = [
    "HEADERS", "MEDIA_TYPE", "NDJSON", "READ_NDJSON", "Refused", "answering", "body_of", "check_accepted", "content_kind",
    "outcome_of", "parse", "parsed", "preferences", "problem_from", "respond", "respond_problem",
]
log = logging.getLogger("diaphane")
READ = frozenset({MEDIA_TYPE, "application/json", "text/json"})
FORMATS = frozenset({"json", *READ})
ACCEPTED = frozenset({*READ, "application/*", "*/*"})
MAX_DEPTH = 100
MAX_DIGITS = 40  # of a whole number: more cannot be calculated with
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
Answer = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """Ends a request because of faults in what was sent."""

    def __init__(self, faults: Iterable[Fault], status: int = 400) -> None:
        super().__init__("faults")
        self.faults = list(faults)
        self.status = status


def answering(answer: Answer, *, also: Collection[str] = ()) -> Answer:
    """Make an endpoint whose every error is an OperationOutcome. What was not foreseen is logged by class and place.

    ``also``: media types it answers with besides FHIR's JSON, which a client may ask for.
    """

    async def answered(request: Request) -> Response:
        request.state.request_id = new_request_id()
        try:
            check_accepted(request, also)
            return await answer(request)
        except ClientDisconnect:
            raise
        except Refused as refused:
            return respond(outcome(refused.faults), refused.status)
        except Exception as error:
            problem = from_exception(error)
            if problem.code == "unexpected":
                log.error("unexpected %s", where(error))
            problem = problem_in(language_of(request.headers.get("accept-language"), "en"), problem)
            return respond_problem(problem, retry_after_s=getattr(error, "retry_after_s", None))

    return answered


def problem_from(error: Exception) -> Json:
    """Write what may be told of an exception as an OperationOutcome."""
    if isinstance(error, Refused):
        return outcome(error.faults)
    return outcome_of(from_exception(error))


def check_accepted(request: Request, also: Collection[str] = ()) -> None:
    """Raise ProblemError 406 unless the client takes R4 in JSON; ``_format`` counts before Accept."""
    stated = request.query_params.get("_format")
    if stated is not None:
        if stated.replace(" ", "+").partition(";")[0].strip().lower() not in (*FORMATS, *also):
            raise ProblemError("not_acceptable", "_format must be json or application/fhir+json. There is no other format here.")
        return
    header = ",".join(request.headers.getlist("accept")) or "*/*"
    if not any(_takes(part, also) for part in header.split(",")):
        raise ProblemError("not_acceptable", f"Accept must allow {MEDIA_TYPE} of FHIR 4.0. There is no other format here.")


def content_kind(request: Request) -> str:
    """Return ``json`` or ``ndjson``. Raises ProblemError 415 for any other content, character set or FHIR version."""
    name, parameters = _media_type(request.headers.get("content-type", ""))
    kind = "json" if name in READ else "ndjson" if name in READ_NDJSON else ""
    if not kind or parameters.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise ProblemError("unsupported_media_type", f"Content-Type must be {MEDIA_TYPE} or {NDJSON}, in UTF-8.")
    if parameters.get("fhirversion", "4.0") != "4.0":
        raise ProblemError("unsupported_media_type", "fhirVersion must be 4.0.")
    return kind


def preferences(request: Request) -> dict[str, str]:
    """Return what the client prefers (RFC 7240): ``return``, ``respond-async``, ``handling``."""
    told: dict[str, str] = {}
    for part in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = part.partition(";")[0].partition("=")
        if name.strip():
            told.setdefault(name.strip().lower(), value.strip().strip('"'))
    return told


async def parsed(request: Request, timeout_s: float) -> Json:
    """Wait for the body and parse it in a thread: a large one must not hold up everybody else's answers."""
    return await run_in_threadpool(parse, await body_of(request, timeout_s))


def parse(body: bytes | str) -> Json:
    """Parse one resource. Raises UnusableInput when it is no JSON object or nests too deep; the text is never repeated."""
    if not body:
        raise ProblemError("empty_body", "Send a Parameters resource or a Bundle as the body.")
    try:
        text = body if isinstance(body, str) else body.decode()  # json would guess UTF-16, which FHIR does not know
        told = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_short,
                          object_pairs_hook=_once)
    except RecursionError:
        raise UnusableInput(f"A resource must nest at most {MAX_DEPTH} deep, found more.", code="too_deep") from None
    except _Twice:
        raise UnusableInput("A key of a JSON object must stand there once, found one twice.", code="not_json") from None
    except ValueError:
        raise UnusableInput("A resource must be JSON text in UTF-8, found something else.", code="not_json") from None
    if _ESCAPED_SURROGATE.search(text):
        _refuse_surrogates(told)
    if not isinstance(told, dict):
        raise UnusableInput("A resource must be a JSON object, found another value.", code="not_json")
    return told


class _Twice(Exception):
    """A key of an object stands there twice: readers differ in which of the two counts."""


def _once(pairs: list[tuple[str, Any]]) -> Json:
    told = dict(pairs)
    if len(told) < len(pairs):
        raise _Twice
    return told


def _refuse_surrogates(told: object) -> None:
    """Raise UnusableInput for half of a surrogate pair: it is no letter, and cannot be written in UTF-8."""
    try:
        json.dumps(told, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UnusableInput("Text must be Unicode, found half of a surrogate pair.", code="not_json") from None


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON (RFC 8259)")


def _finite(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise ValueError("a number must be one that can be written again, 1e400 cannot")
    return value


def _short(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number has at most {MAX_DIGITS} digits")
    return int(digits)


def _takes(part: str, also: Collection[str]) -> bool:
    name, parameters = _media_type(part)
    if parameters.get("fhirversion", "4.0") != "4.0":
        return False
    return (name in ACCEPTED or name in also) and not re.fullmatch(r"0(\.0{0,3})?", parameters.get("q", "1"))


def _media_type(text: str) -> tuple[str, dict[str, str]]:
    name, *rest = text.split(";")
    pairs = (one.partition("=") for one in rest)
    return name.strip().lower(), {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs}
