"""What is measured: our receiver or whole node, and beside it Orthanc and pynetdicom's own storescp, each in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from service.bench.machine import command_of, family
from service.orthanc import AE_TITLE, PROGRAM, Orthanc
from service.serve import WITH_PARENT
from service.settings import PREFIX, Settings, read_settings, to_environ
from service.store.ledger import counts
from service.store.store import Store

START_S, STOP_S = 120.0, 40.0


class NotMeasurable(Exception):
    """A program that the bench needs is missing or does not start. The message says which."""


@dataclass
class Server:
    """One running receiver of images. ``syncs`` says what it has brought to disk when it acknowledges."""

    name: str
    ae_title: str
    port: int
    syncs: str
    pid: int
    held: Callable[[], int] = field(repr=False)  # images it has
    stop: Callable[[], None] = field(repr=False)


def diaphane_receiver(folder: Path) -> Server:
    """Start ``python -m service listen``."""
    settings = read_settings({}, store=folder / "store", dicom_port=free_port(), log_level="warning")
    process = spawn(["-m", "service", "listen"], folder / "listen.log", settings)
    _wait(process, settings.dicom_port, "our receiver")
    return Server("Diaphane", settings.ae_title, settings.dicom_port, "every file and row", process.pid,
                  lambda: _held(settings), lambda: end(process))


def orthanc_receiver(folder: Path) -> Server:
    """Start Debian's Orthanc as it comes: SyncStorageArea is on, its SQLite runs in WAL mode with synchronous=NORMAL."""
    orthanc = Orthanc(folder).start()
    return Server("Orthanc", AE_TITLE, orthanc.dicom_port, "every file, not every row", orthanc_pid(),
                  lambda: int(orthanc.get("/statistics")["CountInstances"]), orthanc.close)


def storescp_receiver(folder: Path) -> Server:
    """Start pynetdicom's own example receiver, which writes a file and syncs nothing."""
    port = free_port()
    received = folder / "received"
    received.mkdir(parents=True)
    process = spawn(["-m", "pynetdicom", "storescp", str(port), "-q", "-od", str(received)], folder / "storescp.log")
    _wait(process, port, "pynetdicom's storescp")
    return Server("pynetdicom storescp", "STORESCP", port, "nothing", process.pid,
                  lambda: sum(1 for _ in received.iterdir()), lambda: end(process))


def orthanc_pid() -> int:
    """Return the process of the one Orthanc that this process started."""
    return next(pid for pid in family(os.getpid()) if command_of(pid) == PROGRAM)


def spawn(words: list[str], log: Path, settings: Settings | None = None) -> subprocess.Popen[bytes]:
    """Start Python with ``words``; of our settings it knows only those given."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environ |= (to_environ(settings) if settings else {}) | {WITH_PARENT: str(os.getpid())}
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, *words], env=environ, cwd=Path(__file__).resolve().parents[2],  # noqa: S603  ours
                                stdin=subprocess.DEVNULL, stdout=file, stderr=file)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and make it."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def program(name: str) -> str:
    """Return where a program is. Raises NotMeasurable saying how to get it."""
    found = shutil.which(name)
    if found is None:
        raise NotMeasurable(f"The bench needs {name}: apt-get install dcmtk orthanc orthanc-dicomweb")
    return found


def echoes(port: int, ae_title: str) -> bool:
    """Tell whether a receiver answers C-ECHO, asked by dcmtk."""
    words = [program("echoscu"), "-q", "-to", "5", "-aec", ae_title, "127.0.0.1", str(port)]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0  # noqa: S603  a program found above


def free_port() -> int:
    """Return a free TCP port of loopback."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _held(settings: Settings) -> int:
    store = Store.open(settings)
    try:
        return int(counts(store)["instances"])
    finally:
        store.close()


def _wait(process: subprocess.Popen[bytes], port: int, what: str) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as one:
            one.settimeout(1)
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    end(process)
    raise NotMeasurable(f"{what} does not start; see its log")
