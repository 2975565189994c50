"""The real thing: `python -m service start` as a process, over a socket, until SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.make import ROOT, dicom_bytes, radiograph_dataset, tiny_release
from tests.service.house import DICOM

START_S = 120.0  # two seconds of CPU, on a machine that may be busy


@contextmanager
def started(released: Path, log: Path, *arguments: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the service on a free port and wait until it is ready; make sure it is gone afterwards."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "start", "--port", "0", "--released", str(released), *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
        )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip().rsplit(" ", 1)[-1]
        until = time.monotonic() + START_S
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield process, address
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def ended(process: subprocess.Popen[str]) -> int:
    process.terminate()
    return process.wait(60)


@pytest.fixture(scope="module")
def one_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    tiny_release(folder, "image_classification")
    return folder


def test_it_starts_answers_over_http_and_ends_on_sigterm_leaving_nothing(one_release: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    body = dicom_bytes(radiograph_dataset(PatientName="CANARYNAME", PatientID="CANARYID"))
    with started(one_release, log) as (process, address), httpx.Client(base_url=address, timeout=60) as client:
        answer = client.post("/v1/images", content=body, headers=DICOM)
        statuses = {path: client.get(path).status_code for path in (
            "/livez", "/readyz", "/metrics", "/", "/v1/openapi.json", "/docs.json", "/schema.json", "/CANARYPATH")}
        counts = client.get("/metrics").text
        children = psutil.Process(process.pid).children(recursive=True)
        code = ended(process)

    assert (200, "scored") == (answer.status_code, answer.json()["series"][0]["status"])
    assert "server" not in answer.headers
    assert {"/livez": 200, "/readyz": 200, "/metrics": 200, "/": 200, "/v1/openapi.json": 200, "/docs.json": 404,
            "/schema.json": 404, "/CANARYPATH": 404} == statuses
    assert 'route="/v1/images",status="200"} 1.0' in counts
    assert [] == children
    assert code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert "CANARY" not in log.read_text() + counts


def test_a_running_request_is_answered_before_it_ends(one_release: Path, tmp_path: Path) -> None:
    body = dicom_bytes(radiograph_dataset())

    with started(one_release, tmp_path / "log") as (process, address), httpx.Client(timeout=60) as client:
        def slowly() -> Iterator[bytes]:
            yield body[:1000]
            while "diaphane_requests_running 1.0" not in httpx.get(f"{address}/metrics", timeout=60).text:
                time.sleep(0.05)
            process.terminate()
            time.sleep(0.5)
            yield body[1000:]

        answer = client.post(f"{address}/v1/images", content=slowly(), headers=DICOM)
        process.wait(60)

    assert 200 == answer.status_code


def test_two_workers_share_the_port_and_the_counts_and_die_with_their_parent(one_release: Path, tmp_path: Path) -> None:
    with started(one_release, tmp_path / "log", "--workers", "2") as (process, address):
        statuses = {httpx.get(f"{address}/v1/models", timeout=60).status_code for _ in range(6)}
        counts = httpx.get(f"{address}/metrics", timeout=60).text
        workers = [one for one in psutil.Process(process.pid).children(recursive=True) if one.status() != "zombie"]
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=60)

    assert {200} <= statuses <= {200, 503}
    assert 'diaphane_requests_total{method="GET",route="/v1/models",status="200"}' in counts
    assert len(workers) >= 2
    assert [] == alive


def test_a_taken_port_is_said_in_words(one_release: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        run = subprocess.run([sys.executable, "-m", "service", "start", "--port", port, "--released", str(one_release)],
                             cwd=ROOT, capture_output=True, text=True, check=False)

    assert 1 == run.returncode
    assert f"Cannot listen on 127.0.0.1 port {port}" in run.stderr


def test_check_ends_with_one_and_names_a_broken_release(tmp_path: Path) -> None:
    release = tiny_release(tmp_path, "risk")
    environ = {**os.environ, "DIAPHANE_RELEASED": str(tmp_path)}
    command = [sys.executable, "-m", "service", "check"]
    sound = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    (release / "CARD.md").write_text("changed")
    broken = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    assert (0, True) == (sound.returncode, "tiny_risk-1.0.0: sound" in sound.stdout)
    assert (1, True) == (broken.returncode, "CARD.md" in broken.stderr)


def test_settings_are_printed_with_secrets_masked() -> None:
    run = subprocess.run([sys.executable, "-m", "service", "settings"], cwd=ROOT, capture_output=True, text=True,
                         check=True, env={**os.environ, "DIAPHANE_API_TOKEN": "s3cret", "COLUMNS": "160"})

    assert "DIAPHANE_PORT" in run.stdout
    assert "s3cret" not in run.stdout
