"""Orthanc for the demonstration, the bench and the tests: Debian's program in a folder of its own, stopped by its pid.

It runs with the configuration and the script a user would copy (data-samples/orthanc), on free ports of loopback.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

EXAMPLE = Path(__file__).resolve().parents[1] / "data-samples" / "orthanc"
PROGRAM = "Orthanc"
INSTALL = "apt-get install orthanc orthanc-dicomweb"
AE_TITLE = "ORTHANC"
START_S, STOP_S = 60.0, 20.0
Way = Literal["dimse", "stow"]
Json = Any


class NoOrthanc(Exception):
    """Orthanc is not installed, or does not start. The message says what to do."""


class Orthanc:
    """One Orthanc. What it holds stays in ``folder``: stopped and started again it is the same PACS on the same ports.

    ``dicom_port`` and ``http_port`` are Diaphane's, to which its series go by ``way``; without ports nothing is sent.
    """

    def __init__(
        self, folder: Path, *, dicom_port: int | None = None, http_port: int | None = None, way: Way = "dimse",
        stable_s: int = 1, **changes: Json,
    ) -> None:
        self.folder = folder
        self.http_port, self.dicom_port = free_ports(2)
        told = json.loads((EXAMPLE / "orthanc.json").read_text(encoding="utf-8"))
        told |= {"HttpPort": self.http_port, "DicomPort": self.dicom_port, "StableAge": stable_s}
        told["DicomModalities"] = {"diaphane": told["DicomModalities"]["diaphane"] | {"Port": dicom_port}} if dicom_port else {}
        told["DicomWeb"]["Servers"] = {"diaphane": {"Url": f"http://127.0.0.1:{http_port}/dicom-web/"}} if http_port else {}
        if dicom_port is None and http_port is None:
            told["LuaScripts"] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / told["StorageDirectory"]).mkdir(exist_ok=True)
        (folder / "orthanc.json").write_text(json.dumps(told | changes, indent=1), encoding="utf-8")
        script = (EXAMPLE / "route.lua").read_text(encoding="utf-8")
        (folder / "route.lua").write_text(script.replace("local WAY = 'dimse'", f"local WAY = '{way}'"), encoding="utf-8")
        self.log = folder / "orthanc.log"
        self.http = httpx.Client(base_url=self.url, timeout=60)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The root of its REST interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        """The root of its DICOMweb server."""
        return f"{self.url}/dicom-web"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> Self:
        """Start it and wait until it answers. Raises NoOrthanc."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise NoOrthanc(f"Orthanc must be installed, found no program {PROGRAM!r}. Install it: {INSTALL}")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([program, str(self.folder / "orthanc.json")], cwd=self.folder,  # noqa: S603  found above
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if self.http.get("/dicom-web/studies", params={"limit": 1}).status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.05)
        self.stop()
        raise NoOrthanc(f"Orthanc with its DICOMweb plug-in must answer within {START_S:.0f} s, it did not. "
                        f"Install both ({INSTALL}), or read {self.log}.")

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, at once and untidily with ``kill``; what it acknowledged is still in its folder."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        self.http.close()

    def get(self, path: str, **query: str) -> Json:
        """Ask its REST interface for JSON."""
        answer = self.http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    def upload(self, data: bytes) -> Json:
        """Put one file into it, as its own web page does."""
        answer = self.http.post("/instances", content=data, headers={"content-type": "application/dicom"})
        answer.raise_for_status()
        return answer.json()

    def find(self, level: Literal["Study", "Series", "Instance"], **keys: str) -> list[dict[str, str]]:
        """Return the main tags of what matches, each with its "ID" in Orthanc and that of its "Parent"."""
        answer = self.http.post("/tools/find", json={"Level": level, "Query": keys, "Expand": True})
        answer.raise_for_status()
        parent = {"Study": "ParentPatient", "Series": "ParentStudy", "Instance": "ParentSeries"}[level]
        return [one["MainDicomTags"] | {"ID": one["ID"], "Parent": one[parent]} for one in answer.json()]

    def instances(self, study_uid: str) -> list[dict[str, str]]:
        """Return the instances of one study: SOPInstanceUID, SOPClassUID, SeriesInstanceUID, Modality, ID."""
        found = self.http.post("/tools/find", json={"Level": "Study", "Query": {"StudyInstanceUID": study_uid}}).json()
        listed = []
        for series in (one for study in found for one in self.get(f"/studies/{study}/series")):
            tags = series["MainDicomTags"]
            listed += [{
                "ID": instance, "SOPInstanceUID": self.get(f"/instances/{instance}")["MainDicomTags"]["SOPInstanceUID"],
                "SOPClassUID": str(self.http.get(f"/instances/{instance}/metadata/SopClassUid").text),
                "SeriesInstanceUID": tags["SeriesInstanceUID"], "Modality": tags.get("Modality", ""),
            } for instance in series["Instances"]]
        return listed

    def picture(self, study_uid: str, series_uid: str, sop_uid: str) -> bytes:
        """Return an image as PNG, rendered by Orthanc (WADO-RS, rendered)."""
        path = f"/dicom-web/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}/rendered"
        answer = self.http.get(path, headers={"accept": "image/png"})
        answer.raise_for_status()
        return answer.content

    def file(self, instance: str) -> bytes:
        """Return the file of an instance, as it keeps it."""
        answer = self.http.get(f"/instances/{instance}/file")
        answer.raise_for_status()
        return answer.content


def free_ports(count: int) -> list[int]:
    """Return free TCP ports of loopback, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
