"""Links to where images are sent: STOW-RS to a DICOMweb server, C-STORE to a target of the site. One batch at a time.

``send`` answers with what is known of each image; what is not known may be sent again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from models.errors import UnusableInput
from service.gather import Image, Reader
from service.settings import Settings
from service.site import Site, Target

OUT_OF_RESOURCES = (0xA700, 0x0110)  # Failure Reasons that may pass (PS3.18, table I.2-2)
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504, 507))  # HTTP status that may pass
Fates = tuple[dict[str, str], str, float]  # by SOP instance "" or why not; why the others are not known; how long to wait


class NotSentError(Exception):
    """Sending cannot go on: the message says what to do. It holds nothing of the images."""


def target_of(to: str, settings: Settings, site: Site) -> Target:
    """Return where to send: a URL with this installation's token, or the site's target of that name."""
    if to.startswith(("http://", "https://")):
        return Target.model_validate({"name": "to", "kind": "stow", "url": to.rstrip("/"), "token": settings.api_token})
    for target in site.targets:
        if target.name == to:
            return target
    known = ", ".join(target.name for target in site.targets) or "there are none"
    raise NotSentError(f"--to must be a DICOMweb root (http://…/dicom-web) or a target of the site file: {known}.")


def client_of(target: Target) -> httpx.Client:
    """Open a client of a DICOMweb server."""
    token = target.token.get_secret_value()
    return httpx.Client(
        base_url=target.url.rstrip("/") + "/", timeout=httpx.Timeout(target.timeout_s, read=max(120.0, target.timeout_s)),
        headers={"authorization": f"Bearer {token}"} if token else {},
        verify=str(target.tls_ca) if target.tls_ca else True,
        cert=(str(target.tls_cert), str(target.tls_key)) if target.tls_cert and target.tls_key else None,
    )


class Stow:
    """STOW-RS (PS3.18, 10.5): one streamed multipart body a batch."""

    def __init__(self, target: Target, reader: Reader) -> None:
        self._reader = reader
        self._client = client_of(target)

    def __enter__(self) -> Stow:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def send(self, batch: list[Image]) -> Fates:
        """Send one batch. Raises NotSentError when trying again is of no use."""
        boundary = secrets.token_hex(16)
        try:
            answer = self._client.post(
                "studies", content=self._body(batch, boundary),
                headers={"content-type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                         "accept": "application/dicom+json"},
            )
        except UnusableInput as error:
            raise NotSentError(str(error)) from error
        except httpx.TransportError as error:
            return {}, f"no connection ({type(error).__name__})", 0.0
        if answer.status_code in (401, 403):
            raise NotSentError("The server asks for a token. Set DIAPHANE_API_TOKEN to the one it was given.")
        if answer.status_code in PASSING:
            return {}, f"the server answered {answer.status_code}", _retry_after(answer)
        if answer.status_code == 413:  # a proxy's limit, often a small one
            return _halved(self.send, batch, "too_large")
        if answer.status_code not in (200, 202, 409):
            raise NotSentError(f"The server answered {answer.status_code}. Is --to the root of a DICOMweb server?")
        return _fates(answer, batch)

    def _body(self, batch: list[Image], boundary: str) -> Iterator[bytes]:
        for image in batch:
            data = self._reader.read(image.source)
            yield (f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: {len(data)}\r\n\r\n").encode()
            yield data
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()


class Dimse:
    """C-STORE to a target of the site file; an image that is refused is found by sending the others without it."""

    def __init__(self, target: Target, reader: Reader) -> None:
        self._target, self._reader = target, reader

    def __enter__(self) -> Dimse:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def send(self, batch: list[Image]) -> Fates:
        """Send one batch. Raises NotSentError when trying again is of no use."""
        from service.dicom.client import Undelivered, deliver, echo  # noqa: PLC0415  pynetdicom, only for who needs it

        try:
            deliver(self._target, [self._reader.read(image.source) for image in batch])
        except UnusableInput as error:
            raise NotSentError(str(error)) from error
        except Undelivered as error:
            try:
                if not error.permanent and not error.reason.startswith("rejected_"):
                    return {}, error.reason, 0.0
                echo(self._target)
            except Undelivered as refused:  # not the images: we are
                raise NotSentError(f"The target does not talk to us ({refused.reason}). Do both sides know the other's AE title, "
                                   "address and port?") from error
            if not error.permanent:
                return {}, error.reason, 0.0
            return _halved(self.send, batch, error.reason)
        return {image.sop_uid: "" for image in batch}, "", 0.0


def _halved(send: Callable[[list[Image]], Fates], batch: list[Image], reason: str) -> Fates:
    """Send both halves of a batch that was refused as a whole; one image that is refused alone is refused for good."""
    if len(batch) == 1:
        return {batch[0].sop_uid: reason}, "", 0.0
    half = len(batch) // 2
    first, why, wait_s = send(batch[:half])
    second, why_too, wait_too_s = send(batch[half:])
    return first | second, why or why_too, max(wait_s, wait_too_s)


def _fates(answer: httpx.Response, batch: list[Image]) -> Fates:
    """Read the Store Instances Response Module (PS3.18, annex I)."""
    try:
        body = answer.json()
        stored = {_of(item, "00081155") for item in body.get("00081199", {}).get("Value", [])}
        failed = {_of(item, "00081155"): (_of(item, "00081197"), _of(item, "00000902"))
                  for item in body.get("00081198", {}).get("Value", [])}
        nameless = [_of(item, "00000902") for item in body.get("0008119A", {}).get("Value", [])]
    except (ValueError, AttributeError, LookupError, TypeError):
        raise NotSentError("The server's answer is not that of a STOW-RS server. Is --to right?") from None
    fates: dict[str, str] = {}
    passing = ""
    for image in batch:
        if image.sop_uid in stored:
            fates[image.sop_uid] = ""
        elif image.sop_uid in failed:
            reason, comment = failed[image.sop_uid]
            if reason in OUT_OF_RESOURCES and comment != "too_large":
                passing = "the server has no room at this moment"
            else:
                fates[image.sop_uid] = _word(comment) or (f"failure 0x{reason:04X}" if isinstance(reason, int) else "failure")
    unnamed = [image.sop_uid for image in batch if image.sop_uid not in stored and image.sop_uid not in failed]
    if unnamed and len(unnamed) <= len(nameless):  # the server could not even read whom it refuses
        fates |= dict.fromkeys(unnamed, _word(nameless[0]) or "failure")
    elif unnamed:
        if not stored and not failed and answer.status_code != 200:
            return dict.fromkeys(unnamed, "refused without a reason"), "", 0.0
        passing = "the server did not answer for some"
    return fates, passing, _retry_after(answer)


def _of(item: dict[str, Any], tag: str) -> Any:
    values = item.get(tag, {}).get("Value") or [""]
    return values[0]


def _word(comment: Any) -> str:
    """Repeat a server's comment only when it is a plain code word."""
    return comment if isinstance(comment, str) and comment.replace("_", "").isalnum() and comment.isascii() else ""


def _retry_after(answer: httpx.Response) -> float:
    stated = answer.headers.get("retry-after", "")
    return min(float(stated), 120.0) if stated.isdigit() else 0.0
