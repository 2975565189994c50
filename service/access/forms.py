"""Forms: what changes something must bring back the token of its session, in the header x-csrf-token or the field csrf."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import Message, Receive

from service.body import body_of
from service.problem import ProblemError

HEADER, FIELD = "x-csrf-token", "csrf"
MAX_FIELDS = 5000
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def check_token(request: Request, expected: str, timeout_s: float) -> Receive:
    """Check the token of a form, and return how to read the body from its start. Raises ProblemError (403)."""
    sent = request.headers.getlist(HEADER)
    receive = request.receive
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not sent and kind == "application/x-www-form-urlencoded":
        body = await body_of(request, timeout_s)
        sent = _fields(body)
        receive = _again(body, receive)
    if len(sent) != 1 or not expected or not hmac.compare_digest(sent[0].encode(), expected.encode()):
        raise ProblemError("cross_site", "A change must bring back the token of its page. Open the page again and repeat it.")
    return receive


def _fields(body: bytes) -> list[str]:
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return []
    return [value for name, value in pairs if name == FIELD]


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
