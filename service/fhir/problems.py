"""Problems as OperationOutcomes, and how a resource is answered. Knows no request: the Guard answers with it too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from service.body import HEADERS
from service.fhir.datatypes import OURS, Json
from service.problem import Problem, headers_of

MEDIA_TYPE = "application/fhir+json"
NDJSON = "application/fhir+ndjson"
READ_NDJSON = frozenset({NDJSON, "application/ndjson", "application/x-ndjson"})
_KINDS = {  # HTTP status → code of http://hl7.org/fhir/ValueSet/issue-type
    400: "invalid", 401: "login", 404: "not-found", 405: "not-supported", 406: "not-supported", 408: "timeout", 409: "conflict",
    413: "too-long", 415: "not-supported", 422: "processing", 429: "throttled", 500: "exception", 501: "not-supported",
    502: "transient", 503: "transient", 504: "timeout", 507: "no-store",
}


def respond(resource: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a resource."""
    text = json.dumps(resource, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text, status, {**HEADERS, **(headers or {})}, f"{MEDIA_TYPE}; charset=utf-8")


def respond_problem(problem: Problem, *, retry_after_s: int | None = None, close: bool = False) -> Response:
    """Answer a problem as an OperationOutcome, with the headers it has as problem+json."""
    return respond(outcome_of(problem), problem.status, headers_of(problem, retry_after_s, close=close))


def outcome_of(problem: Problem) -> Json:
    """Write a problem as an OperationOutcome; its code is a code of ours, for programs."""
    severity = "fatal" if problem.status >= 500 else "error"
    details = {"coding": [{"system": OURS, "code": problem.code}], "text": f"{problem.title}. {problem.detail}"}
    issue = {"severity": severity, "code": _KINDS.get(problem.status, "processing"), "details": details}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
