"""One association of a peer that sends, from acceptance to release: C-ECHO and C-STORE, one message at a time.

A dataset is gathered once, behind the front of the file it will be kept as. It is acknowledged when it is on disk.
"""

from __future__ import annotations

import io
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import Protocol

from models.errors import UnusableInput
from service.dicom import dimse, wire
from service.dicom.arrival import Arrival, Way, arrive_behind_front, front
from service.dicom.dimse import Command
from service.dicom.wire import Hangup, Limits, Room, Violation, Wire
from service.logs import where
from service.store.errors import StoreError

log = logging.getLogger("diaphane")

# PS3.4, table B.2-1: Cxxx is ours to divide. What is not here is C000; the error comment names the code in any case.
STATUSES = {
    "sop_mismatch": dimse.DATASET_DOES_NOT_MATCH,
    "not_an_image": dimse.CLASS_NOT_SUPPORTED,
    "damaged_dicom": dimse.CANNOT_UNDERSTAND + 1,
    "truncated": dimse.CANNOT_UNDERSTAND + 1,
    "bad_uid": dimse.CANNOT_UNDERSTAND + 2,
    "no_identifiers": dimse.CANNOT_UNDERSTAND + 2,
    "bad_pixel_description": dimse.CANNOT_UNDERSTAND + 3,
    "too_many_pixels": dimse.CANNOT_UNDERSTAND + 4,
    "too_large": dimse.CANNOT_UNDERSTAND + 4,
    "value_too_long": dimse.CANNOT_UNDERSTAND + 5,
    "too_deep": dimse.CANNOT_UNDERSTAND + 5,
    "too_many_elements": dimse.CANNOT_UNDERSTAND + 5,
}
_RETRY = frozenset(("full", "unreachable", "unwritable", "closed"))  # of StoreError: sending again later may help


class Inbox(Protocol):
    """Where what arrived is kept (service/store/inbox.py)."""

    def put(self, arrival: Arrival, /) -> str:
        """Keep it; on disk when this returns. Raises StoreError."""

    def released(self, association: str, /) -> None:
        """Note that an association ended in order. Raises StoreError."""


@dataclass(frozen=True)
class Agreed:
    """What was negotiated."""

    contexts: dict[int, tuple[str, str]]  # id → abstract syntax, transfer syntax
    calling_ae: str
    called_ae: str
    peer_max_pdu_bytes: int  # 0: any
    reply: bytes  # the A-ASSOCIATE-AC


@dataclass
class _Message:
    """What has come of a message."""

    deadline: float
    context: int
    command_bytes: bytearray = field(default_factory=bytearray)
    command: Command | None = None  # once it is whole
    kept: io.BytesIO = field(default_factory=io.BytesIO)  # the file, front first
    start: int = 0  # of the dataset in it
    size: int = 0  # of the dataset so far, kept or not
    room: int = 0  # taken for it
    refused: tuple[int, str] | None = None  # status and code, known before its end


