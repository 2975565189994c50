"""Fetch what Diaphane made of the images that were sent: wait for its reports, say what they say, save pictures and objects.

Everything is read from the DICOM objects themselves, over QIDO-RS and WADO-RS, as any viewer would.
"""

from __future__ import annotations

import io
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.dicom_pixels import text
from service.gather import Image

MANUFACTURER = "Diaphane"
POLL_S, LONGEST_POLL_S = 0.5, 5.0
MAX_PICTURES = 40  # of one capture
ALGORITHM_NAME, ALGORITHM_VERSION, FINDING = ("DCM", "111001"), ("DCM", "111003"), ("DCM", "121071")
OUR_SCHEME = "99DIAPHANE"
KINDS = {"1.2.840.10008.5.1.4.1.1.7": "capture", "1.2.840.10008.5.1.4.1.1.66.4": "seg", "1.2.840.10008.5.1.4.1.1.30": "map"}


@dataclass(frozen=True)
class Reference:
    """One object a report points at."""

    series_uid: str
    sop_class_uid: str
    sop_uid: str


@dataclass(frozen=True)
class Report:
    """One of our structured reports: what it looked at and made, and what it says, a sentence a finding."""

    study_uid: str
    series_uid: str
    sop_uid: str
    data: bytes
    model: str
    lines: tuple[str, ...]
    evidence: tuple[Reference, ...]
    draws_zones: bool  # its findings are repeated in the report of the whole image


@dataclass(frozen=True)
class Case:
    """Images that are scored together."""

    study: int  # as in the sum
    number: int
    study_uid: str
    modality: str
    sop_uids: frozenset[str]


def wait_for_results(
    images: Sequence[Image], client: httpx.Client, screen: Console, *, out: Path | None = None, wait_s: float = 600.0
) -> int:
    """Print what was found in each case, and save it to ``out``; 1 when some case was not answered in ``wait_s``."""
    cases = cases_of(images)
    reports: dict[str, Report] = {}
    until, pause_s, trouble = time.monotonic() + wait_s, POLL_S, ""
    with screen.status("waiting for results …") as status:
        while True:
            open_cases = [case for case in cases if not reports_of(case, reports)]
            status.update(f"waiting for results: {len(cases) - len(open_cases)} of {len(cases)} cases {trouble}")
            if not open_cases or time.monotonic() > until:
                break
            try:
                found = sum(_collect(study_uid, client, reports) for study_uid in {case.study_uid for case in open_cases})
                trouble = ""
            except httpx.HTTPError as error:
                found, trouble = 0, f"({type(error).__name__}, trying again)"
            pause_s = POLL_S if found else min(LONGEST_POLL_S, 1.5 * pause_s)
            if not found:
                time.sleep(min(pause_s, max(0.0, until - time.monotonic())))
    _print(cases, reports, screen)
    if out is not None:
        saved = sum(_save(case, reports_of(case, reports), client, out) for case in cases)
        screen.print(f"{saved} files saved in {escape(str(out))}", highlight=False, soft_wrap=True)
    if open_cases:
        screen.print(f"{len(open_cases)} cases have no result yet. `python -m service status` says what waits and why; a rule of "
                     "the site may also send none.", highlight=False, soft_wrap=True)
    return int(bool(open_cases))


def cases_of(images: Sequence[Image]) -> list[Case]:
    """Group images as they are scored, numbered by study."""
    studies: dict[str, int] = {}
    grouped: dict[str, list[Image]] = {}
    for image in images:
        studies.setdefault(image.study_uid, len(studies) + 1)
        grouped.setdefault(image.case_key, []).append(image)
    return [
        Case(studies[ours[0].study_uid], number, ours[0].study_uid, ours[0].modality, frozenset(one.sop_uid for one in ours))
        for number, ours in enumerate(grouped.values(), start=1)
    ]


def reports_of(case: Case, reports: dict[str, Report]) -> list[Report]:
    """Return the reports that looked at every image of the case."""
    return [one for one in reports.values() if case.sop_uids <= {reference.sop_uid for reference in one.evidence}]


