"""Service: CPU it adds to the core per image at concurrency 4, and its memory over thousands of requests.

The service runs as users run it, `python -m service start`, in its own process; this room only sends it HTTP.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil

from models.model import Model
from models.prediction import to_json
from models.read_dicom import read_dicom
from models.read_image import read_raster
from training.bench.inputs import ROOT
from training.bench.report import Row, missing

PART = "service"
CONCURRENCY = 4
ADDED_BAR = 10.0  # percent of the core's CPU
MEMORY_BAR_MB = 20.0  # growth over the memory test's requests, after the first fifth
START_S, STOP_S, WAIT_S = 120.0, 20.0, 60.0
CHUNK = 24  # images a turn of the service, then of the core
MEDIA = {".dcm": "application/dicom", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def bench_service(model: Model, path: Path, seconds: float, requests: int, *, released: Path | None = None
                  ) -> list[Row]:
    """Measure the service on one image file that ``model`` scores. ``requests`` are those of the memory test."""
    body, media = path.read_bytes(), MEDIA[path.suffix.lower()]

    def core(_: int) -> str:
        volume = read_dicom([body]) if media == "application/dicom" else read_raster(body)
        return json.dumps(to_json(model.predict(volume)))

    try:
        with started(released) as (address, server), ThreadPoolExecutor(CONCURRENCY) as pool:
            clients = Clients(address, f"/v1/images?model={model.id}", body, media)
            list(pool.map(clients.send, range(2 * CONCURRENCY)))
            list(pool.map(core, range(2 * CONCURRENCY)))
            cost = _cost(pool, clients.send, core, server, seconds)
            memory = _memory(pool, clients.send, server, requests)
            clients.close()
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        return [missing(PART, "CPU the service adds per image", f"the service did not serve: {error}", bar=ADDED_BAR)]
    return [*cost, memory]


class Clients:
    """Keep-alive connections over loopback, one for each of the threads that call ``send``."""

    def __init__(self, address: str, target: str, body: bytes, media: str) -> None:
        host = urlsplit(address)
        self._free = [http.client.HTTPConnection(str(host.hostname), host.port, timeout=WAIT_S)
                      for _ in range(CONCURRENCY)]
        self._target, self._body, self._media = target, body, media

    def send(self, _: int) -> None:
        """Send the image once. Raises RuntimeError when it is not scored."""
        connection = self._free.pop()  # list.pop and append are atomic, and no more threads call than there are
        try:
            connection.request("POST", self._target, self._body, {"Content-Type": self._media})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            self._free.append(connection)
        if answer.status != 200 or b'"status":"scored"' not in content:
            raise RuntimeError(f"the service must score the image, found HTTP {answer.status}")

    def close(self) -> None:
        """Hang up."""
        for connection in self._free:
            connection.close()


@contextmanager
def started(released: Path | None) -> Iterator[tuple[str, psutil.Process]]:
    """Run the service on a free loopback port; give its address and process. Stopped whatever happens."""
    command = [sys.executable, "-m", "service", "start", "--port", "0"]
    command += ["--released", str(released)] if released else []
    environ = {**os.environ, "DIAPHANE_WITH_PARENT": str(os.getpid())}
    process = subprocess.Popen(  # noqa: S603  our own program
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise RuntimeError("the service printed no address")
        address = "http://" + line.strip().split("http://", 1)[1]
        _wait_ready(address, process)
        yield address, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_ready(address: str, process: subprocess.Popen[str]) -> None:
    host, until = urlsplit(address), time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass  # not listening yet
        finally:
            connection.close()
        time.sleep(0.1)
    raise RuntimeError("the service did not become ready")


def _cost(pool: ThreadPoolExecutor, send: Callable[[int], None], core: Callable[[int], str], server: psutil.Process,
          seconds: float) -> list[Row]:
    """CPU of the server's process tree per image over that of the core doing the same from the same bytes, in turns."""
    served, alone, rates = [], [], []
    until = time.perf_counter() + 3 * seconds
    while len(served) < 4 or time.perf_counter() < until:
        before, began = _tree_cpu_s(server), time.perf_counter()
        list(pool.map(send, range(CHUNK)))
        rates.append(CHUNK / (time.perf_counter() - began))
        served.append((_tree_cpu_s(server) - before) / CHUNK)
        before = time.process_time()
        list(pool.map(core, range(CHUNK)))
        alone.append((time.process_time() - before) / CHUNK)
    within = 100 * (np.array(served) / np.array(alone) - 1)
    added = 100 * (float(np.median(served)) / float(np.median(alone)) - 1)
    ms = {"service_cpu_ms": 1000 * float(np.median(served)), "core_cpu_ms": 1000 * float(np.median(alone)),
          "images_per_s": float(np.median(rates)), "images": CHUNK * len(served)}
    return [
        Row(PART, f"CPU the service adds per image, concurrency {CONCURRENCY}", added, "%",
            *(float(np.quantile(within, q)) for q in (0.1, 0.9)), ADDED_BAR, "less",
            f"{ms['service_cpu_ms']:.1f} ms against {ms['core_cpu_ms']:.1f} ms for read_dicom + predict + JSON, also "
            f"in {CONCURRENCY} threads; {len(served)} turns", ms),
        Row(PART, f"images a second, concurrency {CONCURRENCY}", ms["images_per_s"], "1/s",
            note="the client shares the cores"),
    ]


def _memory(pool: ThreadPoolExecutor, send: Callable[[int], None], server: psutil.Process, requests: int) -> Row:
    """Proportional set size of the process tree while ``requests`` pass; growth by a line after the first fifth."""
    steps = min(50, max(5, requests // CONCURRENCY))
    seen = []
    for _ in range(steps):
        list(pool.map(send, range(max(1, requests // steps))))
        seen.append(_tree_pss_mb(server))
    later = np.array(seen[steps // 5 :])
    slope = float(np.polyfit(np.arange(len(later)), later, 1)[0]) if len(later) > 1 else 0.0
    growth = slope * steps
    return Row(PART, f"memory growth over {requests:,} requests", growth, "MB", bar=MEMORY_BAR_MB, better="less",
               note=f"PSS {later[0]:.0f} MB after a fifth, {later[-1]:.0f} MB at the end",
               times={"pss_mb": [round(v, 1) for v in seen]})


def _tree(server: psutil.Process) -> list[psutil.Process]:
    return [server, *server.children(recursive=True)]


def _tree_cpu_s(server: psutil.Process) -> float:
    return sum(times.user + times.system for times in (one.cpu_times() for one in _tree(server)))


def _tree_pss_mb(server: psutil.Process) -> float:
    return sum(one.memory_full_info().pss for one in _tree(server)) / 2**20
