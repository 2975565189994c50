"""``python -m service route``: which model would take these files and why the others would not; or are the rules sound."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.dicom_bytes import parse
from models.errors import BrokenModel, UnusableInput
from models.read_any import kind_of
from models.read_dicom import group_instances, header_of, read_dicom
from models.session import SessionOptions
from models.shelf import RELEASED, Shelf
from models.volume import Volume
from service.facts import facts_of
from service.routing import Route, route
from service.routing import check_rules as faults_of
from service.rules import PRIORITIES
from service.settings import Settings
from service.site import Site

MAX_FILES = 20_000


def route_files(
    paths: Sequence[Path], settings: Settings, site: Site, *, calling_ae: str = "", called_ae: str = "",
    check_rules: bool = False, as_json: bool = False, console: Console | None = None,
) -> int:
    """Print the route of every case in the files and folders, as if ``calling_ae`` had sent them; 1 on an error.

    Nothing is stored, scored or sent. Cases are numbered in the order of their files. ``check_rules`` looks at the rules only.
    """
    out = console or Console()
    try:
        shelf = Shelf(settings.released or RELEASED, SessionOptions(provider="cpu", precision="fp32", threads=1))
        if check_rules:
            return _tell_faults(out, site, shelf)
        files, damaged = _sound(_dicom_files(paths))
        if not files and not damaged:
            raise UnusableInput("A route needs at least one DICOM file, found none. Name files or folders that hold some.")
    except (BrokenModel, UnusableInput) as error:
        Console(stderr=True, soft_wrap=True).print(escape(str(error)))
        return 1
    cases = group_instances(files)
    for reason in damaged:
        Console(stderr=True, soft_wrap=True).print(f"[red]A file would be refused:[/] {escape(reason)}")
    told = []
    for number, sources in enumerate(cases, start=1):
        case = _case([one for one in sources if isinstance(one, Path)], shelf, site, settings, calling_ae, called_ae)
        told.append({"case": number, **case[0]})
        if not as_json:
            _draw(out, number, len(cases), case[0], case[1])
    if as_json:
        out.print_json(json.dumps(told))
    return int(bool(damaged))


def _tell_faults(out: Console, site: Site, shelf: Shelf) -> int:
    """Print what is wrong with the rules, or that nothing is; 1 when something is."""
    faults = faults_of(site, shelf)
    for fault in faults:
        out.print(escape(fault), soft_wrap=True)
    if not faults:
        out.print(f"Sound: {len(site.rules)} rules, {len(site.targets)} targets, {len(site.peers)} peers.", highlight=False)
    return int(bool(faults))


def _dicom_files(paths: Iterable[Path]) -> Iterable[Path]:
    """Yield the DICOM files of files and folders. Raises UnusableInput for a path that does not exist, or too many."""
    found = 0
    for path in paths:
        if not path.exists():
            raise UnusableInput("Every path must exist, found one that does not. Check the names.", code="unreadable_file")
        files = sorted(one for one in path.rglob("*") if one.is_file() and one.name[0] != ".") if path.is_dir() else [path]
        for file in files:
            try:
                dicom = kind_of(file) == "dicom"
            except UnusableInput:
                dicom = False
            found += dicom
            if found > MAX_FILES:
                raise UnusableInput(f"A route may look at {MAX_FILES:,} files, found more. Name fewer.", code="too_many_files")
            if dicom and file.name.upper() != "DICOMDIR":
                yield file


def _sound(files: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Part the files that can be parsed from those that cannot, of which the reasons are told."""
    sound, damaged = [], []
    for file in files:
        try:
            parse(file)
            sound.append(file)
        except UnusableInput as error:
            damaged.append(str(error))
    return sound, damaged


def _case(
    files: list[Path], shelf: Shelf, site: Site, settings: Settings, calling_ae: str, called_ae: str
) -> tuple[dict[str, Any], Route]:
    """Route one case; what cannot be read as a volume is routed by its headers, and the reason is told."""
    headers = [parse(file) for file in files]
    facts = facts_of(headers, calling_ae=calling_ae, called_ae=called_ae)
    volume: Volume | None = None
    unreadable = ""
    try:
        volume = read_dicom(files)
    except UnusableInput as error:
        unreadable = str(error)
    found = route(facts, volume.header if volume else header_of(headers[0]), shelf, site, volume=volume)
    reports = found.report_unfit and settings.report_unfit
    told = {
        "modality": "".join(facts.words.get("modality", ())[:1]).upper(),
        "files": len(files),
        "slices": int(facts.numbers["slices"][0]),
        "unreadable": unreadable,
        "models": [asdict(choice) for choice in found.models],
        "priority": _priority(found.priority),
        "targets": list(found.targets),
        "report_unfit": reports,
        "rules": [asdict(tried) for tried in found.trace],
    }
    return told, found


def _draw(out: Console, number: int, count: int, told: dict[str, Any], found: Route) -> None:
    kind = told["modality"] or "modality not stated"
    plural = "image" if told["slices"] == 1 else "images"
    table = Table("model", "takes it?", "why", title=escape(f"case {number} of {count}: {kind}, {told['slices']} {plural}"),
                  title_justify="left", show_lines=True)
    for choice in found.models:
        fits = "Headers and grid fit; the pixels may still make it decline."
        remarks = f" Remarks: {', '.join(choice.flags)}." if choice.flags else ""
        table.add_row(choice.model, "[green]yes[/]" if choice.takes else "[yellow]no[/]",
                      escape(fits + remarks if choice.takes else f"{choice.message} {choice.advice}"))
    out.print(table)
    if told["unreadable"]:
        out.print(f"[red]Reading it fails:[/] {escape(told['unreadable'])}")
    if not found.takers:
        out.print("No model takes it: " + ("a result saying so is sent." if told["report_unfit"] else "nothing is sent."))
    for tried in found.trace:
        out.print(f"  {'[green]met[/]    ' if tried.met else 'not met'} {escape(tried.rule)}: {escape(tried.why)}", highlight=False)
    said = found.decision.said_by("priority")
    sent = escape(", ".join(found.targets)) or "nobody: they are kept here"
    if not found.takers and not told["report_unfit"]:
        sent = "nobody: there is none"
    out.print(f"priority {told['priority']}{escape(f' ({said})') if said else ''}, results to {sent}\n", highlight=False)


def _priority(priority: int | None) -> str:
    """Name a priority; without one the sender's stays."""
    return next((name for name, value in PRIORITIES.items() if value == priority), "as sent")
