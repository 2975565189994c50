"""Run the bench of the PACS side from the command line: both parts, a progress bar, a table, JSON and Markdown."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from service.bench import ingest, path
from service.bench.machine import describe_machine
from service.bench.report import Row, ingest_rows, path_rows, save, show
from service.bench.servers import NotMeasurable
from service.orthanc import NoOrthanc

QUICK_S = 6.0  # of each part: enough to see that it works, not to believe its figures
INGEST_SHARE = 0.2
PARTS = ("ingest", "path")


def run(
    *, seconds: float, quick: bool, parts: str, studies_per_h: float, images_per_study: int, side_px: int, workers: int,
    out: Path, console: Console | None = None,
) -> int:
    """Do the bench; 0 when every bar is reached, 1 when one is not, 2 when a program is missing.

    The full path takes ``seconds`` and ingest a fifth of it. ``quick`` is a trial of a minute whose times are not judged.
    """
    console = console or Console()
    machine, rows = describe_machine(), list[Row]()
    chosen = [one for one in PARTS if parts in (one, "all")]
    if not chosen:
        console.print(f"--part must be {', '.join(PARTS)} or all.")
        return 2
    out = out.resolve()  # the servers run in folders of their own
    out.mkdir(parents=True, exist_ok=True)
    machine["others_share"] = {}
    try:
        with tempfile.TemporaryDirectory(dir=out, prefix="bench-") as name:
            if "ingest" in chosen:
                with _bar("CT images into each receiver in turns", console) as progress:
                    lasting_s, images = (QUICK_S, 10) if quick else (INGEST_SHARE * seconds, 60)
                    rates, machine["others_share"]["ingest"] = ingest.measure(
                        Path(name) / "ingest", lasting_s, images=images, progress=progress)
                rows += ingest_rows(rates, timed=not quick)
            if "path" in chosen:
                with _bar(f"{studies_per_h:.0f} studies an hour, to Orthanc and back", console) as progress:
                    found = path.measure(
                        Path(name) / "path", QUICK_S if quick else seconds, studies_per_h=studies_per_h,
                        images_per_study=images_per_study, side_px=side_px, workers=workers, progress=progress)
                machine["others_share"]["full path"] = found.others_share
                rows += path_rows(found, studies_per_h=studies_per_h, timed=not quick)
    except (NotMeasurable, NoOrthanc) as error:
        console.print(f"[red]{error}[/]")
        return 2
    show(rows, machine, console)
    save(rows, machine, out / "bench-pacs.json")
    console.print(f"Written to {out / 'bench-pacs.json'} and .md")
    return int(any(row.reached is False for row in rows))


@contextmanager
def _bar(text: str, console: Console) -> Iterator[Callable[[float], None]]:
    """Show a bar with the time that passed and the time left; give what moves it, from 0 to 1."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(text, total=1.0)
        yield lambda share: shown.update(task, completed=share)
