"""The demonstration of the PACS side: a modality fills Orthanc, Orthanc sends to Diaphane, the results are read back from Orthanc.

Everything runs on free ports of loopback in a temporary folder and is stopped at the end; only the pictures stay.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table

from service.dicom.client import deliver
from service.lives import end
from service.orthanc import AE_TITLE, NoOrthanc, Orthanc, free_ports
from service.serve import WITH_PARENT
from service.settings import PREFIX
from service.site import Target

ROOT = Path(__file__).resolve().parents[1]
START_S, STOP_S, PATIENCE_S = 120.0, 40.0, 180.0
QUIET_S = {"quiet_s": "3", "release_quiet_s": "0.5"}  # a hospital's are longer: see `python -m service settings`
FORWARDED = ("DX", "CR", "MR")  # what data-samples/orthanc/route.lua sends
KINDS = {  # SOP class → what it is called in the table
    "1.2.840.10008.5.1.4.1.1.88.34": "report", "1.2.840.10008.5.1.4.1.1.66.4": "contours",
    "1.2.840.10008.5.1.4.1.1.30": "heat map", "1.2.840.10008.5.1.4.1.1.7": "picture",
}
REPORT, PICTURE = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7"
STATIONS = ("in the PACS", "forwarded", "scored", "back in the PACS")
_KEPT = frozenset({"DIAPHANE_PROVIDER", "DIAPHANE_PRECISION", "DIAPHANE_RELEASED", "DIAPHANE_SESSION_THREADS"})


@dataclass
class Study:
    """One sample on its way. ``seconds`` holds when it was seen at each station, counted from its arrival in the PACS."""

    sample: str
    uid: str
    files: list[bytes]
    began: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    def seen(self, station: str) -> None:
        """Note that it is at a station."""
        self.seconds.setdefault(station, time.monotonic() - self.began)


@dataclass(frozen=True)
class Said:
    """What the reports of one study say: the model, its findings, or the reasons why nothing was assessed."""

    model: str = ""
    findings: tuple[str, ...] = ()
    above_threshold: bool | None = None
    reasons: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


class NotShownError(Exception):
    """The demonstration cannot go on."""


def run(samples: Path, out: Path, language: str, console: Console | None = None) -> int:
    """Do the whole demonstration. 0: every sample came back as expected; 1: one did not; 2: Orthanc is missing."""
    console = console or Console()
    try:
        expected: dict[str, dict[str, Any]] = json.loads((samples / "expected.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        console.print(f"{samples} must hold expected.json. Run from a whole clone, or name the folder with --samples.")
        return 1
    out.mkdir(parents=True, exist_ok=True)
    studies = read_studies(samples, [name for name in sorted(expected) if not name.endswith(".json")])
    http_port, dicom_port = free_ports(2)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="diaphane-demo-") as place,
            Orthanc(Path(place) / "pacs", dicom_port=dicom_port, http_port=http_port) as pacs,
        ):
            with node(Path(place), out / "node.log", pacs, language, console, ports=(http_port, dicom_port)):
                travel(studies, pacs, f"http://127.0.0.1:{http_port}/dicom-web", console)
            lines = [(study, *read_back(pacs, study, out)) for study in studies]
    except NoOrthanc as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 2
    except (NotShownError, httpx.HTTPError, OSError) as error:
        console.print(f"[red]The demonstration stopped:[/] {escape(str(error)) or type(error).__name__}. See {out / 'node.log'}.")
        return 1
    wrong = [study.sample for study, said, _ in lines if not as_expected(said, expected[study.sample])]
    console.print(table(lines, wrong))
    pictures = sum(kinds["picture"] for _, _, kinds in lines)
    console.print(f"{pictures} pictures, read back from the PACS, are in {out.resolve()}")
    for name in wrong:
        console.print(f"[red]{escape(name)} did not come back as expected.json says[/]")
    console.print("Decision support: results of AI, to be confirmed by a professional. Not a medical device.")
    return 1 if wrong else 0


def read_studies(samples: Path, names: Sequence[str]) -> list[Study]:
    """Read the samples that the PACS forwards, each a study of its own."""
    studies = []
    for name in names:
        path = samples / name
        files = [one.read_bytes() for one in (sorted(path.glob("*.dcm")) if path.is_dir() else [path])]
        header = _read(files[0], pixels=False)
        if header.Modality in FORWARDED:
            studies.append(Study(name, str(header.StudyInstanceUID), files))
    return studies


@contextmanager
def node(place: Path, log: Path, pacs: Orthanc, language: str, console: Console, *, ports: tuple[int, int]) -> Iterator[None]:
    """Run ``python -m service node`` with the PACS as its target; it is stopped whatever happens."""
    http_port, dicom_port = ports
    site = place / "site.toml"
    site.write_text(
        f'[device]\nlanguage = "{language}"\n[commissioning]\nrequired = false\n'
        '[[targets]]\nname = "pacs"\nkind = "dimse"\nhost = "127.0.0.1"\n'
        f'port = {pacs.dicom_port}\nae_title = "{AE_TITLE}"\n', encoding="utf-8",
    )
    told = {"store": str(place / "store"), "site": str(site), "port": str(http_port), "dicom_port": str(dicom_port), **QUIET_S}
    environ = {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(PREFIX)}
    environ |= {PREFIX + name.upper(): value for name, value in told.items()} | {WITH_PARENT: str(os.getpid())}
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen([sys.executable, "-m", "service", "node"], cwd=ROOT, env=environ, stdin=subprocess.DEVNULL,
                                   stdout=file, stderr=file, start_new_session=True)
    try:
        with console.status("Starting the node and checking the models"):
            _wait(process, log, http_port)
        yield
    finally:
        _stop(process)


def travel(studies: Sequence[Study], pacs: Orthanc, ours: str, console: Console) -> None:
    """Send every study to the PACS as a modality does, and watch it travel until its results are back."""
    modality = Target.model_validate({"name": "pacs", "kind": "dimse", "host": "127.0.0.1", "port": pacs.dicom_port,
                                      "ae_title": AE_TITLE, "calling_ae_title": "MODALITY"})
    until = time.monotonic() + PATIENCE_S
    with Live(progress(studies), console=console, transient=True, refresh_per_second=4) as live:
        for study in studies:
            deliver(modality, study.files)
            study.began = time.monotonic()
            study.seen("in the PACS")
        while any("back in the PACS" not in study.seconds for study in studies):
            here, there = _held(ours), _held(pacs.dicomweb)
            for study in studies:
                _look(study, here.get(study.uid, {}), there.get(study.uid, {}))
            live.update(progress(studies))
            if time.monotonic() > until:
                raise NotShownError(f"not every study came back within {PATIENCE_S:.0f} s")
            time.sleep(0.5)


def _look(study: Study, here: dict[str, str], there: dict[str, str]) -> None:
    """Note how far a study is: ``here`` and ``there`` are SOPInstanceUID → SOPClassUID, with us and in the PACS."""
    if len(here) >= len(study.files):
        study.seen("forwarded")
    if REPORT in here.values():
        study.seen("scored")
        if here.keys() <= there.keys():
            study.seen("back in the PACS")


def read_back(pacs: Orthanc, study: Study, out: Path) -> tuple[Said, Counter[str]]:
    """Read the results of a study in the PACS: what the reports say and how many objects of each kind; save the pictures."""
    said, kinds = Said(), Counter[str]()
    sent = {str(_read(data, pixels=False).SOPInstanceUID) for data in study.files}
    for one in pacs.instances(study.uid):
        if one["SOPInstanceUID"] in sent:
            continue
        kinds[KINDS.get(one["SOPClassUID"], "other")] += 1
        if one["SOPClassUID"] == REPORT:
            report = what_it_says(_read(pacs.file(one["ID"])))
            said = report if len(report.findings) + len(report.reasons) >= len(said.findings) + len(said.reasons) else said
        if one["SOPClassUID"] == PICTURE:
            name = study.sample.replace("/", "_").removesuffix(".dcm")
            (out / f"{name}.png").write_bytes(pacs.picture(study.uid, one["SeriesInstanceUID"], one["SOPInstanceUID"]))
    return said, kinds


def what_it_says(report: Dataset) -> Said:
    """Read one report (TID 1500): every finding with its certainty or volume, or each reason why it was not assessed."""
    items = list(_items(report))
    groups = [item for item in items if _is(item, codes.DCM.MeasurementGroup.value)]
    findings, above = [], None
    for group in groups:
        inside = list(_items(group))
        label = next((str(one.TextValue) for one in inside if _is(one, codes.DCM.TrackingIdentifier.value)), "")
        measured = [one.MeasuredValueSequence[0] for one in inside if one.ValueType == "NUM" and "MeasuredValueSequence" in one]
        findings += [f"{label} {float(one.NumericValue):.2f} {_code(one.MeasurementUnitsCodeSequence)}" for one in measured]
        places = [_code(one.ConceptCodeSequence) for one in inside if _is(one, "threshold-result")]
        above = places[0] == "above-threshold" if places and above is None else above
    return Said(
        model=next((str(one.TextValue) for one in items if _is(one, codes.DCM.AlgorithmName.value)), ""),
        findings=tuple(findings), above_threshold=above,
        reasons=tuple(_code(one.ConceptCodeSequence) for one in items if _is(one, "reason")),
        why=tuple(str(one.TextValue) for one in items if _is(one, "reason-in-words")),
    )


def as_expected(said: Said, wanted: dict[str, Any]) -> bool:
    """Tell whether what came back is what expected.json states: model and side of the threshold, or the reason."""
    if wanted["status"] == "scored":
        same = wanted.get("above_threshold", said.above_threshold) == said.above_threshold
        return bool(said.findings) and wanted["model"] in (said.model, "") and same
    return wanted.get("reason", "").replace("_", "-") in said.reasons and not said.findings


def progress(studies: Sequence[Study]) -> Table:
    """Draw how far every study is, with the seconds since it came into the PACS."""
    drawn = Table("study", *STATIONS, title="Orthanc → Diaphane → Orthanc")
    for study in studies:
        cells = [f"[green]{study.seconds[one]:.1f} s[/]" if one in study.seconds else "" for one in STATIONS]
        drawn.add_row(escape(study.sample), *cells)
    return drawn


def table(lines: Sequence[tuple[Study, Said, Counter[str]]], wrong: Sequence[str]) -> Table:
    """Draw what the PACS holds of every study."""
    drawn = Table(
        Column("study", overflow="fold"), Column("result, as the PACS has it", overflow="fold"),
        Column("objects", no_wrap=True), Column("seconds", no_wrap=True), show_lines=True,
    )
    for study, said, kinds in lines:
        style = "bold red" if study.sample in wrong else "green" if said.findings else "yellow"
        result = "\n".join([said.model, *said.findings] if said.findings else ["not assessed:", *said.why[:1]])
        objects = [f"{kind} × {number}" for kind, number in sorted(kinds.items())]
        times = [f"{station.removesuffix(' in the PACS')} {study.seconds[station]:.1f}" for station in STATIONS[1:]]
        drawn.add_row(escape(study.sample.removesuffix(".dcm")), f"[{style}]{escape(result)}[/]",
                      "\n".join(objects), "\n".join(times))
    return drawn


def _wait(process: subprocess.Popen[bytes], log: Path, port: int) -> None:
    """Wait until HTTP is ready and the worker has its models. Raises NotShownError."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            ready = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            ready = False
        if ready and "Diaphane scores with" in log.read_text(encoding="utf-8", errors="replace"):
            return
        time.sleep(0.1)
    raise NotShownError("the node did not become ready")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the node to end, and make it, with all it started."""
    end(process, STOP_S, session=True)


def _held(dicomweb: str) -> dict[str, dict[str, str]]:
    """Ask a DICOMweb server for everything it holds: StudyInstanceUID → SOPInstanceUID → SOPClassUID."""
    answer = httpx.get(f"{dicomweb}/instances", params={"limit": 5000}, headers={"accept": "application/dicom+json"}, timeout=30)
    answer.raise_for_status()
    held: dict[str, dict[str, str]] = {}
    for one in answer.json() if answer.content else []:
        study, sop, kind = (one[tag]["Value"][0] for tag in ("0020000D", "00080018", "00080016"))
        held.setdefault(study, {})[sop] = kind
    return held


def _items(item: Dataset) -> Iterator[Dataset]:
    """Walk a content tree, the item itself left out."""
    for one in item.get("ContentSequence", []):
        yield one
        yield from _items(one)


def _is(item: Dataset, code: str) -> bool:
    """Tell whether a content item is of a concept. Code values are told apart without their scheme here."""
    return "ConceptNameCodeSequence" in item and _code(item.ConceptNameCodeSequence) == code


def _code(sequence: Any) -> str:
    """Return the value of a code, which stands elsewhere when it has more than 16 characters (PS3.3, 8.1)."""
    return str(sequence[0].get("CodeValue") or sequence[0].get("LongCodeValue", ""))


def _read(data: bytes, *, pixels: bool = True) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not pixels)
