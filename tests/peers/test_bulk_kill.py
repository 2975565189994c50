"""The service is killed while it scores a population, again and again: every line is answered exactly once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.orthanc import free_ports
from tests.make import ROOT, icu_bundle, tiny_release

LINES, KILLS = 400, 3
WITHIN_S = 240.0


@contextmanager
def service(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service as a process; what is left of it is killed at the end."""
    told = {"released": folder / "released", "store": folder / "store", "ehr": True, "lease_s": 1, "scoring_threads": 1}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DIAPHANE_")}
    environ |= {f"DIAPHANE_{name.upper()}": str(value) for name, value in told.items()} | {"OMP_NUM_THREADS": "1"}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "service", "start", "--port", str(port)], cwd=ROOT, env=environ,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until = time.monotonic() + WITHIN_S
        while not _ready(port) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        assert _ready(port), (folder / "log").read_text("utf-8")[-2000:]
        yield process
    finally:
        process.kill()
        process.wait()


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def done(status: str) -> int:
    """Return how many lines are done; all of them when the job is."""
    answer = httpx.get(status, timeout=30)
    return LINES if answer.status_code == 200 else int(answer.headers["x-progress"].split()[0])


def wait_for(status: str, lines: int) -> None:
    until = time.monotonic() + WITHIN_S
    while done(status) < lines and time.monotonic() < until:
        time.sleep(0.02)
    assert done(status) >= lines


@pytest.mark.slow
def test_a_killed_service_answers_every_line_once(tmp_path: Path) -> None:
    tiny_release(tmp_path / "released", "risk")
    (port,) = free_ports(1)
    content = "\n".join(json.dumps(icu_bundle(hours=2, heart_rate=60.0 + i % 90)) for i in range(LINES))
    headers = {"content-type": "application/fhir+ndjson", "prefer": "respond-async"}
    with service(tmp_path, port):
        taken = httpx.post(f"http://127.0.0.1:{port}/fhir/$predict", content=content.encode(), headers=headers, timeout=60)
        assert 202 == taken.status_code
        status = taken.headers["content-location"]
    for _ in range(KILLS):  # the block above ended with SIGKILL, and so does each of these
        with service(tmp_path, port):
            wait_for(status, min(LINES, done(status) + 50))
    with service(tmp_path, port):
        wait_for(status, LINES)
        (output,) = httpx.get(status, timeout=30).json()["output"]
        answers = [json.loads(line) for line in httpx.get(output["url"], timeout=60).text.splitlines()]
    assert [str(number) for number in range(1, LINES + 1)] == [one["meta"]["tag"][0]["code"] for one in answers]
