"""The commands of the house: node, listen, work, deliver, watch, send, route, status, retry, prune, audit, rights, …"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from models.errors import BrokenModel
from service import logs
from service.settings import Settings, SettingsError, read_settings
from service.site import Site, read_site

if TYPE_CHECKING:
    from service.store.store import Store

Folder = Annotated[Path | None, typer.Option("--store", help="Folder of the store; default diaphane-data.")]
SiteFile = Annotated[Path | None, typer.Option("--site", help="TOML file: peers, targets, rules. data-samples/site.toml is one.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (node, listen, work, deliver, watch, send, route, status, retry, prune, login_link, conformance, demo_pacs,
                    bench_pacs, bench_hooks, bench_worklist):
        app.command()(command)
    from service.audit.commands import app as audit
    from service.learn.commands import app as learn
    from service.monitor.commands import app as monitor
    from service.releases.commands import app as releases
    from service.rights.commands import app as rights

    app.add_typer(audit, name="audit")
    app.add_typer(rights, name="rights")
    app.add_typer(releases, name="release")
    app.add_typer(monitor, name="monitor")
    app.add_typer(learn, name="learn")


def node(
    *,
    port: Annotated[int | None, typer.Option(help="HTTP port; default 3000.")] = None,
    dicom_port: Annotated[int | None, typer.Option(help="DICOM port; default 11112.")] = None,
    site: SiteFile = None,
    store: Folder = None,
    scoring: Annotated[int, typer.Option("--workers", min=1, max=64, help="Scoring processes.")] = 1,
    review: Annotated[bool | None, typer.Option("--review/--no-review", help="The clinician's page too: everybody logs in.")] = None,
) -> None:
    """Run everything: HTTP with DICOMweb, the DICOM receiver, workers and the deliverer. What dies is started again."""
    from service import node as nodes
    from service.lives import stop_event

    settings, _ = _ready(port=port, dicom_port=dicom_port, site=site, store=store, dicomweb=True, ehr=True, review=review)
    nodes.run(settings, nodes.commands(scoring), stop_event())


def listen(
    *,
    dicom_host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    dicom_port: Annotated[int | None, typer.Option(help="TCP port; default 11112; 0 takes a free one.")] = None,
    site: SiteFile = None,
    store: Folder = None,
) -> None:
    """Receive images by C-STORE and answer C-ECHO. An image is acknowledged when its bytes and its row are on disk."""
    from service.dicom.listen import serve_dimse

    settings, hospital = _ready(dicom_host=dicom_host, dicom_port=dicom_port, site=site, store=store)
    serve_dimse(settings, hospital, _open(settings))


def work(
    *,
    provider: Annotated[str | None, typer.Option(help="auto, cpu, cuda, tensorrt or openvino.")] = None,
    site: SiteFile = None,
    store: Folder = None,
) -> None:
    """Score what has been received, one case at a time. Start as many as there are cores or GPUs to use."""
    from service.lives import name_of_process, repeat, stop_event
    from service.routing import check_rules
    from service.scoring import open_shelf
    from service.worker import IDLE_S, Worker

    settings, hospital = _ready(provider=provider, site=site, store=store)
    stop = stop_event()
    try:
        shelf = open_shelf(settings)
    except BrokenModel as error:
        _fail(str(error))
    if faults := check_rules(hospital, shelf):  # a misspelt model would withhold images without a word
        _fail("\n".join(faults))
    worker = Worker(_open(settings), shelf, hospital, settings, name_of_process("work"))
    typer.echo(f"Diaphane scores with {', '.join(shelf.models) or 'no release'}")
    try:
        repeat(worker.step, stop, idle_s=IDLE_S)
    finally:
        worker.close()


def deliver(*, site: SiteFile = None, store: Folder = None) -> None:
    """Send results to the targets of the site file, again and again until they have them."""
    from service import deliver as outbound
    from service.lives import stop_event

    settings, hospital = _ready(site=site, store=store)
    if not hospital.targets:
        typer.echo("No [[targets]] in the site file: results stay here, to be fetched by DICOMweb.", err=True)
    outbound.run(_open(settings), settings, hospital, stop_event())


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder to take DICOM files and zips from.", exists=True, file_okay=False)],
    *,
    delete: Annotated[bool, typer.Option("--delete/--keep", help="Delete what was received, or move it to .done.")] = False,
    to: Annotated[str, typer.Option(help="DICOMweb root to send to instead of the store of this machine.")] = "",
    store: Folder = None,
) -> None:
    """Receive what is put in a folder, for people without a PACS."""
    from service.lives import stop_event
    from service.watch import run

    settings, _ = _ready(store=store)
    run(folder, settings, stop_event(), delete=delete, to=to)


def send(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, folders, zips, or a DICOMDIR.", exists=True)],
    *,
    to: Annotated[str, typer.Option(help="DICOMweb root, or the name of a target of the site file.")] = "http://127.0.0.1:3000/dicom-web",
    wait: Annotated[bool, typer.Option(help="Wait for the results and print them.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --wait: save the pictures and objects here.")] = None,
    site: SiteFile = None,
) -> None:
    """Send DICOM files to Diaphane, for people without a PACS."""
    from service.send import run

    settings, hospital = _ready(site=site)
    raise typer.Exit(run(paths, settings, hospital, to=to, wait=wait or out is not None, out=out))


def route(
    paths: Annotated[list[Path] | None, typer.Argument(help="DICOM files, series by series.")] = None,
    *,
    calling: Annotated[str, typer.Option(help="Route as if this application entity had sent them.")] = "",
    check_rules: Annotated[bool, typer.Option("--check-rules", help="Only read the rules of the site file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    site: SiteFile = None,
) -> None:
    """Explain which model would take the files, and why the others would not. Nothing is scored or kept."""
    from service.route_cli import route_files

    settings, hospital = _ready(site=site)
    raise typer.Exit(route_files(paths or [], settings, hospital, calling_ae=calling, check_rules=check_rules, as_json=as_json))


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    site: SiteFile = None,
    store: Folder = None,
) -> None:
    """Show what waits, what runs, what failed and why, and how far each target is behind."""
    from service.status import show

    settings, hospital = _ready(site=site, store=store)
    show(_open(settings, there=True), hospital, as_json=as_json)


def retry(
    *,
    target: Annotated[str, typer.Option(help="Only the deliveries to this target.")] = "",
    to: Annotated[str, typer.Option(help="With --target: deliver there instead, as when a target was renamed.")] = "",
    drop: Annotated[bool, typer.Option("--drop", help="With --target: give its deliveries up. The results stay here.")] = False,
    site: SiteFile = None,
    store: Folder = None,
) -> None:
    """Try everything again now that was quarantined or waits: scoring and deliveries."""
    from service.status import retry_all
    from service.store.again import drop_deliveries, move_deliveries

    settings, hospital = _ready(site=site, store=store)
    if (to or drop) and (not target or (to and drop)):
        _fail("--to and --drop say what becomes of the deliveries of one target: name it with --target, and give one of the two.")
    if to and to not in {one.name for one in hospital.targets}:
        _fail("--to must name a target of the site file. Give the file with --site.")
    opened = _open(settings, there=True)
    if to:
        typer.echo(f"{move_deliveries(opened, target, to)} deliveries go to {to} now.")
    elif drop:
        typer.echo(f"{drop_deliveries(opened, target)} deliveries were given up.")
    else:
        jobs, deliveries = retry_all(opened, target)
        typer.echo(f"{jobs} jobs and {deliveries} deliveries are tried again.")


def prune(
    days: Annotated[float, typer.Argument(help="Studies received longer ago than this, finished and delivered.", min=0)],
    *,
    store: Folder = None,
) -> None:
    """Delete old studies with their results from the store. What is unfinished, undelivered or under a legal hold stays."""
    from service.rights.retention import prune_studies
    from service.store.bulk import prune_bulk
    from service.store.hooks import forget_cards
    from service.store.messages import prune_messages

    settings, hospital = _ready(store=store)
    opened, older_than_s = _open(settings, there=True), days * 86_400
    bulk_jobs = prune_bulk(opened, older_than_s)  # first: their files go with those of the studies
    typer.echo(f"{prune_studies(opened, hospital, older_than_s)} studies were deleted; what is under a legal hold stays.")
    typer.echo(f"{bulk_jobs} bulk jobs were deleted.")
    typer.echo(f"{prune_messages(opened, older_than_s)} delivered messages were deleted.")
    with opened.session() as session:
        forget_cards(session, time.time() - older_than_s)


def login_link(*, port: Annotated[int | None, typer.Option(help="HTTP port of the service; default 3000.")] = None,
               site: SiteFile = None, store: Folder = None) -> None:
    """Print a link that logs in whoever opens it first, within ten minutes, as the person who runs this machine."""
    from service.access.links import new_link

    settings, hospital = _ready(port=port, site=site, store=store, review=True)
    opened = _open(settings, there=True)
    try:
        typer.echo(new_link(opened, settings, hospital))
    except SettingsError as error:
        _fail(str(error))


def conformance(*, site: SiteFile = None) -> None:
    """Print the DICOM Conformance Statement, made from the code and these settings, as Markdown."""
    from service.dicom.conformance import statement

    settings, hospital = _ready(site=site)
    typer.echo(statement(settings, hospital))


def demo_pacs(
    samples: Annotated[Path | None, typer.Option(help="Folder of samples with expected.json; default data-samples.")] = None,
    out: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("out/demo-pacs"),
    language: Annotated[str, typer.Option(help="en or fr: language of the results.")] = "en",
) -> None:
    """Show Orthanc, Diaphane and Orthanc again: samples go in as from a modality, results come back into the same studies."""
    from service.demo import SAMPLES
    from service.demo_pacs import run

    raise typer.Exit(run(samples or SAMPLES, out, language))


def bench_pacs(
    *,
    seconds: Annotated[float, typer.Option(help="Length of the full path's run; ingest takes a fifth of it more.", min=1)] = 600.0,
    quick: Annotated[bool, typer.Option("--quick", help="Half a minute, to see that it runs: no figures to quote.")] = False,
    part: Annotated[str, typer.Option(help="ingest, path or all.")] = "all",
    studies_per_h: Annotated[float, typer.Option(help="Radiograph studies an hour in the full path.", min=1)] = 1200.0,
    images_per_study: Annotated[int, typer.Option(help="Radiographs a study.", min=1)] = 1,
    side_px: Annotated[int, typer.Option(help="Rows and columns of a radiograph.", min=200)] = 1024,
    workers: Annotated[int, typer.Option(help="Scoring processes.", min=1)] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("out"),
) -> None:
    """Measure ingest against Orthanc, and the full path at ten times a large hospital's peak."""
    from service.bench.run import run

    raise typer.Exit(run(seconds=seconds, quick=quick, parts=part, studies_per_h=studies_per_h, images_per_study=images_per_study,
                         side_px=side_px, workers=workers, out=out))