class Association:
    """The messages of one association."""

    def __init__(
        self, wired: Wire, agreed: Agreed, inbox: Inbox, *, limits: Limits, room: Room, max_instance_bytes: int, wake: int
    ) -> None:
        self.name = secrets.token_hex(8)
        self._wire, self._agreed, self._inbox = wired, agreed, inbox
        self._limits, self._room, self._max_instance_bytes, self._wake = limits, room, max_instance_bytes, wake
        self._pdu = memoryview(bytearray(limits.max_pdu_bytes))
        self._message: _Message | None = None

    def serve(self) -> None:
        """Answer until the peer releases. Raises Hangup and Violation."""
        try:
            while self._one_pdu():
                pass
        finally:
            self._over()
        try:
            self._inbox.released(self.name)
        except StoreError as error:  # its series are complete after the longer quiet time then
            log.error("a release could not be noted (%s)", error.code)

    def _one_pdu(self) -> bool:
        """Read one PDU and do what it asks; False after a release."""
        if self._message is None:
            self._wait_for_message()
        deadline = time.monotonic() + self._limits.pdu_s
        if self._message:
            deadline = min(deadline, self._message.deadline)
        kind, length = self._wire.head(deadline)
        if kind == wire.P_DATA:
            if not wire.PDV.size <= length <= self._limits.max_pdu_bytes:
                raise Violation(wire.INVALID_PARAMETER)
            body = self._pdu[:length]
            self._wire.read(body, deadline)
            for context, is_command, is_last, piece in wire.fragments(body):
                self._fragment(context, is_command, is_last, piece)
            return True
        if kind == wire.ABORT:
            raise Hangup("aborted")
        if kind != wire.RELEASE_RQ or length != 4:
            raise Violation(wire.UNEXPECTED_PDU if kind in wire.PDUS else wire.UNRECOGNISED_PDU)
        self._wire.read(self._pdu[:4], deadline)
        self._wire.send(wire.HEAD.pack(wire.RELEASE_RP, 4) + bytes(4), self._limits.pdu_s)
        return False

    def _wait_for_message(self) -> None:
        if not self._wire.wait(self._limits.idle_s, self._wake) and not self._wire.wait(self._limits.grace_s):
            raise Hangup("idle")  # for too long, or we are about to stop

    def _fragment(self, context: int, is_command: bool, is_last: bool, piece: memoryview) -> None:
        if self._message is None:
            self._message = _Message(time.monotonic() + self._limits.message_s, context)
        message = self._message
        if context not in self._agreed.contexts or context != message.context:
            raise Violation(wire.INVALID_PARAMETER)
        if is_command == (message.command is not None):  # a dataset before its command, or a second command
            raise Violation(wire.UNEXPECTED_PDU)
        if is_command:
            message.command_bytes += piece
            if len(message.command_bytes) > self._limits.max_command_bytes:
                raise Violation(wire.INVALID_PARAMETER)
            if is_last:
                self._asked(message)
            return
        self._gather(message, piece)
        if is_last and message.command:
            self._answer(message.command, *(message.refused or self._keep(message, message.command)))

    def _asked(self, message: _Message) -> None:
        """Begin what a whole command set asks."""
        try:
            command = dimse.read_command(bytes(message.command_bytes))
        except ValueError:
            raise Violation(wire.INVALID_PARAMETER) from None
        if command.field & dimse.RESPONSE:
            raise Violation(wire.UNEXPECTED_PDU)
        if not command.has_dataset:
            if command.field == dimse.C_CANCEL_RQ:  # of an operation that is over
                self._over()
            else:
                self._answer(command, dimse.SUCCESS if command.field == dimse.C_ECHO_RQ else dimse.UNRECOGNISED_OPERATION)
            return
        message.command = command
        abstract_syntax, transfer_syntax = self._agreed.contexts[message.context]
        if command.field != dimse.C_STORE_RQ:
            message.refused = dimse.UNRECOGNISED_OPERATION, "not_c_store"
        elif command.sop_class_uid != abstract_syntax:
            message.refused = dimse.DATASET_DOES_NOT_MATCH, "sop_mismatch"
        else:
            try:
                message.start = message.kept.write(front(command.sop_class_uid, command.sop_uid, transfer_syntax))
            except UnusableInput as error:
                message.refused = _status(error), error.code

    def _gather(self, message: _Message, piece: memoryview) -> None:
        """Add a piece of a dataset. What is refused already is read to its end, within reason, so that it can be answered."""
        message.size += len(piece)
        if message.size > 2 * self._max_instance_bytes:
            raise Violation(wire.INVALID_PARAMETER)
        if message.refused:
            return
        if message.size > self._max_instance_bytes:
            message.refused = STATUSES["too_large"], "too_large"
        elif not self._room.take(len(piece), self._limits.room_s):
            message.refused = dimse.OUT_OF_RESOURCES, "no_room"
        else:
            message.room += len(piece)
            message.kept.write(piece)
            return
        message.kept = io.BytesIO()
        self._give_back(message)

    def _keep(self, message: _Message, command: Command) -> tuple[int, str]:
        """Check and store what was gathered, and say with which status."""
        way = Way(dimse.PRIORITIES.get(command.priority, 0), self._agreed.calling_ae, self._agreed.called_ae, self.name)
        data, message.kept = message.kept.getvalue(), io.BytesIO()
        try:
            self._inbox.put(arrive_behind_front(data, message.start, way))
        except UnusableInput as error:
            return _status(error), error.code
        except StoreError as error:
            log.error("an image was not kept (%s)", error.code)
            return (dimse.OUT_OF_RESOURCES if error.code in _RETRY else dimse.PROCESSING_FAILURE), f"store_{error.code}"
        except Exception as error:
            log.error("an image was not kept: %s", where(error))
            return dimse.PROCESSING_FAILURE, "internal"
        return dimse.SUCCESS, ""

    def _answer(self, command: Command, status: int, word: str = "") -> None:
        """Say how it went, and be ready for the next message."""
        context = self._message.context if self._message else 0
        self._over()
        if word:
            log.warning("an image was refused: %s", word)
        response = dimse.write_response(command, status, word)
        self._wire.send(wire.data_pdus(context, response, self._agreed.peer_max_pdu_bytes), self._limits.pdu_s)

    def _over(self) -> None:
        if self._message:
            self._give_back(self._message)
        self._message = None

    def _give_back(self, message: _Message) -> None:
        self._room.give_back(message.room)
        message.room = 0


def _status(error: UnusableInput) -> int:
    return STATUSES.get(error.code, dimse.CANNOT_UNDERSTAND)
