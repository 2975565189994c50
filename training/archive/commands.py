"""python -m training archive score | show: score a site's archive, and look at what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from training.archive.plan import TOKEN_VARIABLE

if TYPE_CHECKING:
    from training.archive.score import Watch

EXIT_UNUSABLE, EXIT_BROKEN, EXIT_AWAY = 2, 3, 4
ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / "models" / "released"
DATA = ROOT.parent / "shared" / "data"
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_show_locals=False,
                  help="Score a whole archive, de-identified on the way, and go on after whatever stopped it.")
out_console, err_console = Console(), Console(stderr=True)


@app.command()
def score(
    release: Annotated[str, typer.Argument(help="A release folder, an id such as name-1.0.0, or a name.")],
    archive: Annotated[str, typer.Option(help="A folder, a zip, https://…/dicom-web, https://…/fhir or data:NAME.")],
    out: Annotated[Path, typer.Option(help="Folder for the rows; the same folder goes on with a run that was stopped.")],
    kind: Annotated[str, typer.Option(help="folder, dicomweb, fhir or data, where the address does not tell.")] = "",
    attributes: Annotated[Path | None, typer.Option(help="CSV with what the files do not say; metadata.csv in the folder by "
                                                         "default.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS for a table with names of its own, such as "
                                                          "age_years=Alter; age_years= leaves it out.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE a line of the table must have; repeat it for others.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Columns of the table to take over as attributes of the rows.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="DICOM modalities; those that the release accepts by default, "
                                                            "any for all.")] = None,
    since: Annotated[str, typer.Option(help="First day of studies or stays, YYYY-MM-DD.")] = "",
    until: Annotated[str, typer.Option(help="Last day.")] = "",
    cohort: Annotated[str, typer.Option(help="Of a FHIR server: the search of the stays, such as "
                                             "Encounter?class=IMP&date=ge2026-01-01.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Only so many cases, drawn at random; 0 takes all.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Scoring processes.")] = 1,
    engine: Annotated[str, typer.Option(help="local, dask or ray.")] = "local",
    address: Annotated[str, typer.Option(help="Of a Dask scheduler or Ray cluster that runs; empty: one on this machine.")] = "",
    keep_images: Annotated[bool, typer.Option("--keep-images", help="Keep de-identified copies beside the rows.")] = False,
    token_variable: Annotated[str, typer.Option(help="Environment variable that holds the bearer token.")] = TOKEN_VARIABLE,
    ca: Annotated[Path | None, typer.Option(help="Certificates (PEM) that the server's is checked with.")] = None,
    timeout_s: Annotated[float, typer.Option(min=1, help="A case that takes longer is tried once more alone, then fails.")] = 120,
    memory_mib: Annotated[int, typer.Option(min=256, help="What a scoring process may take above what it starts with.")] = 4096,
    shelf: Annotated[Path, typer.Option(help="Folder of releases.")] = SHELF,
    data: Annotated[Path, typer.Option(help="Folder with the data sets, for data:NAME.", envvar="DIAPHANE_DATA")] = DATA,
) -> None:
    """Score every case of an archive: one row a case, nobody in clear.

    [bold]Where cases come from.[/bold]
    A folder or zip with DICOM files at any depth; pictures (PNG, JPEG) with a
    table; FHIR Bundles or the NDJSON of a bulk export; a PACS over DICOMweb; a
    FHIR server; or a data set that recipes read. Slices of a series are one
    case, every other image is one; so is every stay that reached the moment
    at which the release is scored.

    [bold]What is written.[/bold]
    rows.jsonl (figures and keyed hashes), timings.jsonl, archive.json (counts);
    and private/, for its owner alone: the key, without which no hash leads
    back, and where every case lies.

    [bold]When it stops,[/bold]
    by a kill, a power cut or a PACS that is away: give the same command again.
    Rows are the same bytes whatever the number of workers, the engine and the
    stops. A file that kills its process is tried once more alone, and then has
    failed; the run goes on.

    [bold]On several machines.[/bold]
    --engine dask or ray with --address: every worker must reach the archive and
    the release under the same paths. Who can reach a cluster can run code on it:
    close yours. One that is started here for the run lets in nobody else.

      training archive score chest_xray_pediatric --archive /mnt/pacs --out out/a
      training archive score icu_mortality --archive data:eicu_demo --out out/b
      training archive score chest_xray_pediatric --since 2026-01-01 --out out/c \\
        --archive https://pacs.example.org/dicom-web
    """
    from models.errors import BrokenModel, DiaphaneError, UnusableInput
    from training.archive.cases import ArchiveAway
    from training.archive.engines import ENGINES
    from training.archive.score import plan_for, score_archive

    if engine not in ENGINES:
        raise typer.BadParameter(f"--engine must be one of {', '.join(ENGINES)}, found {engine!r}.")
    try:
        plan = plan_for(
            find_release(release, shelf), archive, out, kind=kind, attributes=str(attributes.resolve()) if attributes else "",
            columns=_pairs(column), where=_pairs(where), keep=tuple(keep or ()), modalities=tuple(modality or ()),
            since=_day(since), until=_day(until), cohort=cohort, data=str(data.resolve()), limit=limit, keep_images=keep_images,
            token_variable=token_variable, ca=str(ca.resolve()) if ca else "", timeout_s=timeout_s, memory_mib=memory_mib)
        with _bar() as bar:
            score_archive(plan, workers=workers, engine=engine, address=address, watch=_watch(bar))
    except DiaphaneError as error:
        err_console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        codes = ((ArchiveAway, EXIT_AWAY), (UnusableInput, EXIT_UNUSABLE), (BrokenModel, EXIT_BROKEN))
        raise typer.Exit(next((code for one, code in codes if isinstance(error, one)), EXIT_BROKEN)) from None
    show(out, None)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="What score wrote.")],
    station: Annotated[list[str] | None, typer.Option(help="Names of stations: print the words that stand for them in rows.")] = None,
) -> None:
    """Print how many cases were scored, refused and failed, why, and what was left out."""
    from models.errors import UnusableInput
    from training.archive.dicom import coded
    from training.archive.scored import names_of, read_about

    try:
        about = read_about(folder)
        for name in station or ():
            out_console.print(f"{name}: {coded('station', name, names_of(folder))}", markup=False, highlight=False)
    except UnusableInput as error:
        err_console.print(str(error), markup=False, highlight=False)
        raise typer.Exit(EXIT_UNUSABLE) from None
    out_console.print(f"{about['release']}: {about['cases']:,} cases of {about['persons']:,} people", highlight=False, soft_wrap=True)
    table = Table("", "cases", "reason")
    table.add_row("scored", f"{about['scored']:,}", "")
    for status in ("refused", "failed"):
        for place, (reason, count) in enumerate(sorted(about["reasons"][status].items(), key=lambda one: -one[1])):
            table.add_row(status if not place else "", f"{count:,}", reason)
    for place, (reason, count) in enumerate(about["left_out"].items()):
        table.add_row("left out" if not place else "", f"{count:,}", reason)
    out_console.print(table)
    out_console.print(f"rows: {folder / 'rows.jsonl'} (the key of their hashes is in {folder / 'private'})", highlight=False,
                      soft_wrap=True)


def find_release(name: str, shelf: Path) -> Path:
    """Return a release folder by path, id or name (its highest version). Raises UnusableInput when there is none."""
    from models.errors import UnusableInput
    from models.manifest import read_manifest
    from models.shelf import release_folders

    for path in (Path(name), shelf / name):
        if (path / "manifest.json").is_file():
            return path
    named = [one for one in release_folders(shelf) if (one / "manifest.json").is_file() and read_manifest(one).name == name]
    if not named:
        raise UnusableInput(f"RELEASE must be a release folder, or an id or name of {shelf}, found no {name!r}.", code="no_release")
    return max(named, key=lambda one: tuple(map(int, read_manifest(one).version.split("."))))


def _pairs(told: list[str] | None) -> tuple[tuple[str, str], ...]:
    pairs = tuple((one.partition("=")[0], one.partition("=")[2]) for one in told or ())
    if not all(left and mark for (left, _), mark in zip(pairs, ("=" in one for one in told or ()), strict=True)):
        raise typer.BadParameter("--where and --column take NAME=VALUE.")
    return pairs


def _day(told: str) -> str:
    from datetime import date

    try:
        return date.fromisoformat(told).isoformat() if told else ""
    except ValueError as error:
        raise typer.BadParameter("--since and --until take a day as YYYY-MM-DD.") from error


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("[green]{task.fields[scored]} scored[/green] "
        "[yellow]{task.fields[refused]} refused[/yellow] [red]{task.fields[failed]} failed[/red]"),
        console=err_console, transient=True, disable=not err_console.is_terminal)


def _watch(bar: Progress) -> Watch:
    from training.archive.score import Watch

    counts = {"scored": 0, "refused": 0, "failed": 0}
    task = bar.add_task("looking for cases", total=None, scored=0, refused=0, failed=0)

    def outcome(status: str, _: str) -> None:
        counts[status] += 1
        bar.update(task, advance=1, scored=counts["scored"], refused=counts["refused"], failed=counts["failed"])

    return Watch(
        listed=lambda number: bar.update(task, completed=number),
        total=lambda total, _: bar.update(task, description="scoring", total=total, completed=0),
        outcome=outcome)


if __name__ == "__main__":
    app()
