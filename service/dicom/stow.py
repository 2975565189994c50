"""STOW-RS (PS3.18, 10.5): objects come in as parts of a body; each is acknowledged once it is on disk, or fails by itself.

A request counts as one association: when its body has ended, the series it touched are as good as complete.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from models.errors import UnusableInput
from service.dicom import accept
from service.dicom.arrival import arrive_file
from service.dicom.multipart import MAX_AROUND_BYTES, Cutter, Part, boundary_of
from service.logs import where
from service.problem import ProblemError
from service.settings import MIB, Settings
from service.store.errors import StoreError
from service.store.inbox import Inbox

log = logging.getLogger("diaphane")
MAX_PARTS = 20_000
AT_ONCE = 8  # objects of one request being written together; one sync of the disk serves them all
AT_ONCE_BYTES = 64 * MIB
SLOWEST_BYTES_S = 64 * 1024  # a body may take upload_timeout_s, and this much longer for its size

OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD = 0xA700, 0xA900, 0xC000
OTHER_STUDY = 0xC409  # ours: the object is of another study than the address
TRANSFER_SYNTAX, FAILED, SOP_CLASS = 0xC122, 0x0110, 0x0122
# code of UnusableInput → Failure Reason (PS3.18, table I.2-2); every other code means that it could not be understood.
REASONS = {
    "not_an_image": SOP_CLASS, "no_pixels": SOP_CLASS, "unsupported_sop_class": SOP_CLASS,
    "unsupported_transfer_syntax": TRANSFER_SYNTAX, "unknown_transfer_syntax": TRANSFER_SYNTAX,
    "sop_mismatch": MISMATCH, "too_large": OUT_OF_RESOURCES, "other_study": OTHER_STUDY,
    "store": OUT_OF_RESOURCES, "full": OUT_OF_RESOURCES, "unexpected": FAILED,
}
_UID = re.compile(rb"[0-9]+(\.[0-9]+)*", re.ASCII)


@dataclass(frozen=True)
class Outcome:
    """What became of one object; ``code`` is "" when it is stored. UIDs are "" when they could not be read."""

    sop_class_uid: str = ""
    sop_uid: str = ""
    series_uid: str = ""
    study_uid: str = ""
    code: str = ""


class Stow:
    """Takes bodies apart and puts their objects into the inbox, several at once."""

    def __init__(self, settings: Settings, inbox: Inbox) -> None:
        self.settings, self.inbox = settings, inbox
        self.held = 0  # bytes of all bodies in memory in this process
        self._threads = ThreadPoolExecutor(2 * AT_ONCE, thread_name_prefix="stow")

    def close(self) -> None:
        """Wait for what is being written."""
        self._threads.shutdown()

    async def store(self, request: Request) -> Response:
        """Answer POST /studies and /studies/{study}."""
        accept.choose(request, (accept.JSON, accept.PLAIN_JSON))
        if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise ProblemError("unsupported_media_type", "Send the body as it is, without Content-Encoding.")
        kind = accept.media_type(request.headers.get("content-type", ""))
        if kind.inner != accept.DICOM:
            raise ProblemError("unsupported_media_type",
                               'Send multipart/related; type="application/dicom", or one object as application/dicom.')
        study_uid = request.path_params.get("study", "")
        association = secrets.token_hex(16)
        parts = self._multipart(request, kind) if kind.name == accept.MULTIPART else self._single(request)
        outcomes = await self._keep_all(parts, study_uid, association)
        if not outcomes:
            raise ProblemError("empty_body", "The body holds no object. Send at least one.")
        codes = {one.code for one in outcomes}
        if codes <= {"store", "full"}:
            raise StoreError("No object could be stored.", code="full" if "full" in codes else "unreachable")
        try:
            await self._in_thread(partial(self.inbox.released, association))
        except StoreError as error:  # what is stored is stored; its series are complete after the longer quiet time
            log.warning("the end of a request could not be noted: %s", where(error))
        return answer(outcomes, root_of(request))

    async def _keep_all(self, parts: AsyncIterator[Part], study_uid: str, association: str) -> list[Outcome]:
        """Keep objects as they come. Those running are waited for even when the body breaks off."""
        outcomes: list[Outcome | None] = []
        running: dict[asyncio.Future[Outcome], tuple[int, int]] = {}

        async def settle(*, all_of_them: bool) -> None:
            done, _ = await asyncio.wait(running, return_when=asyncio.ALL_COMPLETED if all_of_them else asyncio.FIRST_COMPLETED)
            for future in done:
                place, size = running.pop(future)
                self.held -= size
                outcomes[place] = future.result()

        try:
            async for part in parts:
                while running and (len(running) >= AT_ONCE
                                   or sum(size for _, size in running.values()) + len(part.data) > AT_ONCE_BYTES):
                    await settle(all_of_them=False)
                self.held += len(part.data)
                running[self._in_thread(partial(self._keep, part, study_uid, association))] = (len(outcomes), len(part.data))
                outcomes.append(None)
        finally:
            if running:
                await settle(all_of_them=True)
        return [outcome for outcome in outcomes if outcome is not None]

    def _keep(self, part: Part, study_uid: str, association: str) -> Outcome:
        """Check one object and put it into the inbox. Returns when it is durable, or cannot be."""
        known = Outcome()
        try:
            if part.too_large:
                return Outcome(code="too_large")
            known = Outcome(*claimed(part.data))
            arrival = arrive_file(part.data, association=association)
            known = Outcome(arrival.sop_class_uid, arrival.sop_uid, arrival.series_uid, arrival.study_uid)
            if study_uid and arrival.study_uid != study_uid:
                return Outcome(known.sop_class_uid, known.sop_uid, code="other_study")
            self.inbox.put(arrival)
        except UnusableInput as error:
            return Outcome(known.sop_class_uid, known.sop_uid, code=error.code)
        except StoreError as error:
            log.error("an object could not be stored (%s): %s", error.code, where(error))
            return Outcome(known.sop_class_uid, known.sop_uid, code="full" if error.code == "full" else "store")
        except Exception as error:  # one object's accident is not its neighbours'
            log.error("unexpected %s", where(error))
            return Outcome(known.sop_class_uid, known.sop_uid, code="unexpected")
        return known

    def _in_thread(self, work: partial[Any]) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _multipart(self, request: Request, kind: accept.MediaType) -> AsyncIterator[Part]:
        """Yield the parts of a body while it arrives."""
        cutter = Cutter(boundary_of(kind), max_part_bytes=self.settings.max_instance_mib * MIB, max_parts=MAX_PARTS)
        counted = after = 0
        try:
            async for chunk in self._chunks(request):
                if cutter.done:
                    after += len(chunk)
                    if after > MAX_AROUND_BYTES:
                        return
                    continue
                cutter.add(chunk)
                while part := cutter.next():
                    yield part
                self.held += cutter.held - counted
                counted = cutter.held
                self._check_room()
            cutter.finish()
        finally:
            self.held -= counted

    async def _single(self, request: Request) -> AsyncIterator[Part]:
        """Yield the one object that is the whole body."""
        body, limit = bytearray(), self.settings.max_instance_mib * MIB
        try:
            async for chunk in self._chunks(request):
                self.held += len(chunk)
                body += chunk
                if len(body) > limit:
                    raise ProblemError("body_too_large", f"One object may take {self.settings.max_instance_mib} MiB.")
                self._check_room()
            if body:
                yield Part(bytes(body), accept.DICOM)
        finally:
            self.held -= len(body)

    def _check_room(self) -> None:
        if self.held > self.settings.max_bodies_mib * MIB:
            raise ProblemError("busy", "Too much is being uploaded at this moment. Try again.", retry_after_s=5)

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the body; ProblemError (408) when it stops or drips."""
        started, seen, stream = time.monotonic(), 0, request.stream()
        while True:
            due = started + self.settings.upload_timeout_s + seen / SLOWEST_BYTES_S
            left = min(self.settings.upload_timeout_s, due - time.monotonic())
            try:
                chunk = await asyncio.wait_for(anext(stream), max(left, 0.001))
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise ProblemError("upload_too_slow", "The body did not arrive in time. Send what was not "
                                                      "acknowledged again.") from None
            seen += len(chunk)
            if chunk:
                yield chunk


