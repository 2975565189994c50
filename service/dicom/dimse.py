"""Command sets of DIMSE (PS3.7, 6.3 and annex E): implicit little endian elements of group 0000, read and written."""

from __future__ import annotations

import struct
from dataclasses import dataclass

C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
RESPONSE = 0x8000  # the bit that makes a request's command field its response's
NO_DATASET = 0x0101
SUCCESS, UNRECOGNISED_OPERATION, PROCESSING_FAILURE, CLASS_NOT_SUPPORTED = 0x0000, 0x0211, 0x0110, 0x0122
OUT_OF_RESOURCES, DATASET_DOES_NOT_MATCH, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000  # PS3.4, table B.2-1
PRIORITIES = {0: 0, 1: 1, 2: -1}  # MEDIUM, HIGH, LOW → ours

_HEAD = struct.Struct("<HHI")
_SHORT = struct.Struct("<H")


@dataclass(frozen=True)
class Command:
    """What a peer asks."""

    field: int
    message_id: int
    has_dataset: bool
    sop_class_uid: str
    sop_uid: str
    priority: int


def read_command(data: bytes) -> Command:
    """Read a command set. Raises ValueError when it is none."""
    values = read_values(data)
    return Command(
        field=_number(values, 0x0100), message_id=_number(values, 0x0110, 0),
        has_dataset=_number(values, 0x0800) != NO_DATASET, sop_class_uid=_uid(values, 0x0002),
        sop_uid=_uid(values, 0x1000), priority=_number(values, 0x0700, 0),
    )


def write_request(field: int, message_id: int, sop_class_uid: str, sop_uid: str, *, has_dataset: bool) -> bytes:
    """Write a request of medium priority."""
    return _write([
        (0x0002, _text(sop_class_uid, b"\0")),
        (0x0100, _SHORT.pack(field)),
        (0x0110, _SHORT.pack(message_id)),
        *([(0x0700, _SHORT.pack(0))] if has_dataset else []),
        (0x0800, _SHORT.pack(1 if has_dataset else NO_DATASET)),
        (0x1000, _text(sop_uid, b"\0")),
    ])


def read_response(data: bytes) -> tuple[int, int]:
    """Return the message responded to, and the status. Raises ValueError when it is no response."""
    values = read_values(data)
    if not _number(values, 0x0100) & RESPONSE:
        raise ValueError("no response")
    return _number(values, 0x0120), _number(values, 0x0900)


def write_response(command: Command, status: int, comment: str = "") -> bytes:
    """Write the response to a request; ``comment`` is a code word, not a value of what was sent."""
    return _write([
        (0x0002, _text(command.sop_class_uid, b"\0")),
        (0x0100, _SHORT.pack(command.field | RESPONSE)),
        (0x0120, _SHORT.pack(command.message_id)),
        (0x0800, _SHORT.pack(NO_DATASET)),
        (0x0900, _SHORT.pack(status)),
        (0x0902, _text(comment, b" ")),
        (0x1000, _text(command.sop_uid, b"\0")),
    ])


def read_values(data: bytes) -> dict[int, bytes]:
    """Return element number → value of a command set. Raises ValueError when it is none."""
    values: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            raise ValueError("cut short")
        group, element, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if group != 0 or at + length > len(data):
            raise ValueError("no command set")
        values[element] = data[at : at + length]
        at += length
    return values


def _write(elements: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(_HEAD.pack(0, element, len(value)) + value for element, value in elements if value)
    return _HEAD.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def _number(values: dict[int, bytes], element: int, default: int | None = None) -> int:
    value = values.get(element)
    if value is None and default is not None:
        return default
    if value is None or len(value) != _SHORT.size:
        raise ValueError("no command set")
    return int(_SHORT.unpack(value)[0])


def _uid(values: dict[int, bytes], element: int) -> str:
    return values.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def _text(value: str, padding: bytes) -> bytes:
    encoded = value.encode("ascii", "replace")
    return encoded + padding * (len(encoded) % 2)
