"""Hostile peers of the DIMSE receiver, as a table: each gets its verdict, and the receiver lives on, small and answering.

A case is what is sent and the verdict: what came back last (``abort 1``, ``reject 1.1.3``, ``status c003 …``), ``hung up``
when we closed without a word, ``answered`` when nothing was wrong after all.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from service.dicom import dimse, wire
from tests.make_receiver import (
    CT,
    DX,
    ECHO,
    EXPLICIT,
    fragment,
    radiograph,
    read_pdu,
    read_status,
    request,
    store_command,
    store_message,
)

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
MAX_RSS_BYTES = 512 * MIB
MAX_INSTANCE_MIB = 16
RLE, DEFLATED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99"


@dataclass(frozen=True)
class Target:
    """The receiver under attack."""

    process: psutil.Process
    port: int
    folder: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def echo_s(self) -> float:
        """Return how long a well-behaved peer waits for its C-ECHO, from connecting to the answer."""
        began = time.monotonic()
        with self.connect() as connection:
            connection.sendall(request((ECHO, [EXPLICIT])))
            assert wire.ASSOCIATE_AC == read_pdu(connection)[0]
            command = dimse.write_request(dimse.C_ECHO_RQ, 1, ECHO, "", has_dataset=False)
            connection.sendall(wire.data_pdus(1, command, 0))
            assert (0, "") == read_status(connection)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DIAPHANE_")}
    environ |= {
        "DIAPHANE_STORE": str(folder / "store"), "DIAPHANE_DICOM_PORT": "0", "DIAPHANE_MAX_INSTANCE_MIB": str(MAX_INSTANCE_MIB),
        "DIAPHANE_MAX_ASSOCIATIONS": "16", "DIAPHANE_DRAIN_S": "2",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "service", "listen"], cwd=ROOT, env=environ,
                                   stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout
        line = process.stdout.readline().decode()
        assert "receives DICOM on" in line, (folder / "log").read_text()
        yield Target(psutil.Process(process.pid), int(line.split(":")[1].split()[0]), folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.communicate()


def verdict(connection: socket.socket) -> str:
    """Read until the other side says something final."""
    try:
        kind, body = read_pdu(connection)
    except TimeoutError:
        return "nothing"
    if kind == wire.ABORT:
        return f"abort {body[3]}"
    if kind == wire.ASSOCIATE_RJ:
        return f"reject {body[1]}.{body[2]}.{body[3]}"
    return {0: "hung up", wire.ASSOCIATE_AC: "accepted", wire.RELEASE_RP: "released", wire.P_DATA: "answered"}[kind]


def first(data: bytes) -> Callable[[Target], str]:
    """Send something before any association."""
    def attack(target: Target) -> str:
        with target.connect() as connection:
            send(connection, data)
            return verdict(connection)
    return attack


def then(data: Callable[[], bytes] | bytes, *contexts: tuple[str, list[str]]) -> Callable[[Target], str]:
    """Send something in an association of ours, DX and C-ECHO unless said."""
    def attack(target: Target) -> str:
        with target.connect() as connection:
            connection.sendall(request(*contexts))
            assert wire.ASSOCIATE_AC == read_pdu(connection)[0]
            send(connection, data() if callable(data) else data)
            return verdict(connection)
    return attack


def stored(dataset: Callable[[], bytes], syntax: str = EXPLICIT) -> Callable[[Target], str]:
    """Send a dataset as a radiograph and return the status and its word."""
    def attack(target: Target) -> str:
        with target.connect() as connection:
            connection.sendall(request((DX, [syntax])))
            assert wire.ASSOCIATE_AC == read_pdu(connection)[0]
            send(connection, store_message(dataset()))
            status, word = read_status(connection)
            return f"status {status:04x} {word}"
    return attack


def send(connection: socket.socket, data: bytes) -> None:
    """Send as much as is taken: who hangs up on us need not read it all."""
    with suppress(ConnectionError):
        connection.sendall(data)


def item(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(data)) + data


def associate(*items: bytes, calling: bytes = b"MODALITY", called: bytes = b"DIAPHANE", version: int = 1) -> bytes:
    """Encode an A-ASSOCIATE-RQ of any items."""
    body = struct.pack(">HH", version, 0) + called.ljust(16) + calling.ljust(16) + bytes(32) + b"".join(items)
    return wire.HEAD.pack(wire.ASSOCIATE_RQ, len(body)) + body


def context(identifier: int, *syntaxes: str, abstract: str = DX) -> bytes:
    inner = item(0x30, abstract.encode()) + b"".join(item(0x40, one.encode()) for one in syntaxes)
    return item(0x20, bytes((identifier, 0, 0, 0)) + inner)


APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
USER = item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3"))
GOOD = context(1, EXPLICIT)


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    long = vr in (b"OB", b"OW", b"SQ")
    return struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr) + (struct.pack("<xxI" if long else "<H", len(value))) + value


def header(rows: int, columns: int, frames: bytes = b"1") -> bytes:
    """Encode what is needed of a radiograph of SOP Instance UID 1.2.3, without pixels."""
    short = struct.Struct("<H").pack
    return b"".join((
        element(0x00080016, b"UI", DX.encode()), element(0x00080018, b"UI", b"1.2.3"), element(0x0020000D, b"UI", b"1.2.3.4"),
        element(0x0020000E, b"UI", b"1.2.3.5"), element(0x00280002, b"US", short(1)), element(0x00280008, b"IS", frames),
        element(0x00280010, b"US", short(rows)), element(0x00280011, b"US", short(columns)), element(0x00280100, b"US", short(16)),
    ))


def encapsulated(data: bytes) -> bytes:
    piece = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data
    return struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF) + piece + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def deflate_bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(header(16, 16)) + b"".join(packer.compress(bytes(MIB)) for _ in range(128)) + packer.flush()


def nested(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = element(0x00081140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner)
    return header(16, 16) + inner


def empty_items() -> bytes:
    return header(16, 16) + element(0x00081140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 0) * (MAX_INSTANCE_MIB * MIB // 9))


def endless(command: bytes = b"", *, size: int = 64 * 1024, count: int = 3 * MAX_INSTANCE_MIB * 16) -> bytes:
    return command + fragment(1, bytes(size), command=not command) * count


def silent_crowd(target: Target) -> str:
    crowd = [target.connect() for _ in range(100)]
    try:
        return "answered" if target.echo_s() < 1 else "late"
    finally:
        for one in crowd:
            one.close()


def slowly(target: Target) -> str:
    """A byte now and then, in the middle of a request."""
    began = time.monotonic()
    with target.connect() as connection:
        for byte in request():
            try:
                connection.sendall(bytes((byte,)))
            except ConnectionError:
                break
            if time.monotonic() - began > 8:
                return "still here"
            time.sleep(0.25)
        return verdict(connection)


def crowd_of_associations(target: Target) -> str:
    held = []
    for _ in range(16):
        held.append(target.connect())
        held[-1].sendall(request())
        assert wire.ASSOCIATE_AC == read_pdu(held[-1])[0]
    with target.connect() as connection:
        connection.sendall(request())
        said = verdict(connection)
    for one in held:
        one.close()
    return said


def coming_and_going(target: Target) -> str:
    for _ in range(300):
        with target.connect() as connection:
            connection.sendall(request()[:50])
    return "answered" if target.echo_s() < 1 else "late"


def hanging_up_in_the_middle(target: Target) -> str:
    for _ in range(20):
        with target.connect() as connection:
            connection.sendall(request())
            read_pdu(connection)
            connection.sendall(endless(store_command(), count=16))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a goodbye
    return "answered" if target.echo_s() < 1 else "late"


def not_listening(target: Target) -> str:
    """Questions without ever reading an answer, until nothing more is taken."""
    question = wire.data_pdus(3, dimse.write_request(dimse.C_ECHO_RQ, 1, ECHO, "", has_dataset=False), 0)
    with target.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request())
        connection.settimeout(1)
        try:
            for _ in range(4000):
                connection.sendall(question * 50)
        except TimeoutError:
            return "answered" if target.echo_s() < 1 else "late"
    return "everything was taken"


CASES: dict[str, tuple[Callable[[Target], str], str]] = {
    "a hundred silent connections": (silent_crowd, "answered"),
    "three hundred connections that come and go": (coming_and_going, "answered"),
    "sixteen associations that do nothing": (crowd_of_associations, "reject 2.3.2"),
    "a request a byte at a time": (slowly, "abort 0"),
    "a peer that never reads": (not_listening, "answered"),
    "twenty resets in the middle of an image": (hanging_up_in_the_middle, "answered"),
    "an HTTP request": (first(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "abort 1"),
    "a TLS hello": (first(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(505)), "abort 1"),
    "zeros": (first(bytes(100_000)), "abort 1"),
    "data before an association": (first(endless(store_command(), count=1)), "abort 2"),
    "a release before an association": (first(wire.HEAD.pack(wire.RELEASE_RQ, 4) + bytes(4)), "abort 2"),
    "an association request of 4 GiB": (first(wire.HEAD.pack(wire.ASSOCIATE_RQ, 2**32 - 1) + bytes(MIB)), "abort 6"),
    "an association request of no length": (first(wire.HEAD.pack(wire.ASSOCIATE_RQ, 0)), "abort 6"),
    "an association request without items": (first(associate()), "reject 1.1.2"),
    "an item that ends beyond the request": (first(associate(APPLICATION, GOOD, struct.pack(">BxH", 0x50, 60000))), "abort 6"),
    "250,000 items of no length": (first(associate(APPLICATION, GOOD, USER, struct.pack(">BxH", 0x99, 0) * 250_000)), "accepted"),
    "16,000 sub-items of no length": (
        first(associate(APPLICATION, GOOD, item(0x50, struct.pack(">BxH", 0x54, 0) * 16_000))), "abort 6"),
    "10,000 presentation contexts": (first(associate(APPLICATION, *[GOOD] * 10_000, USER)), "abort 6"),
    "a presentation context of 3,000 transfer syntaxes, four times": (
        first(associate(APPLICATION, *[context(1, *[EXPLICIT] * 2_800)] * 4, USER)), "abort 6"),
    "an even presentation context": (first(associate(APPLICATION, context(2, EXPLICIT), USER)), "abort 6"),
    "a presentation context without a transfer syntax": (first(associate(APPLICATION, context(1), USER)), "abort 6"),
    "a title of control characters": (first(associate(APPLICATION, GOOD, USER, calling=b"\x00\x1b[2J\xff\xfe")), "reject 1.1.3"),
    "a title that leaves the folder": (first(associate(APPLICATION, GOOD, USER, called=b"../../etc/x")), "reject 1.1.7"),
    "another application": (first(associate(item(0x10, b"1.2.3"), GOOD, USER)), "reject 1.1.2"),
    "another protocol version": (first(associate(APPLICATION, GOOD, USER, version=2)), "reject 1.2.2"),
    "a PDU longer than advertised": (then(wire.HEAD.pack(wire.P_DATA, 2**31) + bytes(MIB)), "abort 6"),
    "a PDU of an unknown type": (then(wire.HEAD.pack(0x42, 4) + bytes(4)), "abort 1"),
    "a second association request": (then(request()), "abort 2"),
    "a PDV that ends beyond its PDU": (then(wire.HEAD.pack(wire.P_DATA, 6) + wire.PDV.pack(2**32 - 1, 1, 3)), "abort 6"),
    "a PDV of no length": (then(wire.HEAD.pack(wire.P_DATA, 6) + wire.PDV.pack(0, 1, 3)), "abort 6"),
    "a context that was not accepted": (then(fragment(99, b"", command=True, last=True)), "abort 6"),
    "a dataset without a command": (then(fragment(1, bytes(100), last=True)), "abort 2"),
    "a command after a command": (then(store_command() * 2), "abort 2"),
    "a command without an end": (then(lambda: endless(size=1000, count=100)), "abort 6"),
    "a command set of garbage": (then(fragment(1, os.urandom(64) + b"\xff" * 8, command=True, last=True)), "abort 6"),
    "an answer nobody asked for": (
        then(fragment(1, store_command()[12:].replace(b"\x00\x01\x02\0\0\0\x01\0", b"\x00\x01\x02\0\0\0\x01\x80"),
                      command=True, last=True)), "abort 2"),
    "a dataset without an end": (then(lambda: endless(store_command())), "abort 6"),
    "a release in the middle of an image": (
        then(lambda: endless(store_command(), count=2) + wire.HEAD.pack(wire.RELEASE_RQ, 4) + bytes(4)), "released"),
    "a name that leaves the folder": (
        then(lambda: store_command("../../../tmp/evil") + fragment(1, b"", last=True)), "answered"),
    "an image larger than allowed": (stored(lambda: bytes((MAX_INSTANCE_MIB + 1) * MIB)), "status c004 too_large"),
    "838 bytes of RLE that claim 65535 x 65535": (stored(lambda: header(65535, 65535) + encapsulated(bytes(64)), RLE),
                                                   "status c004 too_many_pixels"),
    "RLE that cannot hold what it claims": (stored(lambda: header(8000, 8000) + encapsulated(bytes(64)), RLE),
                                            "status c003 bad_pixel_description"),
    "a hundred thousand frames": (stored(lambda: header(4096, 4096, b"100000") + element(0x7FE00010, b"OW", b"")),
                                  "status c004 too_many_pixels"),
    "a deflated bomb": (stored(deflate_bomb, DEFLATED), "status c004 too_large"),
    "sequences nested 500 deep": (stored(lambda: nested(500)), "status c005 too_deep"),
    "two million empty items": (stored(empty_items), "status c005 too_many_elements"),
    "an element that ends beyond the dataset": (
        stored(lambda: header(16, 16) + struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OW", 2**32 - 2)), "status c001 truncated"),
    "file meta information in the dataset": (
        stored(lambda: element(0x00020100, b"UI", b"1.2") + header(16, 16)), "status c001 damaged_dicom"),
    "random bytes as a dataset": (stored(lambda: b"\xde\xad" + os.urandom(5000)), "status c001 damaged_dicom"),
}


@pytest.mark.parametrize("name", CASES)
def test_verdict(target: Target, name: str) -> None:
    attack, expected = CASES[name]
    assert expected == attack(target)
    assert target.process.is_running()
    assert target.process.status() != psutil.STATUS_ZOMBIE
    assert target.echo_s() < 1
    assert highest_rss_bytes(target.process.pid) <= MAX_RSS_BYTES


def test_nothing_was_kept_and_nothing_lies_outside(target: Target) -> None:
    kept = [path for path in (target.folder / "store" / "objects").rglob("*") if path.is_file()]
    assert [] == kept
    assert not Path("/tmp/evil").exists()


def test_no_word_of_a_peer_is_in_the_log(target: Target) -> None:
    text = (target.folder / "log").read_text()
    assert "protocol" in text
    assert not any(word in text for word in ("Traceback", "GET /", "[2J", "etc/x", "evil", CT))


def test_a_well_behaved_peer_is_served_as_ever(target: Target) -> None:
    with target.connect() as connection:
        connection.sendall(request() + store_message(radiograph()))
        assert wire.ASSOCIATE_AC == read_pdu(connection)[0]
        assert (0, "") == read_status(connection)


def highest_rss_bytes(pid: int) -> int:
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