def claimed(data: bytes) -> tuple[str, str]:
    """Return SOP class and instance as the file meta information claims them, to name a failure by; "" when it is none."""
    found = {b"\x02\x00": "", b"\x03\x00": ""}
    at = 132
    while data[128:132] == b"DICM" and data[at : at + 2] == b"\x02\x00" and at < 4096:
        long = data[at + 4 : at + 6] in (b"OB", b"UN", b"OW", b"SQ", b"UT")
        length = int.from_bytes(data[at + 8 : at + 12] if long else data[at + 6 : at + 8], "little")
        value = at + (12 if long else 8)
        text = data[value : value + min(length, 66)].rstrip(b"\0 ")
        if data[at + 2 : at + 4] in found and len(text) <= 64 and _UID.fullmatch(text):
            found[data[at + 2 : at + 4]] = text.decode("ascii")
        at = value + length
    return found[b"\x02\x00"], found[b"\x03\x00"]


def answer(outcomes: list[Outcome], root: str) -> Response:
    """Build the Store Instances Response Module (PS3.18, annex I)."""
    stored = [one for one in outcomes if not one.code]
    named = [one for one in outcomes if one.code and one.sop_uid and one.sop_class_uid]
    nameless = [one for one in outcomes if one.code and not (one.sop_uid and one.sop_class_uid)]
    studies = {one.study_uid for one in stored}
    body: dict[str, Any] = {"00081190": _value("UR", f"{root}/studies/{studies.pop()}") if len(studies) == 1 else {"vr": "UR"}}
    if named:
        body["00081198"] = {"vr": "SQ", "Value": [_reference(one) | _failure(one) for one in named]}
    if stored:
        body["00081199"] = {"vr": "SQ", "Value": [_reference(one) | {"00081190": _value("UR", _url(root, one))}
                                                 for one in stored]}
    if nameless:
        body["0008119A"] = {"vr": "SQ", "Value": [_failure(one) for one in nameless]}
    status = 409 if not stored else 202 if named or nameless else 200
    return Response(json.dumps(body, separators=(",", ":")), status, {"cache-control": "no-store"}, accept.JSON)


def root_of(request: Request) -> str:
    """Return our own address, as the client knows it."""
    return f"{request.url.scheme}://{request.url.netloc}/dicom-web"


def _url(root: str, one: Outcome) -> str:
    return f"{root}/studies/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_uid}"


def _reference(one: Outcome) -> dict[str, Any]:
    return {"00081150": _value("UI", one.sop_class_uid), "00081155": _value("UI", one.sop_uid)}


def _failure(one: Outcome) -> dict[str, Any]:
    return {"00081197": _value("US", REASONS.get(one.code, NOT_UNDERSTOOD)), "00000902": _value("LO", one.code[:64])}


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}
