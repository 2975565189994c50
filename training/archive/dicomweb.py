"""A PACS over DICOMweb: studies by modality and date with QIDO-RS, a page at a time; images with WADO-RS (PS3.18, 10.4 and 10.6)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

from models.dicom_bytes import MAX_FILE_BYTES
from models.errors import UnusableInput
from training.archive import dicom
from training.archive.cases import ArchiveAway, Found, Json, Opened
from training.archive.plan import Plan
from training.archive.scored import Names
from training.archive.web import MAX_JSON_BYTES, Web

PAGE = 200
MAX_PAGES = 50_000
MAX_FILES = 5_000  # of a series, as read_dicom takes
LISTS = "application/dicom+json"
# Any encoding will do: files come as they were stored. Orthanc refuses a bare application/dicom here.
FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FIELDS = ("00080060", "00080016", "00080018", "0020000E", "00280010", "00280008")
SLICES = frozenset(("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"))  # CT, MR, PET
_UID = re.compile(r"[0-9.]{1,64}")
Found_ = dict[str, Any]


class DicomWeb:
    """The source of a DICOMweb server."""

    def __init__(self, plan: Plan, naming: Names) -> None:
        self.plan, self.naming = plan, naming
        self.web = Web.of(plan)
        self.left_out: Counter[str] = Counter()

    def close(self) -> None:
        """Let go of the connections."""
        self.web.close()

    def find(self, told: Callable[[int], None]) -> Iterator[Found]:
        """Yield the cases of every study of the period that has a modality asked for."""
        number = 0
        seen: set[str] = set()
        for modality in self.plan.modalities or ("",):
            for study in self._pages("studies", self._query(modality), "0020000D"):
                uid = _value(study, "0020000D")
                if uid in seen:
                    continue
                seen.add(uid)
                ids = {"study": uid, "accession": _value(study, "00080050"), "patient": _value(study, "00100020")}
                facts = {"year": _year(_value(study, "00080020"))}
                for found in self._study(uid, ids, {name: value for name, value in facts.items() if value}):
                    yield found
                    number += found.files
                    told(number)

    def open(self, where: Json) -> Opened:
        """Fetch the images of one case and read them."""
        parts, size = [], 0
        for sop in where["images"]:
            data = self._image(f"studies/{where['study']}/series/{where['series']}/instances/{sop}")
            size += len(data)
            if size > MAX_FILE_BYTES:
                raise UnusableInput(f"A series may take {MAX_FILE_BYTES:,} bytes, found more. Leave it out.", code="too_large")
            parts.append(data)
        return dicom.open_case(parts, self.naming)

    def _query(self, modality: str) -> dict[str, Any]:
        query: dict[str, Any] = {"includefield": ["00080050", "00100020", "00080020"]}
        if modality:
            query["ModalitiesInStudy"] = modality
        if self.plan.since or self.plan.until:
            query["StudyDate"] = f"{self.plan.since.replace('-', '')}-{self.plan.until.replace('-', '')}"
        return query

    def _study(self, uid: str, ids: dict[str, str], facts: Json) -> Iterator[Found]:
        if not _UID.fullmatch(uid):
            yield Found(uid or "study without UID", {}, ids, facts, "bad_uid")
            return
        series: dict[str, list[str]] = {}
        for one in self._pages(f"studies/{uid}/instances", {"includefield": list(FIELDS)}, "00080018"):
            modality, kind = _value(one, "00080060").upper(), _value(one, "00080016")
            sop, whose = _value(one, "00080018"), _value(one, "0020000E")
            if self.plan.modalities and modality and modality not in self.plan.modalities:
                self.left_out["other_modality"] += 1
            elif kind.startswith(dicom.MADE_BY_PROGRAMS) or not _value(one, "00280010"):
                self.left_out["not_an_image"] += 1
            elif not (_UID.fullmatch(sop) and _UID.fullmatch(whose)):
                yield Found(f"{uid}/{sop}", {}, ids, facts, "bad_uid")
            elif kind in SLICES and _value(one, "00280008") in ("", "1"):
                series.setdefault(whose, []).append(sop)
            else:
                yield Found(sop, {"study": uid, "series": whose, "images": [sop]}, ids | {"sop": sop}, facts | _modality(modality))
        for whose, images in series.items():
            bad = "too_many_files" if len(images) > MAX_FILES else ""
            yield Found(whose, {"study": uid, "series": whose, "images": sorted(images)}, ids, facts, bad, len(images))

    def _pages(self, path: str, query: dict[str, Any], key: str) -> Iterator[Found_]:
        """Yield what a search finds. Servers give less than ``limit``, some heed no ``offset``: go on while there is news."""
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            answer = self.web.get(path, accept=LISTS, most_bytes=MAX_JSON_BYTES, query=query | {"limit": PAGE, "offset": len(seen)})
            if answer.status in (204, 404):
                return
            if answer.status != 200:
                raise ArchiveAway(f"A search of the archive (QIDO-RS) must be answered with 200, found {answer.status}. Check the "
                                  "address, the modality and the period.", code="source_changed")
            news = [one for one in _listed(answer.content) if _value(one, key) not in seen]
            if not news:
                return
            for one in news:
                if (name := _value(one, key)) not in seen:
                    seen.add(name)
                    yield one

    def _image(self, path: str) -> bytes:
        answer = self.web.get(path, accept=FILES, most_bytes=MAX_FILE_BYTES)
        if answer.status != 200:
            code = "gone" if answer.status in (404, 410) else "not_retrieved"
            raise UnusableInput(f"An image must be retrieved (WADO-RS) with 200, found {answer.status}.", code=code)
        return part_of(answer.content, answer.kind)


def part_of(content: bytes, kind: str) -> bytes:
    """Return the only part of a multipart/related answer (RFC 2387); an answer that is one file, as some servers send, as it is.

    Raises UnusableInput when there is not exactly one.
    """
    told = Message()
    told["content-type"] = kind
    boundary = told.get_param("boundary")
    if told.get_content_maintype() != "multipart" or not isinstance(boundary, str):
        return content
    mark = b"\r\n--" + boundary.encode()
    pieces = (b"\r\n" + content).split(mark)[1:-1]
    if len(pieces) != 1 or b"\r\n\r\n" not in pieces[0]:
        raise UnusableInput(f"One image must come in one part, found {len(pieces)}. Send it again.", code="bad_multipart")
    return pieces[0].partition(b"\r\n\r\n")[2]


def _listed(content: bytes) -> list[Found_]:
    try:
        found = json.loads(content) if content.strip() else []
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ArchiveAway("A search of the archive (QIDO-RS) must be answered in DICOM JSON, found another. Check the address.",
                          code="source_changed")
    return found


def _value(one: Found_, tag: str) -> str:
    values = one.get(tag, {}).get("Value") if isinstance(one.get(tag), dict) else None
    return str(values[0]) if isinstance(values, list) and values and isinstance(values[0], str | int | float) else ""


def _year(day: str) -> int | None:
    return int(day[:4]) if day[:4].isdecimal() else None


def _modality(word: str) -> Json:
    return {"modality": word} if word.isalnum() and len(word) <= 16 else {}
