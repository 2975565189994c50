"""Delivery: bytes leave as they were made, every answer is told permanent from passing, and nothing waits for ever."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event

from models.dicom_bytes import outline
from service.dicom import wire
from service.dicom.client import Undelivered, deliver, echo
from service.site import Target
from tests.make import dicom_bytes
from tests.make_receiver import DX, ECHO, certificates, radiograph, receiving

SEG, PM, SR, SC = (
    "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7",
)


def made(*classes: str) -> list[bytes]:
    """Return one file of each class, as good as any for a transport."""
    return [dicom_bytes(radiograph(place, SOPClassUID=uid)) for place, uid in enumerate(classes, start=1)]


class Pacs:
    """A pynetdicom storage provider that answers with a status, and keeps the datasets as they came."""

    def __init__(self, status: int = 0, classes: tuple[str, ...] = (), syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian,)) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.status = status
        entity = AE(ae_title="PACS")
        entity.require_calling_aet = ["DIAPHANE"]
        for uid in classes or tuple(str(one.abstract_syntax) for one in AllStoragePresentationContexts):
            entity.add_supported_context(uid, list(syntaxes))
        entity.add_supported_context(ECHO)
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._keep)])
        self.target = Target(name="pacs", kind="dimse", host="127.0.0.1", port=self.server.server_address[1], timeout_s=5)

    def _keep(self, event: Event) -> int:
        self.received.append((event.context.transfer_syntax, event.request.DataSet.getvalue()))
        return self.status

    def __enter__(self) -> Pacs:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()


def failure(target: Target, files: list[bytes]) -> tuple[str, bool]:
    """Deliver and return why it failed, ("", False) when it did not."""
    try:
        deliver(target, files)
    except Undelivered as error:
        return error.reason, error.permanent
    return "", False


def test_every_kind_of_object_arrives_byte_for_byte_and_in_order() -> None:
    files = made(PM, SEG, SR, SC)
    with Pacs() as pacs:
        deliver(pacs.target, files)
        assert [(ExplicitVRLittleEndian, file[outline(file).start :]) for file in files] == pacs.received


def test_a_large_object_is_cut_into_pdus_the_peer_takes() -> None:
    with Pacs() as pacs:
        file = dicom_bytes(radiograph(PixelData=bytes(32 * 32 * 1000), NumberOfFrames=1000))
        deliver(pacs.target, [file])
        assert [file[outline(file).start :]] == [data for _, data in pacs.received]


def test_a_peer_of_the_default_syntax_alone_gets_the_same_values_in_it() -> None:
    (file,) = made(SC)
    with Pacs(syntaxes=(ImplicitVRLittleEndian,)) as pacs:
        deliver(pacs.target, [file])
        ((syntax, data),) = pacs.received
    sent = pydicom.dcmread(io.BytesIO(file))
    came = pydicom.dcmread(io.BytesIO(data), force=True)
    assert ImplicitVRLittleEndian == syntax
    assert Dataset(sent) == Dataset(came)


@pytest.mark.parametrize(("status", "expected"), [
    (0x0000, ("", False)), (0xB000, ("", False)), (0xB007, ("", False)), (0x0111, ("", False)),
    (0xA700, ("status_a700", False)), (0x0110, ("status_0110", False)), (0x0213, ("status_0213", False)),
    (0xA900, ("status_a900", True)), (0xC123, ("status_c123", True)), (0x0122, ("status_0122", True)),
    (0x0124, ("status_0124", True)),
])
def test_each_status_means_done_later_or_never(status: int, expected: tuple[str, bool]) -> None:
    with Pacs(status) as pacs:
        assert expected == failure(pacs.target, made(SC))


def test_a_class_the_pacs_does_not_take_does_not_stop_the_others() -> None:
    with Pacs(classes=(SR, SC)) as pacs:
        assert ("status_0122", True) == failure(pacs.target, made(PM, SC, SR))
        assert 2 == len(pacs.received)


def test_a_rejection_is_told_by_its_reason() -> None:
    with Pacs() as pacs:
        stranger = pacs.target.model_copy(update={"calling_ae_title": "STRANGER"})
        assert ("rejected_calling_ae_title", False) == failure(stranger, made(SC))


def test_echo_is_answered() -> None:
    with Pacs() as pacs:
        echo(pacs.target)


@contextmanager
def answering(*answers: bytes) -> Iterator[Target]:
    """Listen and answer each PDU of the first connection with the next of ``answers``, then hang up; none: say nothing."""
    listening = socket.create_server(("127.0.0.1", 0))
    held = []

    def answer() -> None:
        connection, _ = listening.accept()
        held.append(connection)
        for one in answers:
            connection.recv(65536)
            connection.sendall(one)
        if answers:
            connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield Target(name="odd", kind="dimse", host="127.0.0.1", port=listening.getsockname()[1], timeout_s=0.5)
    finally:
        thread.join(10)
        listening.close()
        for one in held:
            one.close()


@pytest.mark.parametrize(("answers", "reason"), [
    ((), "connection_slow"),
    ((b"",), "connection_closed"),
    ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "protocol"),
    ((wire.abort(0),), "aborted"),
    ((wire.reject(2, 3, 2),), "rejected_local_limit"),
    ((wire.HEAD.pack(wire.ASSOCIATE_AC, 2**32 - 1),), "protocol"),
    ((wire.HEAD.pack(wire.ASSOCIATE_AC, 100) + bytes(100),), "protocol"),
])
def test_a_peer_that_does_not_speak_properly_is_told_so_in_time(answers: tuple[bytes, ...], reason: str) -> None:
    with answering(*answers) as target:
        began = time.monotonic()
        assert (reason, False) == failure(target, made(SC))
        assert time.monotonic() - began < 5


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for target in (Target(name="gone", kind="dimse", host="127.0.0.1", port=port),
                   Target(name="gone", kind="stow", url=f"http://127.0.0.1:{port}")):
        assert ("unreachable", False) == failure(target, made(SC))
        with pytest.raises(Undelivered):
            echo(target)


def test_bytes_that_are_no_dicom_are_never_sent() -> None:
    with Pacs() as pacs:
        assert ("not_dicom_not_dicom", True) == failure(pacs.target, [b"hello" * 50])
        assert [] == pacs.received


def test_tls_checks_the_server_and_shows_our_certificate(tmp_path: Path) -> None:
    files = certificates(tmp_path / "tls")
    with receiving(tmp_path, tls_cert=files["server.pem"], tls_key=files["server.key"], tls_ca=files["ca.pem"]) as us:
        target = Target(
            name="tls", kind="dimse", host="localhost", port=us.port, ae_title="DIAPHANE", tls=True, timeout_s=5,
            tls_ca=files["ca.pem"], tls_cert=files["client.pem"], tls_key=files["client.key"],
        )
        echo(target)
        deliver(target, made(DX))
        assert 1 == len(us.kept())
        assert ("tls", False) == failure(target.model_copy(update={"tls_ca": None}), made(DX))
        assert ("tls_files", False) == failure(target.model_copy(update={"tls_ca": files["ca.key"]}), made(DX))
        anonymous, _ = failure(target.model_copy(update={"tls_cert": None, "tls_key": None}), made(DX))
        assert anonymous.startswith(("connection_", "tls"))


class Archive(ThreadingHTTPServer):
    """A DICOMweb server that answers as it is told, and keeps what it was sent."""

    def __init__(self, code: int = 200, answer: Any = None, *, headers: dict[str, str] | None = None, wait_s: float = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.code, self.answer, self.headers, self.wait_s = code, answer, headers or {}, wait_s
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        url = f"http://127.0.0.1:{self.server_port}/root/"
        self.target = Target(name="archive", kind="stow", url=url, timeout_s=2, token="s3cret")

    def __enter__(self) -> Archive:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Archive

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.path, dict(self.headers), body))
        time.sleep(self.server.wait_s)
        answer = self.server.answer if isinstance(self.server.answer, bytes) else json.dumps(self.server.answer or {}).encode()
        self.send_response(self.server.code)
        for name, value in {"Content-Length": str(len(answer)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # who has heard enough hangs up
            self.wfile.write(answer)

    do_POST = do_GET = _answer  # noqa: N815  the library's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def failed(*reasons: int) -> dict[str, Any]:
    """Return the answer of a STOW-RS server that failed to store so many objects."""
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [one]}} for one in reasons]}}


def test_stow_sends_every_file_byte_for_byte() -> None:
    files = made(PM, SR)
    with Archive() as archive:
        deliver(archive.target, files)
        ((path, headers, body),) = archive.requests
    whole = message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body, policy=HTTP)
    assert ("/root/studies", "Bearer s3cret", "application/dicom+json") == (path, headers["Authorization"], headers["Accept"])
    assert 'type="application/dicom"' in headers["Content-Type"]
    assert ["application/dicom"] * 2 == [part.get_content_type() for part in whole.iter_parts()]
    assert all(file in body for file in files)


@pytest.mark.parametrize(("code", "answer", "expected"), [
    (200, {}, ("", False)),
    (200, b"<html>", ("", False)),
    (202, {"00081199": {"vr": "SQ", "Value": [{}]}}, ("", False)),
    (202, failed(0x0122), ("status_0122", True)),
    (202, failed(0xA700), ("status_a700", False)),
    (202, failed(0x0122, 0xA700), ("status_0122", False)),
    (409, failed(0xA900, 0xC000), ("status_a900", True)),
    (409, failed(0x0111), ("", False)),
    (409, failed(45070), ("", False)),
    (409, {}, ("http_409", True)),
    (400, {}, ("http_400", True)),
    (415, {}, ("http_415", True)),
    (401, {}, ("http_401", False)),
    (429, {}, ("http_429", False)),
    (503, {}, ("http_503", False)),
    (507, {}, ("http_507", False)),
    (202, b'{"00081198": {"Value": [[]]}}', ("http_202_unreadable", True)),
    (202, b"<html>", ("http_202_unreadable", True)),
])
def test_each_answer_of_stow_means_done_later_or_never(code: int, answer: Any, expected: tuple[str, bool]) -> None:
    with Archive(code, answer) as archive:
        assert expected == failure(archive.target, made(SC))


def test_a_token_stays_with_its_host() -> None:
    with Archive() as other, Archive(307, headers={"Location": f"http://127.0.0.1:{other.server_port}/studies"}) as archive:
        assert ("http_307", False) == failure(archive.target, made(SC))
        assert [] == other.requests


def test_a_slow_archive_is_given_up_in_time() -> None:
    with Archive(wait_s=2) as archive:
        assert ("connection_slow", False) == failure(archive.target.model_copy(update={"timeout_s": 0.3}), made(SC))


def test_an_answer_without_end_is_read_no_further() -> None:
    with Archive(answer=bytes(32 * 1024 * 1024)) as archive:
        deliver(archive.target, made(SC))


def test_a_dicomweb_server_that_answers_a_search_is_there() -> None:
    with Archive(answer=[]) as archive:
        echo(archive.target)
        assert "/root/studies?limit=1" == archive.requests[0][0]
    with Archive(502) as archive, pytest.raises(Undelivered):
        echo(archive.target)


def test_no_reason_holds_a_word_of_the_peer() -> None:
    answers: list[Callable[[], Archive]] = [lambda: Archive(500, b"CANARI^TEST"), lambda: Archive(202, failed(0xC000))]
    for answer in answers:
        with answer() as archive:
            reason, _ = failure(archive.target, made(SC))
        assert reason.replace("_", "").isalnum()
