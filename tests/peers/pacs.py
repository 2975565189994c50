"""The PACS and the modalities of the peer tests: Debian's Orthanc as its users run it, and the programs of dcmtk.

    pacs = Pacs(tmp_path / "pacs", node)          # sends its series to the node; node.write_site(pacs.as_target()) is the way back
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx
import pydicom
from pydicom.dataset import Dataset

from service.orthanc import AE_TITLE, Orthanc, Way
from tests.peers.running import Node, dimse, stow, targets_toml

SAMPLES = Path(__file__).resolve().parents[2] / "data-samples"
PATIENCE_S = 60


class Pacs(Orthanc):
    """Orthanc, asked as a workstation would: C-FIND, QIDO-RS, WADO-RS. Without a node it sends nothing anywhere."""

    def __init__(self, folder: Path, node: Node | None = None, *, way: Way = "dimse", **changes: Any) -> None:
        super().__init__(folder, dicom_port=node.dicom_port if node else None, http_port=node.http_port if node else None,
                         way=way, **changes)

    def as_target(self, way: Way = "dimse", *, name: str = "pacs", before: str = "") -> str:
        """Write the site file of a node that delivers here."""
        target = dimse(name, self.dicom_port, ae_title=AE_TITLE) if way == "dimse" else stow(name, self.dicomweb)
        return targets_toml(target, before=before)

    def send(self, way: Way, *resources: str) -> dict[str, Any]:
        """Send studies, series or instances to Diaphane now, and wait; instances of a refused class are passed over."""
        path = "/modalities/diaphane/store" if way == "dimse" else "/dicom-web/servers/diaphane/stow"
        answer = self.http.post(path, json={"Resources": resources, "Synchronous": True, "Permissive": True}, timeout=120)
        told: dict[str, Any] = answer.json() if answer.content else {}
        return told | {"HttpStatus": answer.status_code}

    def findscu(self, level: Literal["STUDY", "SERIES", "IMAGE"], **keys: str) -> list[Dataset]:
        """Query it by C-FIND (dcmtk's findscu, study root)."""
        with tempfile.TemporaryDirectory() as folder:
            asked = [word for key, value in keys.items() for word in ("-k", f"{key}={value}")]
            run("findscu", "-S", "-X", "-od", folder, "-aec", AE_TITLE, "-k", f"QueryRetrieveLevel={level}", *asked,
                "127.0.0.1", str(self.dicom_port))
            return [pydicom.dcmread(path, force=True) for path in sorted(Path(folder).iterdir())]

    def qido(self, path: str, **query: str) -> list[Dataset]:
        """Query it by QIDO-RS."""
        answer = httpx.get(f"{self.dicomweb}/{path}", params=query, headers={"accept": "application/dicom+json"}, timeout=30)
        answer.raise_for_status()
        return [Dataset.from_json(one) for one in answer.json()] if answer.content else []

    def wado(self, study_uid: str, series_uid: str, sop_uid: str) -> bytes:
        """Retrieve one instance by WADO-RS, in the transfer syntax it is kept in."""
        answer = httpx.get(
            f"{self.dicomweb}/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}", timeout=30,
            headers={"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        )
        answer.raise_for_status()
        return only_part(answer)

    def holds(self) -> dict[str, str]:
        """Return SOPInstanceUID → SHA-256 of the dataset of everything it holds."""
        return {one["SOPInstanceUID"]: sha256_of_dataset(self.file(one["ID"])) for one in self.find("Instance")}

    def jobs(self) -> list[str]:
        """Return the states of its jobs: Success, Failure, Running, …"""
        return [str(job["State"]) for job in self.get("/jobs", expand="")]

    def arrived(self) -> list[str]:
        """Return the SOPInstanceUIDs in the order in which they came."""
        changes = self.get("/changes", limit="100000")["Changes"]
        instances = [one["ID"] for one in changes if one["ChangeType"] == "NewInstance"]
        return [self.get(f"/instances/{one}")["MainDicomTags"]["SOPInstanceUID"] for one in instances]


def only_part(answer: httpx.Response) -> bytes:
    """Return the one part of a multipart/related answer."""
    boundary = answer.headers["content-type"].split("boundary=")[1].split(";")[0].strip('"').encode()
    parts = answer.content.split(b"--" + boundary)
    assert (b"", b"--") == (parts[0].strip(), parts[-1].strip()), "not a whole multipart body"
    assert 3 == len(parts), f"{len(parts) - 2} parts instead of one"
    return parts[1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def dataset_of(data: bytes) -> bytes:
    """Return the bytes of a DICOM file behind its file meta information, which every keeper writes anew."""
    length = int.from_bytes(data[140:144], "little")  # (0002,0000), always the first element
    return data[144 + length :]


def sha256_of_dataset(data: bytes) -> str:
    """Return the hash of what a file says of the image, whoever kept it."""
    return hashlib.sha256(dataset_of(data)).hexdigest()


def read(data: bytes) -> Dataset:
    """Parse a file."""
    return pydicom.dcmread(io.BytesIO(data))


def echoscu(port: int, *, called: str = "DIAPHANE", calling: str = "MODALITY") -> bool:
    """Tell whether dcmtk's echoscu is answered."""
    return run("echoscu", "-to", "5", "-aet", calling, "-aec", called, "127.0.0.1", str(port), check=False).returncode == 0


def storescu(
    port: int, files: Sequence[Path], *, called: str = "DIAPHANE", calling: str = "MODALITY", options: Sequence[str] = (),
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Send files with dcmtk's storescu, one association."""
    return run("storescu", "-aet", calling, "-aec", called, *options, "127.0.0.1", str(port), *map(str, files), check=check)


def dcmsend(
    port: int, files: Sequence[Path], *, called: str = "DIAPHANE", calling: str = "MODALITY", check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Send files with dcmtk's dcmsend, which proposes for each file its own class and syntax."""
    return run("dcmsend", "-aet", calling, "-aec", called, "127.0.0.1", str(port), *map(str, files), check=check)


def entities_agree(files: Mapping[str, bytes]) -> str:
    """Return what dcentvfy finds different in the patient and study attributes of files; nothing when they agree.

    Left out: that AccessionNumber is said of the study in one place and of the request in another, as PS3.3 C.17.2 wants.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.dcm" for number in range(len(files))]
        for path, data in zip(paths, files.values(), strict=True):
            path.write_bytes(data)
        done = run("dcentvfy", *map(str, paths), check=False)
        lines = (done.stdout + done.stderr).splitlines()
        elsewhere = "Different information entities for attribute - Element=<AccessionNumber>"
        return "\n".join(line for line in lines if elsewhere not in line)


def run(*words: str, check: bool = True, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a program; with ``check`` it must end well."""
    done = subprocess.run(words, text=True, capture_output=True, timeout=timeout_s, check=False)
    assert not check or done.returncode == 0, f"{words[0]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done
