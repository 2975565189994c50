"""python -m service rights erase | export | oppose | hold | list | prune | dataset: patients' rights from the command line.

An identifier is asked for, or read from standard input, and never an argument: arguments stand in histories and in the list
of processes.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from service import logs
from service.settings import SettingsError, read_settings
from service.site import read_site

if TYPE_CHECKING:
    from service.access.caller import Caller
    from service.rights.person import Person
    from service.rights.rights import Rights
    from service.store.rights import Scope

app = typer.Typer(no_args_is_help=True, help=(
    "Patients' rights: erasure, access, opposition, legal hold, retention. The identifier of the person is asked for, or read from "
    "standard input: it is no argument, for those stay in the history of the shell."))
Folder = Annotated[Path | None, typer.Option("--store", help="Folder of the store; default diaphane-data.")]
SiteFile = Annotated[Path | None, typer.Option("--site", help="TOML file of the site.")]
Study = Annotated[bool, typer.Option("--study", help="One study, by its StudyInstanceUID, instead of a person.")]
Issuer = Annotated[str, typer.Option(help=(
    "Who gave the identifier: an OID, a URI or a name; 'unqualified urn:oid:…' for a national identity (INS) nobody checked."))]


@app.command()
def erase(
    *, study: Study = False, issuer: Issuer = "",
    oppose: Annotated[str, typer.Option(help="What may not be done when images come again: scoring, training or both.")] = "",
    pack: Annotated[bool, typer.Option("--pack/--no-pack", help="Write the database anew: once, after an upgrade from 0.1.")] = False,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    site: SiteFile = None, store: Folder = None,
) -> None:
    """Remove everything about a person or a study, but the lines of the audit. It cannot be undone."""
    from service.rights.errors import RightsError

    rights, caller = _rights(site, store)
    person = _person(rights, caller, study=study, issuer=issuer)
    typer.echo(f"Held: {len(person.studies)} studies, {len(person.subjects)} records, {len(person.risks)} risks.")
    if not sure:
        typer.confirm("Erase all of it? This cannot be undone", abort=True)
    try:
        erased = rights.erase(caller, person, oppose=_scope(oppose) if oppose else None, pack=pack)
    except RightsError as error:
        _fail(str(error))
    typer.echo(f"Erased: {erased.studies} studies with {erased.images} images, and {sum(erased.rows.values())} other rows.")
    for target, count in sorted(erased.copies.items()):
        typer.echo(f"{target} got {count} results: have them removed there.")
    if not erased.settled:
        typer.echo("The database was busy: run this again later, so that no byte stays in its files.", err=True)
    typer.echo("Copies outside this store (backups, replicas, what was sent) are not reached from here.")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Zip archive to write. Give it a name that names nobody.")],
    *, study: Study = False, issuer: Issuer = "",
    names: Annotated[bool, typer.Option("--names", help="Name the professionals who looked.")] = False,
    site: SiteFile = None, store: Folder = None,
) -> None:
    """Write everything that is held of a person, for them."""
    from service.rights.export import write_archive

    rights, caller = _rights(site, store)
    person = _person(rights, caller, study=study, issuer=issuer)
    try:
        with os.fdopen(os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            count = write_archive(rights.store, person, file, now=datetime.now(UTC), names=names)
    except OSError as error:
        _fail(f"The archive cannot be written: {error.strerror}. Name another file.")
    rights.exported(caller, person, count, way="command")
    typer.echo(f"{count} files were written.")


@app.command()
def oppose(
    scope: Annotated[str, typer.Argument(help="scoring, training or both; or end, when it is taken back.")],
    *, study: Study = False, issuer: Issuer = "", site: SiteFile = None, store: Folder = None,
) -> None:
    """Never score a person or a study, or never use them for training."""
    rights, caller = _rights(site, store)
    person = _person(rights, caller, study=study, issuer=issuer)
    if scope == "end":
        typer.echo(f"{rights.withdraw(caller, person)} oppositions have ended.")
        return
    rights.oppose(caller, person, _scope(scope))
    typer.echo("It stands from now on.")


@app.command()
def hold(
    *, release: Annotated[bool, typer.Option("--release", help="End the hold.")] = False,
    reason: Annotated[str, typer.Option(help="Why, such as a file number; it names nobody.")] = "",
    study: Study = False, issuer: Issuer = "", site: SiteFile = None, store: Folder = None,
) -> None:
    """Keep everything of a person or a study whatever else is asked, or release it."""
    rights, caller = _rights(site, store)
    person = _person(rights, caller, study=study, issuer=issuer)
    if release:
        typer.echo(f"{rights.release(caller, person)} holds have ended.")
        return
    if not reason:
        _fail("A legal hold needs a --reason, such as the number of the file at the court.")
    rights.hold(caller, person, reason)
    typer.echo("It stands from now on.")


@app.command(name="list")
def list_(*, ended: Annotated[bool, typer.Option("--ended", help="Also what has ended.")] = False,
          site: SiteFile = None, store: Folder = None) -> None:
    """Show oppositions and legal holds. Persons and studies are shown by their keys."""
    from rich.console import Console
    from rich.table import Table

    from service.store.rights import standings

    rights, _ = _rights(site, store)
    with rights.store.reading() as session:
        found = standings(session, ended=ended)
    table = Table("what", "scope", "person", "study", "since (UTC)", "ended", "by")
    for one in found:
        since, until = (f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M}" if when else "" for when in (one.made_at, one.ended_at))
        table.add_row(one.kind, one.scope, one.person[:8], one.study[:8], since, until, one.by)
    Console().print(table)


@app.command()
def prune(*, site: SiteFile = None, store: Folder = None) -> None:
    """Remove what the periods in the site file (retention) no longer keep. What is under a legal hold stays."""
    from service.rights.retention import prune_by_site

    rights, caller = _rights(site, store)
    done = prune_by_site(rights.store, rights.site)
    rights.pruned(caller, done.studies + done.risks)
    typer.echo(f"{done.studies} studies, {done.risks} risks and {done.audit_lines} lines of the audit were removed.")


@app.command()
def dataset(
    out: Annotated[Path, typer.Argument(help="Folder to make: it must be empty or not there.")],
    *,
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Received or told on this day or later.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Before this day.")] = None,
    with_verdicts: Annotated[bool, typer.Option("--with-verdicts", help="Only what a professional has judged.")] = False,
    approved: Annotated[Path | None, typer.Option(
        help="Names from held_back.csv that somebody looked at and that may leave, one a line.", exists=True, dir_okay=False)] = None,
    device: Annotated[bool, typer.Option("--device", help="Keep model, software and serial number of devices.")] = False,
    site: SiteFile = None, store: Folder = None,
) -> None:
    """Write a de-identified set for training or research: images, labels from verdicts, records. Oppositions are respected."""
    from models.deidentify.rules import Rules
    from service.rights.dataset import write_set

    rights, caller = _rights(site, store)
    names = set(approved.read_text(encoding="utf-8").split()) if approved else set()
    times = [one.replace(tzinfo=rights.site.device.zone or UTC).timestamp() if one else None for one in (since, until)]
    try:
        made = write_set(rights.store, rights.site, out, since=times[0] or 0.0, until=times[1] or float("inf"),
                         only_judged=with_verdicts, rules=Rules(device=device), approved=names)
    except FileExistsError:
        _fail("The folder must be empty or not there: a set is never mixed with another. Name another.")
    except OSError as error:
        _fail(f"The set cannot be written: {error.strerror}. Name another folder.")
    rights.left(caller, made.persons, made.counts["images"] + made.counts["risks"])
    for what, count in sorted(made.counts.items()):
        typer.echo(f"{what.replace('_', ' ')}: {count}")
    if made.unknown:
        typer.echo(f"Terms that are not known were removed from {', '.join(sorted(made.unknown))}.")


def _person(rights: Rights, caller: Caller, *, study: bool, issuer: str) -> Person:
    """Ask for an identifier and return whose it is."""
    from service.rights.errors import RightsError
    from service.rights.person import issuers_of

    what = "StudyInstanceUID" if study else "Identifier"
    typed = typer.prompt(what) if sys.stdin.isatty() else sys.stdin.readline().strip()
    try:
        person = rights.find(caller, typed, issuer, study=study)
    except RightsError as error:
        _fail(str(error))
    if not (person.is_held_here or study or issuer) and (others := issuers_of(rights.store, rights.site, typed)):
        _fail(f"The identifier is held only with who gave it: repeat with {' or '.join(f'--issuer {one!r}' for one in others)}.")
    return person


def _rights(site: Path | None, store: Path | None) -> tuple[Rights, Caller]:
    """Open the store that is there, and say who asks: whoever may run commands on this machine."""
    from service.access.caller import Caller
    from service.audit.audit import Audit
    from service.rights.rights import Rights
    from service.store.engine import SQLITE_FILE
    from service.store.errors import StoreError
    from service.store.store import Store

    try:
        settings = read_settings(site=site, store=store)
        hospital = read_site(settings.site)
    except SettingsError as error:
        _fail(str(error))
    os.umask(0o077)
    logs.set_up(settings.log_level)
    if not settings.database.get_secret_value() and not (settings.store / SQLITE_FILE).is_file():
        _fail("The setting store must name the folder of a store, found none there. Give --store or DIAPHANE_STORE as for the node.")
    try:
        opened = Store.open(settings)
    except StoreError as error:
        _fail(str(error))
    return Rights(opened, hospital, Audit(opened, hospital, settings)), Caller("local:owner", name="command line")


def _scope(told: str) -> Scope:
    from service.store.rights import SCOPES

    found = next((one for one in SCOPES if one == told), None)
    return found or _fail(f"The scope must be one of {', '.join(SCOPES)}.")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
