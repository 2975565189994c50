"""python -m service learn queue | counts: what to judge next, and how far the local training set and test have grown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from service import logs
from service.settings import SettingsError, read_settings
from service.site import read_site

if TYPE_CHECKING:
    from service.site import Site
    from service.store.store import Store

app = typer.Typer(no_args_is_help=True, help=(
    "Learn from verdicts. The queue picks which results are worth one; `rights dataset --with-verdicts` writes the set; "
    "`python -m training refit` learns from it and proposes a shadow, or says why not."))
Folder = Annotated[Path | None, typer.Option("--store", help="Folder of the store; default diaphane-data.")]
SiteFile = Annotated[Path | None, typer.Option("--site", help="TOML file of the site.")]


@app.command()
def queue(
    count: Annotated[int, typer.Option(min=5, max=1000, help="How many results to pick.")] = 40,
    *, site: SiteFile = None, store: Folder = None,
) -> None:
    """Pick what to judge next: two of five near a threshold, one unlike what was judged, one drawn at random among those who may
    train, one among those who test. They stand on the page /review/learn; what is judged leaves it. Picking anew replaces
    what was not drawn at random: that stays until it is judged, so that no hard case is passed over.
    """
    from rich.console import Console
    from rich.table import Table

    from service.learn.queue import pick
    from service.store.picks import open_picks

    opened, hospital = _open(site, store)
    with Console().status("looking at what nobody has judged …"):
        pick(opened, hospital, count=count)
    table = Table("open it at", "model", "why", "uncertain", "picked for")
    for one in open_picks(opened):
        table.add_row(f"/review/e/{one.entry_key}", one.release, one.why, f"{one.uncertainty:.2f}",
                      "the local test" if one.why == "test" else "learning")
    Console().print(table)


@app.command()
def counts(*, site: SiteFile = None, store: Folder = None) -> None:
    """Show in counts how far it has come: people by side of the split, picks by reason, verdicts by release."""
    from rich.console import Console
    from rich.table import Table

    from service.learn.queue import grown

    opened, _ = _open(site, store)
    told = grown(opened)
    for title, rows in (
        ("People by side, for ever", [(side, str(n)) for side, n in sorted(told.people.items())]),
        ("Picked to be judged", [(why, f"{wait} wait, {done} judged") for why, (wait, done) in sorted(told.picks.items())]),
        ("Verdicts in force", [(model, str(n)) for model, n in sorted(told.verdicts.items())]),
    ):
        table = Table(title=title, title_justify="left", show_header=False)
        for row in rows or [("none", "0")]:
            table.add_row(*row)
        Console().print(table)


def _open(site: Path | None, store: Path | None) -> tuple[Store, Site]:
    """Open the store that is there."""
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
        return Store.open(settings), hospital
    except StoreError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
