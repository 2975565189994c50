"""Sending the audit on: by UDP, TCP and TLS; nothing is lost while the server is away, and one process sends."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lxml import etree

from service.audit.audit import Audit
from service.audit.syslog import CURSOR, Sender
from service.site import Site
from service.store import audit_cursor
from tests.service.audit.audit_house import KEY, RADIOLOGIST
from tests.service.audit.test_export import SCHEMA, SYSLOG

FRAME = re.compile(rb"(\d+) ")


class Receiver:
    """A syslog server that counts octets (RFC 6587), one connection after the other; it may be deaf for a while."""

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = int(self.listening.getsockname()[1])
        self.messages: list[bytes] = []
        self._context, self._wires = context, []  # type: ignore[var-annotated]
        self._heard = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def wait(self, count: int) -> list[bytes]:
        """Wait until so many messages have come."""
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.messages) >= count, 10), len(self.messages)
            return list(self.messages)

    def stop(self) -> None:
        """Hang up and listen no more."""
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for wire in self._wires:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            wire.close()
        self._thread.join(5)

    def _work(self) -> None:
        while True:
            try:
                wire, _ = self.listening.accept()
                if self._context is not None:
                    wire = self._context.wrap_socket(wire, server_side=True)
                self._wires.append(wire)
                self._read(wire)
            except OSError:
                return

    def _read(self, wire: socket.socket) -> None:
        buffer = b""
        while data := wire.recv(65536):
            buffer += data
            while (size := FRAME.match(buffer)) and len(buffer) >= size.end() + int(size[1]):
                end = size.end() + int(size[1])
                with self._heard:
                    self.messages.append(buffer[size.end():end])
                    self._heard.notify_all()
                buffer = buffer[end:]


def numbers(messages: list[bytes]) -> list[int]:
    """Check every message, and return the lines they are of."""
    found = []
    for one in messages:
        frame = SYSLOG.fullmatch(one)
        assert frame, one
        document = etree.fromstring(frame[7])
        assert SCHEMA.validate(document), SCHEMA.error_log
        found.append(int(document.xpath("//@ParticipantObjectID")[-1].rpartition(":")[2]))
    return found


def sender(audit: Audit, address: str, **told: object) -> Sender:
    return Sender(audit.store, Site.model_validate({"audit": {"syslog": address, **told}}))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def see(audit: Audit, count: int) -> None:
    for _ in range(count):
        audit.note(RADIOLOGIST, "view", kind="study", item=KEY)


def test_lines_come_in_order_and_once(audit: Audit, receiver: Receiver) -> None:
    one = sender(audit, f"tcp://127.0.0.1:{receiver.port}")
    see(audit, 3)
    assert not one.step()
    see(audit, 2)
    one.step()
    one.step()
    assert [1, 2, 3, 4, 5] == numbers(receiver.wait(5))
    assert 5 == audit_cursor.sent(audit.store, CURSOR)
    one.close()


def test_server_that_was_away_gets_everything_later(audit: Audit) -> None:
    first = Receiver()
    one = sender(audit, f"tcp://127.0.0.1:{first.port}")
    see(audit, 2)
    one.step()
    first.wait(2)
    first.stop()
    see(audit, 2)
    with pytest.raises(ConnectionResetError):
        one.step()
    with pytest.raises(ConnectionRefusedError):
        one.step()
    again = Receiver(first.port)
    one.step()
    heard = numbers(again.wait(4))
    assert [1, 2, 3, 4] == heard, "the last batch comes again: it may have been lost in the server's memory"
    assert 4 == audit_cursor.sent(audit.store, CURSOR)
    one.close()
    again.stop()


def test_new_process_goes_on_where_the_last_one_stopped(audit: Audit, receiver: Receiver) -> None:
    for _ in range(2):
        see(audit, 2)
        one = sender(audit, f"tcp://127.0.0.1:{receiver.port}")
        one.step()
        one.close()
    assert [1, 2, 3, 4] == numbers(receiver.wait(4))


def test_one_of_two_processes_sends(audit: Audit, receiver: Receiver) -> None:
    one, two = (sender(audit, f"tcp://127.0.0.1:{receiver.port}") for _ in range(2))
    see(audit, 2)
    one.step()
    see(audit, 1)
    assert not two.step()
    one.step()
    one.close()
    see(audit, 1)
    two.step()
    assert [1, 2, 3, 4] == numbers(receiver.wait(4))
    two.close()


def test_lines_go_out_by_udp(audit: Audit) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(10)
        one = sender(audit, f"udp://127.0.0.1:{listening.getsockname()[1]}")
        see(audit, 2)
        one.step()
        assert [1, 2] == numbers([listening.recv(65536) for _ in range(2)])
        one.close()


def test_lines_go_out_by_tls_to_who_shows_the_right_certificate_only(audit: Audit, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver = Receiver(context=context)
    see(audit, 2)
    stranger = sender(audit, f"tls://127.0.0.1:{receiver.port}")
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.step()
    stranger.close()
    receiver.stop()
    receiver = Receiver(context=context)
    one = sender(audit, f"tls://127.0.0.1:{receiver.port}", tls_ca=str(certificate))
    one.step()
    assert [1, 2] == numbers(receiver.wait(2))
    one.close()
    receiver.stop()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 and its key."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return certificate, private
