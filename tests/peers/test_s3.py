"""Objects on an S3-compatible server: s3rver, a program of npm that keeps them in a folder of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.store.errors import StoreError
from service.store.inbox import Inbox
from service.store.objects import S3Objects
from service.store.retention import prune
from tests.make import needs_peer
from tests.make_store import slice_of, store_for

pytestmark = needs_peer("s3rver")
KEY = "S3RVER"  # the one account it has
BUCKET = "diaphane"
START_S = 60.0


@dataclass(frozen=True)
class Server:
    """A running server, the folder it keeps objects in and its process."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    folder = tmp_path / "bucket"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("s3rver") or "s3rver"
    command = [program, "-d", str(folder), "-a", "127.0.0.1", "-p", str(port), "--silent", "--configure-bucket", BUCKET]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + START_S
        while not _answers(port):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield Server(f"http://127.0.0.1:{port}", folder, process)
        process.kill()


def test_objects_are_put_read_listed_and_deleted(server: Server) -> None:
    objects = S3Objects(BUCKET, "pre/fix", server.url)
    sha256 = hashlib.sha256(b"image").hexdigest()
    assert set() == objects.put_many([b"image"])
    assert {sha256} == objects.put_many([b"image", b"other"])
    assert (b"image", None) == (objects.get(sha256), objects.path(sha256))
    assert {sha256, hashlib.sha256(b"other").hexdigest()} == set(objects.older_than(time.time() + 60))
    objects.delete([sha256, sha256])
    with pytest.raises(StoreError, match="is gone") as caught:
        objects.get(sha256)
    assert "damaged" == caught.value.code


def test_large_object_comes_back_whole(server: Server) -> None:
    content = os.urandom(20_000_000)
    objects = S3Objects(BUCKET, "", server.url)
    assert content == objects.get(objects.put(content))


def test_damage_on_the_server_is_noticed(server: Server) -> None:
    objects = S3Objects(BUCKET, "", server.url)
    sha256 = objects.put(b"image")
    (kept,) = (path for path in server.folder.rglob(f"*{sha256}*") if path.is_file() and path.read_bytes() == b"image")
    kept.write_bytes(b"imagf")
    with pytest.raises(StoreError, match="is not what was stored"):
        objects.get(sha256)


def test_store_receives_into_the_bucket_and_prunes_it(server: Server, tmp_path: Path) -> None:
    store = store_for(tmp_path, objects=f"s3://{BUCKET}/node1", objects_endpoint=server.url)
    inbox = Inbox(store, quiet_s=20, release_quiet_s=3)
    arrival = slice_of(1, 1)
    assert ["stored", "duplicate"] == [inbox.put(arrival), inbox.put(arrival)]
    inbox.close()
    assert arrival.data == store.objects.get(arrival.sha256)
    assert 0 == prune(store, 0.0)  # it waits to be sealed
    assert arrival.data == store.objects.get(arrival.sha256)
    store.close()


def test_wrong_key_or_bucket_is_said_when_the_store_opens(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"cannot be used \(ClientError 404\)"):
        store_for(tmp_path, objects="s3://no-such-bucket", objects_endpoint=server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "UNKNOWN")
    with pytest.raises(StoreError, match=r"cannot be used \(ClientError 403\)"):
        store_for(tmp_path, objects=f"s3://{BUCKET}", objects_endpoint=server.url)


def test_server_that_goes_away_acknowledges_nothing(server: Server, tmp_path: Path) -> None:
    store = store_for(tmp_path, objects=f"s3://{BUCKET}", objects_endpoint=server.url)
    inbox = Inbox(store, quiet_s=20, release_quiet_s=3)
    server.process.kill()
    server.process.wait(30)
    with pytest.raises(StoreError) as caught:
        inbox.put(slice_of(1, 1))
    inbox.close()
    store.close()
    assert "unreachable" == caught.value.code


def _answers(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0
