"""Deliver to a DICOMweb server: STOW-RS (PS3.18, 10.5) over httpx, its answer read object by object."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

import httpx

from service.dicom.dimse import PROCESSING_FAILURE
from service.dicom.tls import client_context
from service.dicom.undelivered import DELIVERED, Undelivered, is_permanent
from service.settings import MIB, SettingsError
from service.site import Target

MAX_ANSWER_BYTES = 4 * MIB
JSON = "application/dicom+json"
_FAILED, _REASON = "00081198", "00081197"  # FailedSOPSequence, FailureReason
_LATER = frozenset((401, 403, 404, 408, 423, 425, 429))  # a matter of the site's configuration or of time


def store(target: Target, files: Sequence[bytes]) -> None:
    """Send files in one request. Raises Undelivered."""
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(piece for file in files for piece in (head, file, b"\r\n")) + f"--{boundary}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
    code, answer = _ask(target, "POST", "/studies", content=body, headers={"Content-Type": kind, "Accept": JSON})
    reasons = _reasons(answer) if code in (202, 409) else []
    if code == 202 and reasons is None:
        raise Undelivered("http_202_unreadable", permanent=True)  # something failed, and we cannot know what
    failures = [reason for reason in reasons or () if reason not in DELIVERED]
    if failures:
        raise Undelivered(f"status_{failures[0]:04x}", permanent=all(map(is_permanent, failures)))
    if code not in (200, 202) and not reasons:
        raise Undelivered(f"http_{code}", permanent=400 <= code < 500 and code not in _LATER)


def search(target: Target) -> None:
    """Ask whether the server answers. Raises Undelivered."""
    code, _ = _ask(target, "GET", "/studies", params={"limit": "1"}, headers={"Accept": JSON})
    if code >= 500:
        raise Undelivered(f"http_{code}", permanent=False)


def _ask(target: Target, method: str, path: str, *, headers: dict[str, str], **body: Any) -> tuple[int, bytes]:
    """Return the status code and as much of the answer as is read. Redirects are not followed: the token stays with its host."""
    if token := target.token.get_secret_value():
        headers = {**headers, "Authorization": f"Bearer {token}"}
    try:
        verify: Any = False  # http:// verifies nothing, and to load the system's certificates takes longer than to deliver
        if target.url.startswith("https://"):
            verify = client_context(target.tls_ca, target.tls_cert, target.tls_key)
        with (
            httpx.Client(verify=verify, timeout=target.timeout_s, trust_env=False) as client,
            client.stream(method, target.url.rstrip("/") + path, headers=headers, **body) as response,
        ):
            answer = bytearray()
            for piece in response.iter_bytes(64 * 1024):
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    break
            return response.status_code, bytes(answer)
    except SettingsError as error:
        raise Undelivered("tls_files", permanent=False) from error
    except httpx.TimeoutException as error:
        raise Undelivered("connection_slow", permanent=False) from error
    except httpx.ConnectError as error:
        raise Undelivered("unreachable", permanent=False) from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Undelivered("protocol", permanent=False) from error


def _reasons(answer: bytes) -> list[int] | None:
    """Return the failure reason of each object that failed (PS3.18, table 10.5.3-1); None when the answer cannot be read."""
    try:
        module = json.loads(answer)
        module = module[0] if isinstance(module, list) and module else module
        items = module.get(_FAILED, {}).get("Value") or []
        return [int((item.get(_REASON, {}).get("Value") or [PROCESSING_FAILURE])[0]) for item in items]
    except (ValueError, AttributeError, TypeError, IndexError, KeyError, RecursionError):
        return None
