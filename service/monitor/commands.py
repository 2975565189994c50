"""python -m service monitor report | check | alarms | golden | drill: is what releases see and say still as it was here?"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from service import logs
from service.settings import Settings, SettingsError, read_settings
from service.site import Site, read_site

if TYPE_CHECKING:
    from models.model import Model
    from models.shelf import Shelf
    from service.store.store import Store

app = typer.Typer(no_args_is_help=True, help=(
    "Watch releases: is what comes in, what goes out, how often they refuse, how long they take and what professionals say of them "
    "still as it was where they were proved? A running service with its page looks every hour and scores golden inputs again every "
    "night by itself; these commands do the same now, or show it. (What is followed at home is another room: remote monitoring.)"))
golden_app = typer.Typer(no_args_is_help=False, invoke_without_command=True, help=(
    "Score golden inputs and golden studies again now: any changed number is an incident. `golden add KEY` has the results behind a "
    "line of the worklist scored again every night, `golden drop KEY` lets them go; KEY stands in the address of the line's page."))
app.add_typer(golden_app, name="golden")
SiteFile = Annotated[Path | None, typer.Option("--site", help="TOML file of the site.")]
Folder = Annotated[Path | None, typer.Option("--store", help="Folder of the store; default diaphane-data.")]
Released = Annotated[Path | None, typer.Option(help="Folder of releases; default models/released.")]


@app.command()
def report(
    release: Annotated[str, typer.Argument(help="Id of a release; without it all that gave results.")] = "",
    *, as_json: Annotated[bool, typer.Option("--json", help="All figures, for a program.")] = False,
    site: SiteFile = None, store: Folder = None,
) -> None:
    """Show what the last look found: results, streams that changed, agreement, and open alarms."""
    import json

    from service.monitor.told import tables
    from service.store import watching

    _, _, opened = _open(site, store)
    states = {name: row.found for name, row in watching.states(opened).items() if row.found and release in ("", name)}
    if not states:
        _fail("Nothing was found yet: no release gave results here, or nobody looked. Look now with: python -m service monitor check")
    if as_json:
        typer.echo(json.dumps(states, indent=1, sort_keys=True))
        return
    _print(*(table for name, found in states.items() for table in tables(name, found)))


@app.command()
def check(*, site: SiteFile = None, store: Folder = None, released: Released = None) -> None:
    """Count, judge and ring now, as every hour. Ends with 1 while an alarm is open, so that a scheduler can tell."""
    from service.monitor.passes import PASS
    from service.monitor.passes import check as look
    from service.store import alarms, watching

    settings, hospital, opened = _open(site, store)
    shelf = _shelf(settings, released)
    holder = f"command:{os.getpid()}"
    if watching.take_turn(opened, PASS, holder, 600.0) is None:
        _fail("A running service is looking at this moment. `monitor report` shows what it found in a minute.")
    found = look(opened, hospital, _watched(opened, hospital, shelf))
    watching.done(opened, PASS, holder)
    for one in found:
        new = f", new alarms: {', '.join(one.new)}" if one.new else ""
        ended = f", ended: {', '.join(one.ended)}" if one.ended else ""
        typer.echo(f"{one.release}: {one.n} results in seven days, {len(one.signals)} signals{new}{ended}")
    if not found:
        typer.echo("No release that serves gave results here yet.")
    if alarms.ringing(opened):
        typer.echo("Alarms are open: python -m service monitor alarms", err=True)
        raise typer.Exit(1)


@app.command()
def alarms(
    *, ack: Annotated[int, typer.Option("--ack", help="Say that you saw the alarm of this number; it stays open until it ends.")] = 0,
    ended: Annotated[bool, typer.Option("--all", help="Those that ended too.")] = False,
    site: SiteFile = None, store: Folder = None,
) -> None:
    """Show open alarms, the latest first."""
    from service.monitor.told import alarm_table
    from service.store import alarms as kept

    settings, hospital, opened = _open(site, store)
    if ack:
        with opened.session() as session:
            row = kept.seen(session, ack, _who())
        if row is None:
            _fail(f"There is no alarm {ack}; `monitor alarms` shows their numbers.")
        _audit(settings, hospital, opened, "alarm", {"number": ack, "kind": row.kind, "model": row.release, "way": "command"})
        typer.echo(f"Alarm {ack} on {row.release} ({row.kind}) was seen by {row.acknowledged_by}.")
        return
    _print(alarm_table(kept.alarms(opened, only_open=not ended)))


@golden_app.callback()
def golden(context: typer.Context, *, site: SiteFile = None, store: Folder = None, released: Released = None) -> None:
    """Score all of them again now. Ends with 1 when a number changed."""
    if context.invoked_subcommand:
        return
    from service.monitor.golden import night
    from service.monitor.told import night_table
    from service.reading import Reading

    settings, hospital, opened = _open(site, store)
    shelf, reading = _shelf(settings, released), Reading(settings)
    try:
        nights = night(opened, shelf, reading, _watched(opened, hospital, shelf))
    finally:
        reading.close()
    _print(night_table(nights))
    if any(one.changed for one in nights):
        raise typer.Exit(1)


@golden_app.command()
def add(key: Annotated[str, typer.Argument(help="Key of a line of the worklist.")], *, site: SiteFile = None,
        store: Folder = None) -> None:
    """Have the results behind a line of the worklist scored again every night."""
    _choose(key, site, store, chosen=True)


@golden_app.command()
def drop(key: Annotated[str, typer.Argument(help="Key of a line of the worklist.")], *, site: SiteFile = None,
         store: Folder = None) -> None:
    """Let them go."""
    _choose(key, site, store, chosen=False)


@app.command()
def drill(
    *, release: Annotated[str, typer.Option(help="Id of one release; without it all that bring a reference.")] = "",
    weeks: Annotated[int, typer.Option(min=25, help="Ordinary weeks in which false alarms are counted.")] = 200,
    per_week: Annotated[int, typer.Option(min=20, help="Results a week.")] = 150,
    tries: Annotated[int, typer.Option(min=1, help="How often each mishap is tried.")] = 3,
    seed: Annotated[int, typer.Option(help="Other weeks: what holds for one seed only does not hold.")] = 1,
    released: Released = None,
) -> None:
    """Does every alarm ring, and how often for nothing? Weeks are drawn from each release's reference: no data are needed.

    Every mishap begins after twelve ordinary weeks and has half a year to be noticed. A minute or two a release. Ends with 1 when
    an alarm did not ring, or ordinary weeks rang more than once a year.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from models.reference import shipped_reference
    from service.monitor.drill import drill as run
    from service.monitor.drill import steps_of
    from service.monitor.told import drill_tables

    shelf = _shelf(read_settings(), released)
    pairs = [(model, found) for model in shelf.models.values()
             if release in ("", model.id) and (found := shipped_reference(model.id)) is not None]
    if not pairs:
        _fail("No release of that id brings a reference. Make one with: python -m training reference RELEASE")
    done = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("", total=sum(steps_of(model, one, weeks, tries) for model, one in pairs))
        for model, one in pairs:
            progress.update(task, description=model.id)
            done.append(run(model, one, weeks=weeks, per_week=per_week, tries=tries, seed=seed,
                            on_step=lambda: progress.advance(task)))
    _print(*drill_tables(done))
    if not all(one.passed for one in done):
        raise typer.Exit(1)


