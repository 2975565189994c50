"""Run Diaphane as a user does, in processes of its own that a test can kill: under one roof, or each command alone.

    with Node(tmp_path, released=releases, site=targets_toml(dimse("pacs", port))) as node:
        ...                                      # node.dicom_port, node.dicomweb, node.status(), node.settle(60)
        node.kill("work")                        # SIGKILL; it is started again

Ports are free ones of loopback and stay the same when a process is started again; the store is in ``folder``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import psutil
from pynetdicom import AE
from sqlalchemy import func, select

from service.orthanc import free_ports
from service.settings import Settings, read_settings
from service.store.store import Store
from service.store.tables import Case, Delivery, Job

ROOT = Path(__file__).resolve().parents[2]
Supervisor = Literal["node", "test"]
START_S, STOP_S, RESTART_S = 180.0, 40.0, 0.2
SCORES = "Diaphane scores with"
QUICK: dict[str, object] = {  # settings by name: what a test of seconds needs instead of minutes
    "quiet_s": 3, "release_quiet_s": 0.3, "lease_s": 5, "scoring_threads": 1, "drain_s": 5, "log_level": "info",
}


class NotReady(Exception):
    """Something did not become so in time."""


class Node:
    """The processes of one installation. ``supervisor`` "node" runs ``python -m service node``; "test" runs each command
    by itself and starts it again ``RESTART_S`` after it died, so that a hundred kills take no hundred growing pauses.
    """

    def __init__(
        self, folder: Path, *, site: str = "", released: Path | None = None, workers: int = 1,
        supervisor: Supervisor = "node", http: bool = True, deliver: bool = True, **settings: object,
    ) -> None:
        self.folder, self.supervisor = folder, supervisor
        self.names = [*(["start"] if http else []), "listen", *["work"] * workers, *(["deliver"] if deliver else [])]
        if supervisor == "node" and not (http and deliver):
            raise ValueError("`python -m service node` runs everything; choose supervisor='test' to leave a process out")
        self.http, self.workers = http, workers
        self.http_port, self.dicom_port = free_ports(2)
        folder.mkdir(parents=True, exist_ok=True)
        self.write_site(site)
        told = {"store": folder / "store", "site": folder / "site.toml", "port": self.http_port, "dicom_port": self.dicom_port,
                "dicomweb": True, **({"released": released} if released else {}), **QUICK, **settings}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DIAPHANE_")}
        self.environ = kept | {f"DIAPHANE_{name.upper()}": str(value) for name, value in told.items()}
        self.log = folder / "node.log"
        self.kills: dict[str, int] = {}
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._stopping = threading.Event()
        self._keeper: threading.Thread | None = None
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._said_before = 0

    @property
    def url(self) -> str:
        """The root of the HTTP service."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        """The root of our DICOMweb server."""
        return f"{self.url}/dicom-web"

    @property
    def settings(self) -> Settings:
        """What its processes were told."""
        return read_settings(self.environ)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self, *, ready_within_s: float = START_S) -> Self:
        """Start every process and wait until all of them do their work."""
        self._stopping.clear()
        self._said_before = self._said(SCORES)
        commands = [f"node --workers {self.workers}"] if self.supervisor == "node" else self.names
        for command in commands:
            self._spawn(command)
        if self.supervisor == "test":
            self._keeper = threading.Thread(target=self._keep_up, name="keeper")
            self._keeper.start()
        try:
            self.wait_until_ready(ready_within_s)
        except BaseException:
            self.stop()
            raise
        return self

    def write_site(self, site: str) -> None:
        """Write the site file, which is read at the start: a target may only be known once this node's ports are.

        Nobody needs to have signed for a release, unless the text says so.
        """
        trial = "" if "[commissioning]" in site else "\n[commissioning]\nrequired = false\n"
        (self.folder / "site.toml").write_text(site + trial, encoding="utf-8")

    def wait_until_ready(self, within_s: float = START_S) -> None:
        """Wait until HTTP is ready, C-ECHO is answered and every worker has its models. Raises NotReady with the log."""
        def ready() -> bool:
            return (not self.http or self._http_ready()) and self.echoes() and self._said(SCORES) - self._said_before >= self.workers

        wait_for(ready, within_s, lambda: f"the node is not ready; its log ends\n{self.tail()}")

    def stop(self) -> None:
        """End everything in order, and what does not end by force."""
        self._stopping.set()
        if self._keeper:
            self._keeper.join()
            self._keeper = None
        if self._store:
            self._store.close()
            self._store = None
        family = [child for _, process in self._processes for child in _with_children(process.pid)]
        for _, process in self._processes:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + STOP_S
        for _, process in self._processes:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []
        for left in psutil.wait_procs(family, timeout=5)[1]:
            left.kill()

    def pids(self, name: str) -> list[int]:
        """Return the living processes of a name: start, listen, work, deliver, or decode for the decoding children."""
        word = ("service.decoding",) if name == "decode" else ("service", name)
        found = []
        for parent in [process.pid for _, process in list(self._processes)]:
            for process in _with_children(parent):
                try:
                    line = process.cmdline()
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
                if process.status() != psutil.STATUS_ZOMBIE and _holds(line, word):
                    found.append(process.pid)
        return sorted(found)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL, *, which: int = 0) -> int | None:
        """Send a signal to the ``which``-th living process of a name; return its pid, None when there is none."""
        living = self.pids(name)
        if not living:
            return None
        pid = living[which % len(living)]
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return None
        self.kills[name] = self.kills.get(name, 0) + 1
        return pid

    def echoes(self, *, within_s: float = 2.0) -> bool:
        """Tell whether the receiver answers a C-ECHO."""
        entity = AE(ae_title="TEST")
        entity.add_requested_context("1.2.840.10008.1.1")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = within_s
        with warnings.catch_warnings():  # pynetdicom leaves the socket of a refused connection open, which pytest calls an error
            warnings.simplefilter("ignore", ResourceWarning)
            association = entity.associate("127.0.0.1", self.dicom_port, ae_title="DIAPHANE")
        if not association.is_established:
            return False
        answer = association.send_c_echo()
        association.release()
        return bool(getattr(answer, "Status", 1) == 0)

    def command(self, *words: str, check: bool = True, timeout_s: float = 120.0) -> str:
        """Run ``python -m service …`` with the node's settings and return what it printed."""
        done = subprocess.run([sys.executable, "-m", "service", *words], cwd=ROOT, env=self.environ, text=True,
                              capture_output=True, timeout=timeout_s, check=False)
        assert not check or done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """Return what ``python -m service status --json`` says."""
        told: dict[str, Any] = json.loads(self.command("status", "--json"))
        return told

    @property
    def store(self) -> Store:
        """The node's store, opened beside it; closed by ``stop``."""
        with self._lock:
            self._store = self._store or Store.open(self.settings)
            return self._store

    def waiting(self) -> dict[str, int]:
        """Count what is not finished: cases to be sealed, jobs and deliveries to be done. Quarantined ones are finished."""
        with self.store.reading() as session:
            counts = {"cases": session.scalar(select(func.count()).select_from(Case).where(Case.due_at.is_not(None))) or 0}
            for name, table in (("jobs", Job), ("deliveries", Delivery)):
                asked = select(func.count()).select_from(table).where(table.state.in_(("queued", "running")))
                counts[name] = session.scalar(asked) or 0
        return counts

    def settle(self, within_s: float) -> None:
        """Wait until nothing waits: all that was received is scored and delivered. Raises NotReady."""
        wait_for(lambda: not any(self.waiting().values()), within_s,
                 lambda: f"still waiting: {self.waiting()}; the log ends\n{self.tail()}")

    def tail(self, lines: int = 40) -> str:
        """Return the end of the log of all processes."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _spawn(self, command: str) -> None:
        with self.log.open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "service", *command.split()], cwd=ROOT, stdin=subprocess.DEVNULL,
                                       env=self.environ | {"DIAPHANE_WITH_PARENT": str(os.getpid())}, stdout=log, stderr=log)
        self._processes.append((command, process))

    def _keep_up(self) -> None:
        """Start again what died. The thread starts them, so it also outlives them: PR_SET_PDEATHSIG looks at threads."""
        while not self._stopping.wait(RESTART_S):
            for entry in [one for one in self._processes if one[1].poll() is not None]:
                self._processes.remove(entry)
                self._spawn(entry[0])

    def _http_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _said(self, words: str) -> int:
        return self.log.read_text(encoding="utf-8", errors="replace").count(words) if self.log.exists() else 0


def dimse(name: str, port: int, *, ae_title: str = "PACS", **more: object) -> dict[str, object]:
    """Describe a DIMSE target on loopback."""
    return {"name": name, "kind": "dimse", "host": "127.0.0.1", "port": port, "ae_title": ae_title, **more}


def stow(name: str, url: str, **more: object) -> dict[str, object]:
    """Describe a DICOMweb target."""
    return {"name": name, "kind": "stow", "url": url, **more}


def targets_toml(*targets: Mapping[str, object], before: str = "") -> str:
    """Write [[targets]] of a site file; ``before`` is other TOML."""
    lines = [before]
    for target in targets:
        lines += ["[[targets]]", *(f"{key} = {json.dumps(value)}" for key, value in target.items())]
    return "\n".join(lines) + "\n"


def wait_for(fact: Callable[[], object], within_s: float, otherwise: Callable[[], str], *, every_s: float = 0.1) -> None:
    """Wait until ``fact()`` is true. Raises NotReady saying ``otherwise()`` when it is not in time."""
    until = time.monotonic() + within_s
    while not fact():
        if time.monotonic() > until:
            raise NotReady(f"after {within_s:.0f} s: {otherwise()}")
        time.sleep(every_s)


def _with_children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _holds(line: Sequence[str], words: tuple[str, ...]) -> bool:
    """Tell whether a command line is ``python -m <words> …``."""
    return any(tuple(line[place + 1 : place + 1 + len(words)]) == words for place, word in enumerate(line) if word == "-m")
