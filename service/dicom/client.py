"""Deliver DICOM objects to a target of the site: C-STORE user here, STOW-RS in stow_client.py. Bytes leave as they were made.

Every step has an end, and a reason for failing is a word of ours: never text or a value of the peer.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydicom
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext, build_context

from models.dicom_bytes import outline
from models.errors import UnusableInput
from service.dicom import dimse, stow_client, wire
from service.dicom.arrival import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from service.dicom.storage import APPLICATION_CONTEXT, ECHO_CLASS, EXPLICIT, IMPLICIT
from service.dicom.tls import client_context
from service.dicom.undelivered import DELIVERED, Undelivered, is_permanent
from service.dicom.values import Values
from service.dicom.wire import Hangup, Limits, Violation, Wire
from service.settings import SettingsError
from service.site import Target

__all__ = ["Undelivered", "deliver", "echo"]

_LARGEST_PDU_BYTES = 256 * 1024  # what we make, to a peer that takes any length
_REJECTED = {
    (1, 1, 2): "application_context", (1, 1, 3): "calling_ae_title", (1, 1, 7): "called_ae_title",
    (2, 3, 1): "congestion", (2, 3, 2): "local_limit",
}
Syntaxes = Mapping[tuple[str, str], int]  # (SOP class, transfer syntax) → accepted presentation context


@dataclass(frozen=True)
class _Object:
    """One file taken apart for sending."""

    sop_class_uid: str
    sop_uid: str
    transfer_syntax: str
    dataset: memoryview
    file: bytes


def deliver(target: Target, files: Sequence[bytes]) -> None:
    """Send DICOM files, in order. What the target holds already counts as delivered, so sending again is harmless.

    An object that is refused does not stop the others: a PACS that takes no parametric maps still gets the report.
    Raises Undelivered after the last, ``permanent`` when trying the same again cannot help.
    """
    _DELIVER[target.kind](target, files)


def echo(target: Target) -> None:
    """Ask whether the target answers: C-ECHO, or a search for one study. Raises Undelivered."""
    _ECHO[target.kind](target)


def _store(target: Target, files: Sequence[bytes]) -> None:
    try:
        objects = [_take_apart(file) for file in files]
    except UnusableInput as error:
        raise Undelivered(f"not_dicom_{error.code}", permanent=True) from error
    proposed = sorted({(one.sop_class_uid, syntax) for one in objects for syntax in {one.transfer_syntax, IMPLICIT}})
    failures = []
    with _Session(target, proposed) as session:
        for one in objects:
            status = session.store(one)
            if status not in DELIVERED:
                failures.append(status)
    if failures:
        raise Undelivered(_word(failures[0]), permanent=all(map(is_permanent, failures)))


def _echo(target: Target) -> None:
    with _Session(target, [(ECHO_CLASS, EXPLICIT), (ECHO_CLASS, IMPLICIT)]) as session:
        status = session.echo()
    if status != dimse.SUCCESS:
        raise Undelivered(_word(status), permanent=False)


_DELIVER: dict[str, Callable[[Target, Sequence[bytes]], None]] = {"dimse": _store, "stow": stow_client.store}
_ECHO: dict[str, Callable[[Target], None]] = {"dimse": _echo, "stow": stow_client.search}


class _Session:
    """One association that we ask for."""

    def __init__(self, target: Target, proposed: Sequence[tuple[str, str]]) -> None:
        self._target = target
        self._contexts = [build_context(uid, syntax) for uid, syntax in proposed]
        for place, context in enumerate(self._contexts):
            context.context_id = 2 * place + 1
        self._message_id = 0
        self._limits = Limits()

    def __enter__(self) -> _Session:
        self._wire = Wire(self._connect())
        try:
            self._wire.send(_request(self._target, self._contexts, self._limits), self._target.timeout_s)
            kind, body = self._read(self._limits.max_associate_bytes)
            if kind == wire.ASSOCIATE_RJ:
                word = _REJECTED.get((body[1], body[2], body[3]), "no_reason") if len(body) == 4 else "no_reason"
                raise Undelivered(f"rejected_{word}", permanent=False)
            if kind != wire.ASSOCIATE_AC:
                raise Undelivered("aborted" if kind == wire.ABORT else "protocol", permanent=False)
            self._accepted, self._max_pdu_bytes = _read_acceptance(kind, body, self._contexts)
        except (Hangup, Violation) as error:
            self._wire.close()
            raise _lost(error) from error
        except Undelivered:
            self._wire.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self._wire.send(wire.HEAD.pack(wire.RELEASE_RQ, 4) + bytes(4), self._target.timeout_s)
                self._read(self._limits.max_associate_bytes)
            else:
                self._wire.send(wire.abort(0), self._target.timeout_s)
        except (Hangup, Violation, Undelivered):
            pass  # what was answered before counts; a peer that does not release has still stored it
        finally:
            self._wire.close()

    def store(self, one: _Object) -> int:
        """Send one object and return the status. Raises Undelivered when the association breaks."""
        dataset, context = one.dataset, self._accepted.get((one.sop_class_uid, one.transfer_syntax))
        if context is None and one.transfer_syntax == EXPLICIT:
            context = self._accepted.get((one.sop_class_uid, IMPLICIT))
            dataset = memoryview(_as_implicit(one.file)) if context else dataset
        if context is None:
            return dimse.CLASS_NOT_SUPPORTED
        return self._ask(context, dimse.C_STORE_RQ, one.sop_class_uid, one.sop_uid, dataset)

    def echo(self) -> int:
        """Send a C-ECHO and return the status."""
        context = next(iter(self._accepted.values()), None)
        return dimse.CLASS_NOT_SUPPORTED if context is None else self._ask(context, dimse.C_ECHO_RQ, ECHO_CLASS, "", None)

    def _ask(self, context: int, field: int, sop_class_uid: str, sop_uid: str, dataset: memoryview | None) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        command = dimse.write_request(field, self._message_id, sop_class_uid, sop_uid, has_dataset=dataset is not None)
        try:
            self._wire.send(wire.data_pdus(context, command, self._max_pdu_bytes), self._target.timeout_s)
            if dataset is not None:
                for pdu in wire.dataset_pdus(context, dataset, self._max_pdu_bytes):
                    self._wire.send(pdu, self._target.timeout_s)
            return self._status(context)
        except (Hangup, Violation, ValueError) as error:
            raise _lost(error) from error

    def _status(self, context: int) -> int:
        answer = bytearray()
        while True:
            kind, body = self._read(self._limits.max_pdu_bytes)
            if kind != wire.P_DATA:
                raise Undelivered("aborted" if kind == wire.ABORT else "protocol", permanent=False)
            for of, is_command, is_last, piece in wire.fragments(memoryview(body)):
                if of != context or not is_command or len(answer) > self._limits.max_command_bytes:
                    raise Undelivered("protocol", permanent=False)
                answer += piece
                if is_last:
                    responded, status = dimse.read_response(bytes(answer))
                    if responded != self._message_id:
                        raise Undelivered("protocol", permanent=False)
                    return status

    def _read(self, longest: int) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._target.timeout_s
        kind, length = self._wire.head(deadline)
        if length > longest:
            raise Violation(wire.INVALID_PARAMETER)
        body = bytearray(length)
        self._wire.read(memoryview(body), deadline)
        return kind, bytes(body)

    def _connect(self) -> socket.socket:
        target = self._target
        try:
            context = client_context(target.tls_ca, target.tls_cert, target.tls_key) if target.tls else None
            connection = socket.create_connection((target.host, target.port), target.timeout_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return context.wrap_socket(connection, server_hostname=target.host) if context else connection
        except SettingsError as error:
            raise Undelivered("tls_files", permanent=False) from error
        except ssl.SSLError as error:
            raise Undelivered("tls", permanent=False) from error
        except (OSError, ValueError) as error:
            raise Undelivered("unreachable", permanent=False) from error


def _take_apart(file: bytes) -> _Object:
    found = outline(file)
    values = Values(found)
    return _Object(
        values.text("SOPClassUID"), values.text("SOPInstanceUID"), found.syntax, memoryview(file)[found.start :], file
    )


def _as_implicit(file: bytes) -> bytes:
    """Encode a dataset anew for a peer that takes only the default transfer syntax (PS3.5, 10.1)."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, pydicom.Dataset(pydicom.dcmread(io.BytesIO(file))), implicit_vr=True, little_endian=True)
    return buffer.getvalue()


