"""Small servers for tests: a PACS and a FHIR server that page, stumble and refuse as they are told to."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom

from tests.make import read_back

Query = dict[str, list[str]]
Answer = tuple[int, str, bytes]


@dataclass
class Trouble:
    """What goes wrong: so many answers with a status, to paths that hold a text. ``asked`` is what was asked."""

    times: int = 0
    status: int = 503
    path: str = ""
    token: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[str, Query, str], Answer], trouble: Trouble) -> Iterator[str]:
    """Serve on a free port of loopback; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            trouble.asked.append(self.path)
            if trouble.token and self.headers.get("authorization") != f"Bearer {trouble.token}":
                told: Answer = (401, "text/plain", b"")
            elif trouble.times > 0 and trouble.path in parts.path:
                trouble.times -= 1
                told = (trouble.status, "text/plain", b"PATIENT SECRET")
            else:
                told = answer(parts.path, parse_qs(parts.query), f"http://{self.headers['host']}")
            self.send_response(told[0])
            self.send_header("content-type", told[1])
            self.send_header("content-length", str(len(told[2])))
            self.end_headers()
            self.wfile.write(told[2])

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Pacs:
    """A DICOMweb server. ``most`` is the most results of a search; ``heeds_offset`` False gives the first page for ever."""

    files: list[bytes]
    most: int = 2
    heeds_offset: bool = True

    def __post_init__(self) -> None:
        self.datasets = [read_back(one) for one in self.files]

    def answer(self, path: str, query: Query, _: str) -> Answer:
        if path == "/dicom-web/studies":
            days = (query.get("StudyDate", ["00000000-99999999"])[0]).split("-")
            kind = query.get("ModalitiesInStudy", [""])[0]
            studies = {one.StudyInstanceUID: one for one in self.datasets
                       if (not kind or one.Modality == kind) and (days[0] or "0") <= one.StudyDate <= (days[1] or "9")}
            return self._page([_told(one, "StudyInstanceUID", "AccessionNumber", "PatientID", "StudyDate")
                               for one in studies.values()], query)
        if found := re.fullmatch(r"/dicom-web/studies/([0-9.]+)/instances", path):
            return self._page([_told(one, "SOPInstanceUID", "SeriesInstanceUID", "SOPClassUID", "Modality", "Rows")
                               for one in self.datasets if one.StudyInstanceUID == found[1]], query)
        sop = path.rpartition("/")[2]
        for data, one in zip(self.files, self.datasets, strict=True):
            if sop == one.SOPInstanceUID:
                return 200, 'multipart/related; type="application/dicom"; boundary="x--y"', (
                    b"--x--y\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--x--y--\r\n")
        return 404, "text/plain", b""

    def _page(self, found: list[Any], query: Query) -> Answer:
        start = int(query["offset"][0]) if self.heeds_offset else 0
        page = found[start : start + min(self.most, int(query["limit"][0]))]
        return (200, "application/dicom+json", json.dumps(page).encode()) if page else (204, "", b"")


def _told(dataset: pydicom.Dataset, *keywords: str) -> dict[str, Any]:
    return {f"{dataset[one].tag:08X}": {"vr": dataset[one].VR, "Value": [str(dataset[one].value)]} for one in keywords}


@dataclass
class Fhir:
    """A FHIR server over plain resources: searches by patient, pages of ``most``, $everything where it is told to have it."""

    resources: list[dict[str, Any]]
    most: int = 3
    everything: bool = True
    circle: bool = False

    def answer(self, path: str, query: Query, root: str) -> Answer:
        kind, _, rest = path.removeprefix("/fhir/").partition("/")
        if rest.endswith("/$everything"):
            person = f"Patient/{rest.partition('/')[0]}"
            found = [one for one in self.resources if person in _people(one)]
            return self._bundle(found, path, query, root) if self.everything else _none()
        if rest:
            found = [one for one in self.resources if (one["resourceType"], one["id"]) == (kind, rest)]
            return _json(found[0]) if found else _none()
        if kind in ("Immunization", "QuestionnaireResponse"):  # this server does not hold them
            return _none()
        whose = query.get("patient", [""])[0]
        return self._bundle([one for one in self.resources if one["resourceType"] == kind and (not whose or whose in _people(one))],
                            path, query, root)

    def _bundle(self, found: list[dict[str, Any]], path: str, query: Query, root: str) -> Answer:
        start = int(query.get("start", ["0"])[0])
        page = found[start : start + self.most]
        link = []
        if start + self.most < len(found) or self.circle:
            following = 0 if self.circle else start + self.most
            kept = "&".join(f"{name}={one}" for name, several in query.items() if name != "start" for one in several)
            link = [{"relation": "next", "url": f"{root}{path}?{kept}&start={following}"}]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in page]
        entries.append({"resource": {"resourceType": "OperationOutcome", "id": "w"}, "search": {"mode": "outcome"}})
        return _json({"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": link})


def _people(one: dict[str, Any]) -> set[str]:
    return {f"{one['resourceType']}/{one['id']}", one.get("subject", {}).get("reference", "")}


def _json(told: dict[str, Any]) -> Answer:
    return 200, "application/fhir+json", json.dumps(told).encode()


def _none() -> Answer:
    return 404, "application/fhir+json", b'{"resourceType": "OperationOutcome"}'
