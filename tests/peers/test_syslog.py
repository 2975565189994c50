"""A real syslog server (rsyslogd) takes the audit: every line once, by TCP and TLS, also those of while it was down."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lxml import etree

from service.audit.audit import Audit
from service.audit.syslog import Sender
from service.lives import end
from service.orthanc import free_ports
from service.settings import Settings
from service.site import Site
from tests.make import REQUIRED
from tests.make_store import store_for
from tests.service.audit.audit_house import KEY, PERSON, RADIOLOGIST
from tests.service.audit.test_export import SCHEMA
from tests.service.audit.test_syslog import self_signed

RSYSLOGD = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
TLS_DRIVER = next(iter(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")), None)
needs_rsyslog = pytest.mark.skipif(
    not (Path(RSYSLOGD).exists() and TLS_DRIVER) and "peers" not in REQUIRED,
    reason="rsyslog or rsyslog-gnutls is not installed (DIAPHANE_REQUIRE=peers makes this a failure)",
)
LINE = re.compile(r"^PRI=(\d+) APP=(\S+) MSGID=(\S+) (.*)$", re.M)


@contextmanager
def rsyslogd(folder: Path, port: int, tls: tuple[Path, Path] | None = None) -> Iterator[None]:
    """Run one that writes what it understood of each message into ``received``."""
    secure = (f'global(defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{tls[0]}" '
              f'defaultNetstreamDriverCertFile="{tls[0]}" defaultNetstreamDriverKeyFile="{tls[1]}")\n' if tls else "")
    how = 'streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon"' if tls else ""
    (folder / "rsyslog.conf").write_text(
        f'global(workDirectory="{folder}" maxMessageSize="64k")\n{secure}module(load="imtcp" {how})\n'
        'template(name="told" type="string" string="PRI=%pri% APP=%app-name% MSGID=%msgid% %msg%\\n")\n'
        f'input(type="imtcp" port="{port}" address="127.0.0.1")\n'
        f'action(type="omfile" file="{folder}/received" template="told")\n', encoding="utf-8")
    with (folder / "said").open("a") as said:
        process = subprocess.Popen([RSYSLOGD, "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")],
                                   stdout=subprocess.DEVNULL, stderr=said)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            raise AssertionError((folder / "said").read_text(encoding="utf-8"))
        yield
    finally:
        end(process, 10)


def received(folder: Path, count: int) -> list[int]:
    """Wait for so many messages; check each, and return the lines they are of."""
    until = time.monotonic() + 20
    while True:
        path = folder / "received"
        told = LINE.findall(path.read_text(encoding="utf-8")) if path.exists() else []
        if len(told) >= count or time.monotonic() > until:
            break
        time.sleep(0.05)
    numbers = []
    for priority, app, message_id, message in told:
        assert ("85", "diaphane", "DICOM+RFC3881") == (priority, app, message_id)
        document = etree.fromstring(message.lstrip("\ufeff").encode())
        assert SCHEMA.validate(document), SCHEMA.error_log
        numbers.append(int(document.xpath("//@ParticipantObjectID")[-1].rpartition(":")[2]))
    return numbers


@needs_rsyslog
@pytest.mark.parametrize("way", ["tcp", "tls"])
def test_rsyslog_takes_every_line(tmp_path: Path, way: str) -> None:
    (port,) = free_ports(1)
    tls = self_signed(tmp_path) if way == "tls" else None
    store = store_for(tmp_path)
    site = Site.model_validate({"audit": {"syslog": f"{way}://127.0.0.1:{port}", **({"tls_ca": str(tls[0])} if tls else {})}})
    audit, sender = Audit(store, Site(), Settings(store=tmp_path / "store")), Sender(store, site)

    def see(count: int) -> None:
        for _ in range(count):
            audit.note(RADIOLOGIST, "view", kind="study", item=KEY, persons=[PERSON])

    see(3)
    with rsyslogd(tmp_path, port, tls):
        sender.step()
        assert [1, 2, 3] == received(tmp_path, 3)
    see(2)
    with pytest.raises(OSError, match=r".+"):
        sender.step()
    with pytest.raises(ConnectionRefusedError):
        sender.step()
    (tmp_path / "received").unlink()
    with rsyslogd(tmp_path, port, tls):
        sender.step()
        assert [1, 2, 3, 4, 5] == received(tmp_path, 5), "those of the broken connection come again"
    sender.close()
    store.close()