def _request(target: Target, contexts: list[PresentationContext], limits: Limits) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = target.calling_ae_title, target.ae_title
    primitive.presentation_context_definition_list = contexts
    primitive.user_information = user_information(limits)
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def user_information(limits: Limits) -> list[Any]:
    """Say who we are and how long a PDU may be (PS3.7, D.3.3)."""
    length, uid, version = (
        MaximumLengthNotification(), ImplementationClassUIDNotification(), ImplementationVersionNameNotification()
    )
    length.maximum_length_received = limits.max_pdu_bytes
    uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version.implementation_version_name = IMPLEMENTATION_VERSION
    return [length, uid, version]


def _read_acceptance(kind: int, body: bytes, contexts: list[PresentationContext]) -> tuple[Syntaxes, int]:
    """Return the accepted contexts and the longest PDU the peer takes. Raises Violation."""
    try:
        pdu = A_ASSOCIATE_AC()
        pdu.decode(wire.HEAD.pack(kind, len(body)) + body)
        primitive = pdu.to_primitive()
        results = {one.context_id: one.result for one in primitive.presentation_context_definition_results_list}
        longest = [one.maximum_length_received for one in primitive.user_information if isinstance(one, MaximumLengthNotification)]
    except Exception as error:  # pynetdicom raises many unrelated classes on damaged answers
        raise Violation(wire.INVALID_PARAMETER) from error
    accepted = {(str(one.abstract_syntax), str(one.transfer_syntax[0])): int(one.context_id or 0)
                for one in contexts if results.get(one.context_id) == 0}
    return accepted, min(filter(None, (*longest, _LARGEST_PDU_BYTES)))


def _lost(error: Exception) -> Undelivered:
    return Undelivered(f"connection_{error.why}" if isinstance(error, Hangup) else "protocol", permanent=False)


def _word(status: int) -> str:
    return f"status_{status:04x}"
