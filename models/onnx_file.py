"""Look inside an ONNX file without the onnx package: does it keep weights in other files?

A graph may name any path on the machine as the home of a tensor, and a runtime would open it. Releases are one
file, so any external tensor is refused. This walks the protobuf wire format; field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from models.errors import BrokenModel

MAX_ONNX_BYTES = 2_000_000_000  # the limit of protobuf itself
MAX_DEPTH = 32  # graphs inside nodes inside graphs; real ones stay below 10
MAX_FIELDS = 5_000_000

# message → field number → message inside it. What is not here cannot hold a tensor.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14


def check_self_contained(path: Path, *, release: str) -> None:
    """Raise BrokenModel when the ONNX file is damaged, or keeps any tensor in another file."""
    size = path.stat().st_size
    if not 0 < size <= MAX_ONNX_BYTES:
        raise BrokenModel(f"{release}: {path.name} must hold 1 to {MAX_ONNX_BYTES:,} bytes, found {size:,}.")
    data = memoryview(path.read_bytes())
    try:
        counted = 0
        todo = [("model", data, 0)]
        while todo:
            kind, part, depth = todo.pop()
            if depth > MAX_DEPTH:
                raise BrokenModel(f"{release}: {path.name} nests deeper than {MAX_DEPTH} messages.")
            for number, value in fields_of(part):
                counted += 1
                if counted > MAX_FIELDS:
                    raise BrokenModel(f"{release}: {path.name} holds more than {MAX_FIELDS:,} fields.")
                if kind == "tensor" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value == 1)):
                    raise BrokenModel(
                        f"{release}: {path.name} must hold all its weights, found a tensor kept in another file "
                        "(external data). Export it as one file."
                    )
                inside = MESSAGES[kind].get(number)
                if inside and isinstance(value, memoryview):
                    todo.append((inside, value, depth + 1))
    except (IndexError, ValueError) as error:
        raise BrokenModel(f"{release}: {path.name} is not a whole ONNX file.") from error


def fields_of(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of one protobuf message: an int for numbers, a view for bytes.

    Raises ValueError or IndexError when the bytes are not a message. Large packed fields are skipped, not decoded.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(message, at)
            if at + length > end:
                raise ValueError("length beyond the end")
            yield number, message[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
            if at > end:
                raise ValueError("number beyond the end")
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("number too long")