def bench_hooks(
    *,
    seconds: Annotated[float, typer.Option(help="Length of the run.", min=1)] = 60.0,
    per_s: Annotated[float, typer.Option(help="Calls a second, sent on time even when earlier ones wait.", min=1)] = 20.0,
    processes: Annotated[int, typer.Option(help="Processes of the service.", min=1)] = 2,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("out"),
) -> None:
    """Measure CDS Hooks: signed calls at a steady rate to a service that was started for it."""
    from service.bench.hooks import run

    raise typer.Exit(run(seconds=seconds, per_s=per_s, processes=processes, out=out))


def bench_worklist(
    *,
    rows: Annotated[int, typer.Option(help="Rows of the worklist.", min=1000)] = 1_000_000,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("out"),
) -> None:
    """Measure the worklist at a million rows: pages, filters and searches, against paging by OFFSET."""
    from service.bench.worklist import run

    raise typer.Exit(run(rows=rows, out=out))


def _ready(**given: Any) -> tuple[Settings, Site]:
    """Read settings and site, set up the log, and tie this process to the one that started it."""
    from service.serve import die_with_parent

    try:
        settings = read_settings(**given)
        hospital = read_site(settings.site)
    except SettingsError as error:
        _fail(str(error))
    os.umask(0o077)  # nothing here is for other users of the machine
    logs.set_up(settings.log_level)
    die_with_parent()
    return settings, hospital


def _open(settings: Settings, *, there: bool = False) -> Store:
    """Open the store; with ``there`` only one that exists: a misspelt folder must not look like an empty store."""
    from service.store.engine import SQLITE_FILE
    from service.store.errors import StoreError
    from service.store.store import Store

    if there and not settings.database.get_secret_value() and not (settings.store / SQLITE_FILE).is_file():
        _fail("The setting store must name the folder of a store, found none there. Give --store or DIAPHANE_STORE as for the node.")
    try:
        return Store.open(settings)
    except StoreError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