def read_report(data: bytes) -> Report | None:
    """Read a structured report; None when it is not one of ours."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    if text(dataset, "Manufacturer") != MANUFACTURER or "ContentSequence" not in dataset:
        return None
    items = list(_items(dataset))
    said = {_name(item): _value(item) for item in items}
    versions = dataset.get("SoftwareVersions")
    model = f"{said.get(ALGORITHM_NAME, '')} {said.get(ALGORITHM_VERSION, '')}".strip()
    if not model:  # a refusal has no findings: the equipment says whose it is
        model = str(versions[-1]) if isinstance(versions, MultiValue) else "no model"
    evidence = tuple(
        Reference(text(series, "SeriesInstanceUID"), text(one, "ReferencedSOPClassUID"), text(one, "ReferencedSOPInstanceUID"))
        for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or []
        for series in study.get("ReferencedSeriesSequence") or []
        for one in series.get("ReferencedSOPSequence") or []
    )
    return Report(
        text(dataset, "StudyInstanceUID"), text(dataset, "SeriesInstanceUID"), text(dataset, "SOPInstanceUID"), data,
        model, tuple(_sentences(dataset)), evidence,
        any(text(item, "ValueType") in ("SCOORD", "SCOORD3D") for item in items),
    )


def _collect(study_uid: str, client: httpx.Client, reports: dict[str, Report]) -> int:
    """Read the reports of a study that were not read before; returns how many there were."""
    answer = client.get(f"studies/{study_uid}/instances", params={"Modality": "SR"},
                        headers={"accept": "application/dicom+json"})
    answer.raise_for_status()
    new = 0
    for item in answer.json() if answer.status_code == 200 else []:
        sop_uid, series_uid = item["00080018"]["Value"][0], item["0020000E"]["Value"][0]
        if sop_uid not in reports:
            report = read_report(_retrieve(client, study_uid, Reference(series_uid, "", sop_uid)))
            if report:
                reports[sop_uid] = report
                new += 1
    return new


def _retrieve(client: httpx.Client, study_uid: str, wanted: Reference) -> bytes:
    """Fetch one object: as the one part of a multipart body, which every server can give."""
    answer = client.get(f"studies/{study_uid}/series/{wanted.series_uid}/instances/{wanted.sop_uid}",
                        headers={"accept": 'multipart/related; type="application/dicom"'})
    answer.raise_for_status()
    boundary = re.search(r'boundary="?([^";]+)', answer.headers.get("content-type", ""))
    body = answer.content
    if not boundary:
        return body
    mark = b"--" + boundary[1].encode()
    head = body.find(b"\r\n\r\n", body.find(mark))
    end = body.rfind(b"\r\n" + mark)
    return body[head + 4 : end]


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence") or []:
        yield item
        yield from _items(item)


def _name(item: Dataset) -> tuple[str, str]:
    named = (item.get("ConceptNameCodeSequence") or [Dataset()])[0]
    return text(named, "CodingSchemeDesignator"), text(named, "CodeValue")


def _value(item: Dataset) -> str:
    """Return what an item says, as text."""
    kind = text(item, "ValueType")
    if kind == "NUM":
        measured = (item.get("MeasuredValueSequence") or [Dataset()])[0]
        unit = (measured.get("MeasurementUnitsCodeSequence") or [Dataset()])[0]
        return f"{text(measured, 'NumericValue')} {text(unit, 'CodeValue')}".strip()
    if kind == "CODE":
        return text((item.get("ConceptCodeSequence") or [Dataset()])[0], "CodeMeaning")
    return text(item, "TextValue")


def _sentences(report: Dataset) -> Iterator[str]:
    """Say each finding with its figures, or why there is none."""
    for item in _items(report):
        inside = list(item.get("ContentSequence") or [])
        finding = next((_value(one) for one in inside if _name(one) == FINDING), "")
        figures = [_value(one) for one in inside if text(one, "ValueType") == "NUM"]
        if finding:
            against = [_value(one) for one in inside if _name(one) == (OUR_SCHEME, "threshold-result")]
            yield f"{finding} {', '.join(figures)}" + (f" ({against[0].lower()})" if against else "")
        if _name(item) == (OUR_SCHEME, "reason-in-words"):
            yield _value(item)


def _print(cases: Sequence[Case], reports: dict[str, Report], screen: Console) -> None:
    table = Table("study", "case", "images", "model", "result", show_lines=True)
    table.columns[2].justify = "right"
    table.columns[4].overflow = "fold"
    for case in cases:
        answers = [one for one in reports_of(case, reports) if not one.draws_zones]
        for report in answers:
            table.add_row(str(case.study), f"{case.number} {case.modality}", str(len(case.sop_uids)), escape(report.model),
                          escape("\n".join(report.lines)))
        if not answers:
            table.add_row(str(case.study), f"{case.number} {case.modality}", str(len(case.sop_uids)), "", "[yellow]no result yet[/]")
    screen.print(table)


def _save(case: Case, reports: Sequence[Report], client: httpx.Client, out: Path) -> int:
    """Save the reports of a case, what they point at, and its pictures; file names hold only numbers and the model."""
    out.mkdir(parents=True, exist_ok=True)
    saved: set[str] = set()
    kinds: Counter[str] = Counter()
    count = 0
    for report in reports:
        model = re.sub(r"[^A-Za-z0-9._]+", "-", report.model)[:60]
        name = f"case-{case.number}-{model}-{'zones' if report.draws_zones else 'report'}"
        (out / f"{name}.dcm").write_bytes(report.data)
        count += 1
        for made in report.evidence:
            if made.sop_uid in case.sop_uids or made.sop_uid in saved:
                continue
            saved.add(made.sop_uid)
            kind = next((name for root, name in KINDS.items() if made.sop_class_uid.startswith(root)), "object")
            kinds[f"{model}-{kind}"] += 1
            name = f"case-{case.number}-{model}-{kind}-{kinds[f'{model}-{kind}']}"
            data = _retrieve(client, case.study_uid, made)
            (out / f"{name}.dcm").write_bytes(data)
            count += 1
            if kind == "capture":
                count += _save_pictures(out / name, case.study_uid, made, data, client)
    return count


def _save_pictures(stem: Path, study_uid: str, made: Reference, data: bytes, client: httpx.Client) -> int:
    frames = int(text(pydicom.dcmread(io.BytesIO(data), specific_tags=["NumberOfFrames"]), "NumberOfFrames") or 1)
    address = f"studies/{study_uid}/series/{made.series_uid}/instances/{made.sop_uid}"
    for frame in range(1, min(frames, MAX_PICTURES) + 1):
        place = f"{address}/frames/{frame}/rendered" if frames > 1 else f"{address}/rendered"
        answer = client.get(place, headers={"accept": "image/png"})
        answer.raise_for_status()
        name = f"{stem.name}-{frame:02}.png" if frames > 1 else f"{stem.name}.png"
        stem.with_name(name).write_bytes(answer.content)
    return min(frames, MAX_PICTURES)
