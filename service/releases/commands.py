"""python -m service release list | show | sign | live | shadow | off | rollback | compare | promote: which release speaks here.

Whatever is done is written into the audit, and takes effect in every running process within two seconds, without a restart.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from service import logs
from service.settings import SettingsError, read_settings
from service.site import read_site

if TYPE_CHECKING:
    from models.commissioned import Commissioning
    from service.access.caller import Caller
    from service.releases.releases import Releases

app = typer.Typer(no_args_is_help=True, help=(
    "Which release speaks here. A release is commissioned (python -m training commission), signed for by a named person, and then "
    "put live; a candidate is first put in shadow, where it scores what comes and nobody sees it, compared, and promoted. One "
    "release of a name is live. Every change is audited and holds within two seconds, without a restart."))
Release = Annotated[str, typer.Argument(help="Id of a release: its name and version, such as chest_xray_pediatric-1.0.0.")]
Name = Annotated[str, typer.Argument(help="Name of a model, without its version.")]
Who = Annotated[str, typer.Option("--name", help="Who decides: a person's name. The account on this machine is kept too.")]
Why = Annotated[str, typer.Option("--reason", help="Why, in words that name no patient.")]
Advice = Annotated[str, typer.Option("--against-advice", metavar="REASON", help=(
    "Go on though commissioning, or the promotion gate, says no. The reason is kept, and shown on the page of every result."))]
Cases = Annotated[int, typer.Option(min=1, help="How many cases both must have seen.")]
Positives = Annotated[int, typer.Option(min=2, help="How many of them must have a verdict that the finding is there.")]
SiteFile = Annotated[Path | None, typer.Option("--site", help="TOML file of the site.")]
Folder = Annotated[Path | None, typer.Option("--store", help="Folder of the store; default diaphane-data.")]
Released = Annotated[Path | None, typer.Option(help="Folder of releases; default models/released.")]
CASES, POSITIVES = 200, 30


@app.command(name="list")
def list_(*, site: SiteFile = None, store: Folder = None, released: Released = None) -> None:
    """Show every release and what it does here: live, shadow, off, or unsigned."""
    from service.releases.telling import states_table

    releases, _ = _open(site, store, released)
    _print(states_table(releases))


@app.command()
def show(release: Release, *, site: SiteFile = None, store: Folder = None, released: Released = None) -> None:
    """Show one release: what commissioning found, who signed, and everything it did here."""
    from service.releases.telling import about

    releases, _ = _open(site, store, released)
    if release not in releases.installed:
        _fail("There is no release of that id on the shelf here; `release list` shows them.")
    _print(*about(releases, release))


@app.command()
def report(
    release: Release,
    folder: Annotated[Path, typer.Argument(exists=True, help="Folder that commission wrote, or its commissioning.json.")],
    *, site: SiteFile = None, store: Folder = None, released: Released = None,
) -> None:
    """Hand in what commissioning found, so that it is read and signed for on the page /review/releases."""
    from service.releases.reports import hand_in

    releases, _ = _open(site, store, released)
    found = _report(folder)
    _done(lambda: hand_in(read_settings(site=site, store=store), releases, release, found))
    typer.echo(f"The report on {release} waits on its page to be signed for. Decision of commissioning: {found.decision}.")


@app.command()
def sign(
    release: Release,
    *,
    report: Annotated[Path, typer.Option(exists=True, help="Folder that commission wrote, or its commissioning.json.")],
    name: Who,
    statement: Annotated[str, typer.Option(help="What was looked at, and why it may or may not serve. It names no patient.")],
    rpps: Annotated[str, typer.Option(help="National number of the health professional (RPPS).")] = "",
    decline: Annotated[bool, typer.Option("--decline", help="Say no. A release that is live is switched off at once.")] = False,
    typed: Annotated[str, typer.Option("--type", help="The id of the release once more, instead of being asked for it.")] = "",
    site: SiteFile = None, store: Folder = None, released: Released = None,
) -> None:
    """Bind a named person to what commissioning found: without it a release does not go live where the site asks for it."""
    from service.releases.telling import gates_table

    releases, caller = _open(site, store, released, name=name, rpps=rpps)
    found = _report(report)
    _print(gates_table(found.gates, "What commissioning asked for and saw"))
    typer.echo(f"Decision of commissioning: {found.decision}. {' '.join(found.reasons)}")
    if (typed or typer.prompt(f"Type the id of the release to {'decline' if decline else 'sign for'} it")) != release:
        _fail("The id that was typed is another one. Nothing was signed.")
    row = _done(lambda: releases.sign(caller, release, found, decision="declined" if decline else "accepted", statement=statement,
                                      known_by=f"account {getpass.getuser()} on this machine"))
    typer.echo(f"{release}: {row.decision}, sign-off {row.id}, report {row.report_sha256[:12]}….")


@app.command()
def live(release: Release, *, name: Who, reason: Why = "", against_advice: Advice = "", site: SiteFile = None, store: Folder = None,
         released: Released = None) -> None:
    """Let a release speak here, in place of the one of its name that did."""
    releases, caller = _open(site, store, released, name=name)
    row = _done(lambda: releases.live(caller, release, against_advice=against_advice, reason=reason))
    before = row.detail.get("before")
    typer.echo(f"{release} is live." + (f" {before} is off; `release rollback {row.name}` returns to it." if before else ""))
    _silent_yet(releases, release)


@app.command()
def shadow(release: Release, *, name: Who, reason: Why = "", site: SiteFile = None, store: Folder = None,
           released: Released = None) -> None:
    """Let a release score what comes, unseen: nothing of it reaches a PACS, a record, a page of a patient or an answer."""
    releases, caller = _open(site, store, released, name=name)
    _done(lambda: releases.shadow(caller, release, reason=reason))
    typer.echo(f"{release} is in shadow. `release compare {release}` shows what it said beside the live one.")


@app.command()
def off(release: Release, *, name: Who, reason: Why = "", site: SiteFile = None, store: Folder = None,
        released: Released = None) -> None:
    """Switch a release off. No other of its name takes its place."""
    releases, caller = _open(site, store, released, name=name)
    _done(lambda: releases.off(caller, release, reason=reason))
    typer.echo(f"{release} is off.")


@app.command()
def rollback(model: Name, *, name: Who, reason: Why = "", site: SiteFile = None, store: Folder = None,
             released: Released = None) -> None:
    """Return to the release of a name that was live before the present one."""
    releases, caller = _open(site, store, released, name=name)
    row = _done(lambda: releases.rollback(caller, model, reason=reason))
    typer.echo(f"{row.release} is live again." + (f" {row.detail['before']} is off." if row.detail.get("before") else ""))
    _silent_yet(releases, row.release)


@app.command()
def compare(model: Name, *, cases: Cases = CASES, positives: Positives = POSITIVES, site: SiteFile = None, store: Folder = None,
            released: Released = None) -> None:
    """Compare the candidate of a name with the live release, on the same cases, and show how far the gate is met."""
    from service.releases.promote import judge
    from service.releases.promotion import Rules
    from service.releases.telling import compared

    releases, _ = _open(site, store, released)
    _print(*compared(_done(lambda: judge(releases, model, Rules(cases=cases, positives=positives)))))


@app.command()
def promote(model: Name, *, name: Who, cases: Cases = CASES, positives: Positives = POSITIVES, against_advice: Advice = "",
            site: SiteFile = None, store: Folder = None, released: Released = None) -> None:
    """Put the candidate of a name live if everything that is required is met. Ends with 1 when it is not."""
    from service.releases.promote import judge, promote
    from service.releases.promotion import Rules
    from service.releases.telling import compared

    releases, caller = _open(site, store, released, name=name)
    judged = _done(lambda: judge(releases, model, Rules(cases=cases, positives=positives)))
    _print(*compared(judged))
    row = _done(lambda: promote(releases, caller, judged, against_advice=against_advice))
    typer.echo(f"{row.release} is live, {judged.live} is off; `release rollback {row.name}` returns to it.")


def _report(path: Path) -> Commissioning:
    from models.commissioned import read_commissioning
    from models.errors import UnusableInput

    try:
        return read_commissioning(path / "commissioning.json" if path.is_dir() else path)
    except UnusableInput as error:
        _fail(str(error))


def _done(work: Any) -> Any:
    from service.releases.errors import ReleaseError
    from service.store.errors import StoreError

    try:
        return work()
    except (ReleaseError, StoreError) as error:
        _fail(str(error))


def _open(site: Path | None, store: Path | None, released: Path | None, *, name: str = "", rpps: str = "") -> tuple[Releases, Caller]:
    """Open the store that is there and look at the folder of releases; nothing is scored."""
    from models.errors import BrokenModel
    from models.shelf import RELEASED
    from service.access.caller import Caller
    from service.audit.audit import Audit
    from service.releases.releases import Releases
    from service.releases.state import installed_in
    from service.store.engine import SQLITE_FILE
    from service.store.errors import StoreError
    from service.store.store import Store

    try:
        settings = read_settings(site=site, store=store, released=released)
        hospital = read_site(settings.site)
        found, active = installed_in(settings.released or RELEASED)
    except (SettingsError, BrokenModel) as error:
        _fail(str(error))
    os.umask(0o077)
    logs.set_up(settings.log_level)
    if not settings.database.get_secret_value() and not (settings.store / SQLITE_FILE).is_file():
        _fail("The setting store must name the folder of a store, found none there. Start the node once, which makes it and stays "
              "silent until somebody signed; or give --store or DIAPHANE_STORE as for the node.")
    try:
        opened = Store.open(settings)
    except StoreError as error:
        _fail(str(error))
    caller = Caller(f"local:{getpass.getuser()}", name=name.strip(), rpps=rpps)
    return Releases(opened, hospital, Audit(opened, hospital, settings), {one.id: one for one in found}, active), caller


def _silent_yet(releases: Releases, release: str) -> None:
    """Say where a release that was just put live stays silent: these commands know only the site file that they are given."""
    from service.store import signoffs

    if signoffs.latest(releases.store, release, releases.installed[release].manifest_sha256) is None:
        typer.echo(f"Nobody has signed for {release}. Where the node runs with a site file that asks for it, it stays silent: give "
                   "these commands the same --site, or set DIAPHANE_SITE.", err=True)


def _print(*parts: Any) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False)  # what people wrote is text
    for part in parts:
        console.print(part)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