def _choose(key: str, site: Path | None, store: Path | None, *, chosen: bool) -> None:
    from service.store import golden as kept

    settings, hospital, opened = _open(site, store)
    found = kept.of_entry(opened, key)
    if not found:
        _fail("There is no scored result behind that key. The key stands in the address of the line's page: /review/studies/KEY.")
    with opened.session() as session:
        if chosen:
            kept.choose(session, found, _who())
        else:
            kept.drop(session, found)
    _audit(settings, hospital, opened, "golden", {"count": len(found), "chosen": chosen, "way": "command"})
    typer.echo(f"{len(found)} results {'are scored again every night' if chosen else 'are let go'}: "
               + ", ".join(sorted({release for release, _, _ in found})))


def _open(site: Path | None, store: Path | None) -> tuple[Settings, Site, Store]:
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
        return settings, hospital, Store.open(settings)
    except StoreError as error:
        _fail(str(error))


def _shelf(settings: Settings, released: Path | None) -> Shelf:
    from models.errors import BrokenModel
    from models.shelf import RELEASED, Shelf

    try:
        return Shelf(released or settings.released or RELEASED)
    except BrokenModel as error:
        _fail(str(error))


def _watched(store: Store, site: Site, shelf: Shelf) -> list[Model]:
    from service.monitor.passes import watched
    from service.releases.standing import Standings

    return watched(Standings(store, site), shelf)


def _audit(settings: Settings, site: Site, store: Store, kind: str, detail: dict[str, Any]) -> None:
    from service.access.caller import Caller
    from service.audit.audit import Audit

    Audit(store, site, settings).note(Caller(_who()), "release", kind=kind, detail=detail)


def _who() -> str:
    return f"local:{getpass.getuser()}"


def _print(*parts: Any) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False)  # what people wrote is text
    for part in parts:
        console.print(part)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
