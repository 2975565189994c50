"""What is sent on purpose to break an HTTP server: each is answered clearly, and the process lives and stays small."""

from __future__ import annotations

import gzip
import io
import os
import socket
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.hostile import bomb, rle
from tests.make import dicom_bytes, mr_series, radiograph_dataset, tiny_release
from tests.service.dicom.web_house import BOUNDARY, RELATED, related
from tests.service.test_serve import started

MIB = 1 << 20
MOST_RSS = 512 * MIB
LONGEST_S = 20.0  # on a machine that may be busy; alone each takes a second or two
GOOD = dicom_bytes(radiograph_dataset())
STUDIES = "/dicom-web/studies"
INSTANCE = f"{STUDIES}/{radiograph_dataset().StudyInstanceUID}/series/{radiograph_dataset().SeriesInstanceUID}/instances/" \
           f"{radiograph_dataset().SOPInstanceUID}"


@dataclass(frozen=True)
class Target:
    """The service under attack."""

    url: str
    process: subprocess.Popen[str]

    @property
    def peak(self) -> int:
        """The most memory the process has held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def connect(self) -> socket.socket:
        parts = urlsplit(self.url)
        return socket.create_connection((parts.hostname, parts.port), timeout=LONGEST_S)

    def raw(self, head: str, *pieces: bytes, every_s: float = 0.0) -> int:
        """Send bytes as they are and return the status of the answer; 0 when the connection is closed without one."""
        with self.connect() as peer:
            answer = b""
            try:
                peer.sendall(head.encode())
                for piece in pieces:
                    peer.sendall(piece)
                    if every_s:
                        time.sleep(every_s)
                answer = peer.recv(4096)
            except (BrokenPipeError, ConnectionResetError):
                with suppress(ConnectionError):
                    answer = peer.recv(4096)
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0

    def post(self, path: str, body: bytes | Iterator[bytes], headers: dict[str, str]) -> int:
        try:
            return httpx.post(self.url + path, content=body, headers=headers, timeout=LONGEST_S).status_code
        except httpx.WriteError:  # it answered and closed while we were still sending
            return 0

    def get(self, path: str, **headers: str) -> int:
        return httpx.get(self.url + path, headers=headers, timeout=LONGEST_S).status_code


def head(path: str = STUDIES, *, length: int | str = "", more: str = "", kind: str = RELATED["content-type"]) -> str:
    sized = f"Content-Length: {length}\r\n" if length != "" else ""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{sized}{more}\r\n"


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def without_end(size: int, first: bytes) -> Iterator[bytes]:
    """A body that begins well and then goes on."""
    yield first
    for _ in range(size // MIB):
        yield b"x" * MIB


OPEN = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
DICOM = {"content-type": "application/dicom"}
ZIP = {"content-type": "application/zip"}
JSON = {"content-type": "application/dicom+json"}
GZIPPED = gzip.compress(b"\0" * (64 * MIB), 9) * 16  # a gigabyte in a megabyte

# name → (what is done, the answers that are right; 0: the connection is closed)
CASES: dict[str, tuple[Callable[[Target], int], tuple[int, ...]]] = {
    "a hundred thousand parts": (lambda t: t.post(STUDIES, related([b"x"] * 100_000), RELATED), (413,)),
    "a hundred thousand parts to be scored": (lambda t: t.post("/v1/images", related([GOOD[:200]] * 100_000), RELATED), (413,)),
    "no boundary": (lambda t: t.post(STUDIES, b"x", {"content-type": "multipart/related; type=application/dicom"}), (400,)),
    "a boundary of a kilobyte": (lambda t: t.post(STUDIES, b"x", {"content-type": f"{RELATED['content-type']}{'b' * 1000}"}), (400,)),
    "a boundary that never comes": (lambda t: t.post(STUDIES, without_end(64 * MIB, b""), RELATED), (400, 0)),
    "boundaries inside boundaries": (lambda t: t.post(STUDIES, OPEN[:-2].rstrip() * 5000, RELATED), (400, 413)),
    "headers of a part without end": (lambda t: t.post(STUDIES, without_end(64 * MIB, OPEN[:-4]), RELATED), (400, 0)),
    "no closing boundary": (lambda t: t.post(STUDIES, related([GOOD])[:-20], RELATED), (400,)),
    "an epilogue without end": (lambda t: t.post(STUDIES, without_end(64 * MIB, related([GOOD])), RELATED), (200, 0)),
    "an object larger than allowed": (lambda t: t.post(STUDIES, without_end(300 * MIB, OPEN), RELATED), (400, 0)),
    "a single object larger than allowed": (lambda t: t.post(STUDIES, without_end(300 * MIB, GOOD), DICOM), (413, 0)),
    "a length that is too small": (lambda t: t.raw(head(length=100), related([GOOD])), (400,)),
    "a length that is too large": (lambda t: t.raw(head(length=10**9), related([GOOD])), (408,)),
    "a length of ten to the hundred": (lambda t: t.raw(head(length=10**100), b"x"), (400, 413)),
    "a length that is negative": (lambda t: t.raw(head(length=-5), b"x"), (400,)),
    "a length and chunks at once": (lambda t: t.raw(head(length=5, more="Transfer-Encoding: chunked\r\n"), b"0\r\n\r\n"), (400,)),
    "a chunk of a size that is no number": (lambda t: t.raw(head(more="Transfer-Encoding: chunked\r\n"), b"zz\r\nx\r\n"), (400, 0)),
    "a body that drips": (lambda t: t.raw(head(length=10_000), *[b"-"] * 40, every_s=0.1), (408,)),
    "a head without end": (lambda t: t.raw("GET / HTTP/1.1\r\n", *[b"X: " + b"y" * MIB] * 32), (431, 0)),
    "a line without end": (lambda t: t.raw("GET /" + "a" * MIB, *[b"a" * MIB] * 32), (431, 400, 0)),
    "no HTTP at all": (lambda t: t.raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 500), (400,)),
    "a query of fifty kilobytes": (lambda t: t.get(f"{STUDIES}?PatientID={'x' * 50_000}"), (400,)),
    "ten thousand parameters": (lambda t: t.get(f"{STUDIES}?{'&'.join(f'{n:08X}=' for n in range(6000))}"), (400,)),
    "ten thousand accepted types": (lambda t: t.get(STUDIES, accept=",".join(["text/x"] * 8000)), (406,)),
    "a path that leads out": (lambda t: t.get(f"{STUDIES}/..%2f..%2f..%2fetc%2fpasswd"), (400, 404)),
    "a path that leads out, twice encoded": (lambda t: t.get(f"{STUDIES}/%252e%252e%252fetc/metadata"), (400, 404)),
    "a UID that leads out": (lambda t: t.post(STUDIES, dicom_bytes(radiograph_dataset(SOPInstanceUID="../evil")), DICOM), (409,)),
    "a UID with a zero byte": (lambda t: t.get(f"{STUDIES}/1.2%00.3/series"), (400, 404)),
    "twenty thousand frames": (lambda t: t.get(f"{INSTANCE}/frames/{'1,' * 20_000}1"), (400,)),
    "a picture of a billion pixels": (lambda t: t.get(f"{INSTANCE}/rendered?viewport=1e9,1e9"), (400,)),
    "JSON a hundred thousand deep": (lambda t: t.post("/dicom-web/workitems", b"[" * 100_000, JSON), (400,)),
    "JSON of a hundred megabytes": (lambda t: t.post("/dicom-web/workitems", without_end(100 * MIB, b"["), JSON), (413, 0)),
    "JSON of half a million numbers": (lambda t: t.post("/dicom-web/workitems", b"[" + b"1," * 500_000 + b"1]", JSON), (400,)),
    "a name that leads out of a zip": (lambda t: t.post("/v1/images", zipped("../../evil.dcm", GOOD), ZIP), (400,)),
    "a zip that unpacks a thousandfold": (lambda t: t.post("/v1/images", zipped("a.dcm", b"\0" * (128 * MIB)), ZIP), (413,)),
    "gzip of a gigabyte to be stored": (lambda t: t.post(STUDIES, GZIPPED, RELATED | {"content-encoding": "gzip"}), (415,)),
    "gzip of a gigabyte to be scored": (lambda t: t.post("/v1/images", GZIPPED, DICOM | {"content-encoding": "gzip"}), (400, 415)),
    "a deflated object of two gigabytes": (lambda t: t.post(STUDIES, related([bomb(2048)]), RELATED), (409,)),
    "RLE that claims four gigapixels": (lambda t: t.post(STUDIES, related([rle(65535, 65535)]), RELATED), (409,)),
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    tiny_release(folder / "released", "image_classification")
    told = {"DIAPHANE_DICOMWEB": "true", "DIAPHANE_STORE": str(folder / "store"), "DIAPHANE_UPLOAD_TIMEOUT_S": "2",
            "DIAPHANE_MAX_BODIES_MIB": "256", "DIAPHANE_MAX_INSTANCE_MIB": "64", "DIAPHANE_MAX_IMAGE_BODY_MIB": "64"}
    with started(folder / "released", folder / "log", **told) as (process, url):
        found = Target(url, process)
        assert 200 == found.post(STUDIES, GOOD, DICOM)
        yield found


@pytest.mark.parametrize("name", CASES)
def test_hostile_requests_are_answered_and_survived(target: Target, name: str) -> None:
    attack, right = CASES[name]
    began = time.monotonic()

    status = attack(target)

    assert status in right
    assert LONGEST_S > time.monotonic() - began
    assert 200 == target.get("/livez")
    assert target.process.poll() is None
    assert MOST_RSS > target.peak


def test_two_hundred_connections_that_never_ask_keep_nobody_out(target: Target) -> None:
    silent = [target.connect() for _ in range(200)]
    try:
        for peer in silent[100:]:
            peer.sendall(b"GET / HTTP/1.1\r\nX: ")
        began = time.monotonic()
        status = target.post(STUDIES, related([GOOD]), RELATED)
        took = time.monotonic() - began
        for peer in silent:
            peer.settimeout(LONGEST_S)
        answers = {peer.recv(100)[:12] for peer in silent}
    finally:
        for peer in silent:
            peer.close()

    assert 200 == status
    assert 3.0 > took
    assert {b"HTTP/1.1 408"} == answers


def test_after_all_that_good_objects_are_stored_and_found(target: Target) -> None:
    answer = httpx.post(target.url + STUDIES, content=related([dicom_bytes(one) for one in mr_series()]), headers=RELATED)

    assert 200 == answer.status_code
    assert 200 == target.get(STUDIES)
    assert MOST_RSS > target.peak


@pytest.mark.slow
def test_a_body_of_a_gigabyte_is_stored_in_little_memory(tmp_path: Path) -> None:
    """Two thousand CT-sized objects of half a megabyte in one request."""
    tiny_release(tmp_path / "released", "image_classification")
    one = mr_series()[0]
    one.Rows = one.Columns = 512
    one.PixelData = os.urandom(512 * 512 * 2)
    data, uid = dicom_bytes(one), one.SOPInstanceUID.encode()

    def body() -> Iterator[bytes]:
        for number in range(2000):
            part = data.replace(uid, f"1.2.3.4.5.6.7.8.{number:06d}".ljust(len(uid), "0").encode())
            yield OPEN + part + b"\r\n"
        yield f"--{BOUNDARY}--\r\n".encode()

    with started(tmp_path / "released", tmp_path / "log", DIAPHANE_DICOMWEB="true",
                 DIAPHANE_STORE=str(tmp_path / "store")) as (process, url):
        target = Target(url, process)
        answer = httpx.post(url + STUDIES, content=body(), headers=RELATED, timeout=300)

        assert (200, 2000) == (answer.status_code, len(answer.json()["00081199"]["Value"]))
        assert MOST_RSS > target.peak
