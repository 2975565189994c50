"""What every room shares of HTTP: waiting for a body, and the headers each answer bears."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from service.problem import ProblemError

HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


async def body_of(request: Request, timeout_s: float) -> bytes:
    """Wait for the whole body. Its size is the Guard's business. Raises ProblemError (408)."""
    try:
        return await asyncio.wait_for(request.body(), timeout_s)
    except TimeoutError:
        raise ProblemError("upload_too_slow", "The body did not arrive in time. Send it again.") from None
