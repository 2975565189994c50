"""python -m service audit verify | show | export | prune: the audit from the command line of the machine that keeps it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from service import logs
from service.settings import Settings, SettingsError, read_settings
from service.site import Site, read_site

if TYPE_CHECKING:
    from service.store.audit import Line
    from service.store.store import Store

app = typer.Typer(no_args_is_help=True, help="The audit: who did what. Lines are added, never changed.")
Folder = Annotated[Path | None, typer.Option("--store", help="Folder of the store; default diaphane-data.")]
SiteFile = Annotated[Path | None, typer.Option("--site", help="TOML file of the site.")]
LEAST_DAYS = 365.0 * 3  # what is advised for the traces of access to health data


@app.command()
def verify(*, quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
           site: SiteFile = None, store: Folder = None) -> None:
    """Check every line and the end of the chain. Ends with 1 and names the first line that is not as it was written."""
    from service.audit.head import Head
    from service.store.audit import Broken, check, count

    settings, _, opened = _open(site, store)
    head = Head(settings.store.absolute()).read()  # before the lines are counted: the chain may grow meanwhile
    with opened.reading() as session:
        total = count(session)
    columns = (TextColumn("checking the audit"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("lines", total=total)
        found = check(opened, head, lambda some: progress.advance(task, some))
    if isinstance(found, Broken):
        _fail(f"The audit is not as it was written. Line {found.number}: {found.what}.\nKeep this store as it is, and have the "
              "people who answer for its security look at it. A copy of the store from before tells what stood there.")
    typer.echo(f"{total} lines are as they were written. The end: line {found.number}, {found.hash}")
    if not head.number and found.number:  # who cuts the end off can delete a file too
        _fail("There is no file audit.head in the folder of the store: whether the end was cut off cannot be told. Run this on a "
              "machine that writes the audit; if this is one, somebody removed the file: hold the end against a copy kept elsewhere.")


@app.command()
def show(
    *,
    lines: Annotated[int, typer.Option(help="How many, the newest last.", min=1, max=10_000)] = 50,
    action: Annotated[str, typer.Option(help="Only one action, such as view, denied or verdict.")] = "",
    actor: Annotated[str, typer.Option(help="Only one actor, such as rpps:… or local:owner.")] = "",
    site: SiteFile = None, store: Folder = None,
) -> None:
    """Print the newest lines."""
    from service.store.audit_search import Query, search

    _, _, opened = _open(site, store)
    with opened.reading() as session:
        found = search(session, Query(actor=actor, action=action), limit=lines)
    columns = ("line", "time (UTC)", "actor", "name", "action", "outcome", "of", "detail")
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for one in reversed(found.lines):
        detail = ", ".join(f"{name} {value}" for name, value in sorted(one.detail.items()) if name != "state")
        table.add_row(str(one.id), datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M:%S"), one.actor, one.actor_name,
                      one.action, one.outcome, f"{one.kind} {one.item}".strip(), detail)
    Console().print(table)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write; - writes to standard output.")],
    *,
    form: Annotated[str, typer.Option("--format", help="ndjson or bundle (FHIR R4 AuditEvent), dicom (PS3.15 XML), csv.")] = "ndjson",
    after: Annotated[int, typer.Option(help="Only lines after this number.", min=0)] = 0,
    site: SiteFile = None, store: Folder = None,
) -> None:
    """Write the audit out. That it was done is a line of the audit itself."""
    from service.audit.audit import Audit
    from service.audit.export import FORMATS
    from service.store.audit import end_of

    if form not in FORMATS:
        _fail(f"--format must be one of {', '.join(FORMATS)}.")
    settings, hospital, opened = _open(site, store)
    audit = Audit(opened, hospital, settings)
    with opened.reading() as session:
        total = max(0, end_of(session).number - after)
    audit.note(None, "export", kind="audit", detail={"format": form, "count": total, "way": "command"})
    source = hospital.audit.source_id or hospital.device.station
    try:
        target = sys.stdout if str(out) == "-" else out.open("w", encoding="utf-8", newline="")
    except OSError as error:
        _fail(f"The file cannot be written: {error.strerror}. Name another.")
    try:
        for text in FORMATS[form](_all(opened, after, total), source):
            target.write(text)
    finally:
        if target is not sys.stdout:
            target.close()


@app.command()
def prune(
    days: Annotated[float, typer.Argument(help="Lines older than this go.", min=0)],
    *,
    sure: Annotated[bool, typer.Option("--yes", help="Needed for less than three years.")] = False,
    site: SiteFile = None, store: Folder = None,
) -> None:
    """Delete the oldest lines, and sign where the chain begins from now on."""
    from service.audit.audit import Audit
    from service.store.audit import prune as prune_lines

    if days < LEAST_DAYS and not sure:
        _fail(f"The traces of who saw health data are kept {LEAST_DAYS:.0f} days or more. Give --yes to delete younger ones.")
    settings, hospital, opened = _open(site, store)
    gone = prune_lines(opened, time.time() - days * 86_400)
    Audit(opened, hospital, settings).note(None, "prune", kind="audit", detail={"count": gone, "way": "command"})
    typer.echo(f"{gone} lines were deleted.")


def _all(store: Store, after: int, most: int) -> Iterator[Line]:
    """Read line after line, those there were when it began, in short transactions."""
    from service.store.audit import lines

    while most > 0:
        with store.reading() as session:
            batch = lines(session, after=after)
        if not batch:
            return
        yield from batch[:most]
        most, after = most - len(batch), batch[-1].id


def _open(site: Path | None, store: Path | None) -> tuple[Settings, Site, Store]:
    from service.store.engine import SQLITE_FILE
    from service.store.errors import StoreError
    from service.store.store import Store

    try:
        settings = read_settings(site=site, store=store)
        hospital = read_site(settings.site)
        if not settings.database.get_secret_value() and not (settings.store / SQLITE_FILE).is_file():
            _fail("The setting store must name the folder of a store, found none there. Give --store or DIAPHANE_STORE.")
        os.umask(0o077)  # nothing here is for other users of the machine
        logs.set_up(settings.log_level)
        return settings, hospital, Store.open(settings)
    except (SettingsError, StoreError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
