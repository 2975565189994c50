"""python -m training refit: a release learns from the verdicts of its hospital, or is left as it is with the reasons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from training.refit.refit import Refitted

EXIT_UNUSABLE, EXIT_REFUSED = 2, 3
ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / "models" / "released"
app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_show_locals=False)
console = Console()


@app.command()
def refit(
    release: Annotated[str, typer.Argument(help="A release of --shelf, for example icu_mortality-1.0.0, or its folder.")],
    from_verdicts: Annotated[Path, typer.Option(help="A set: python -m service rights dataset FOLDER --with-verdicts.")],
    checkpoint: Annotated[Path | None, typer.Option(help="The network's checkpoint: fine-tune all of it. Needs --data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for refit.json and refit.html; out/RELEASE/refit by default.")] = None,
    shelf: Annotated[Path, typer.Option(help="Folder of releases: the new one is written here when the gate is passed.")] = SHELF,
    margin: Annotated[float, typer.Option(help="AUROC that may be lost at worst, at the lower end of the interval.")] = 0.05,
    keep_anyway: Annotated[bool, typer.Option("--keep-anyway", help="Keep a refused one in --out, to look at. It never reaches "
                                                                    "the shelf.")] = False,
    data: Annotated[Path, typer.Option(help="Folder with the data sets, for --checkpoint.", envvar="DIAPHANE_DATA")] =
        ROOT.parent / "shared" / "data",
    track: Annotated[bool, typer.Option("--track", help="Write parameters and figures to MLflow (out/mlruns by default).")] = False,
) -> None:
    """Teach a release what readers of this hospital said, and write the next version only when it is better here.

    [bold]What is learnt from.[/bold] Agreeing confirms a finding, correcting says what is there; rejections are counted by their
    reason and teach nothing. People of the train and val side are learnt from. People of the test side never are: old and new
    are compared on them, once.

    [bold]What may move.[/bold] Of a radiograph model the head under its maps, of an additive risk the slope of each table and the
    level. All of it is drawn to the release as it is, as hard as cross-validation over people asks for, and verdicts may be
    wrong. Maps and tables keep summing to the score exactly. With --checkpoint the whole network is fine-tuned first.

    [bold]The gate.[/bold] Enough verdicts; a release that does here what its card says; not worse on the sealed test in ranking,
    log loss, calibration, sensitivity and every subgroup; better beyond chance somewhere. Each line says what was required and
    what was seen. Exit code 3 when it is refused: then the shelf is left alone.

    Next: python -m service release shadow NAME-VERSION
    """
    from models.errors import BrokenModel, UnusableInput
    from training.refit.gate import Bars
    from training.refit.refit import refit as run
    from training.tracking import tracked

    folder = Path(release) if (Path(release) / "manifest.json").is_file() else shelf / release
    if not (folder / "manifest.json").is_file():
        folder = SHELF / release
    target = out or ROOT / "out" / folder.name / "refit"
    try:
        with _progress() as progress, tracked("refit", folder.name, wanted=track) as run_of:
            base = None
            if checkpoint is not None:
                from training.refit.finetune import finetuned

                base = finetuned(folder, from_verdicts, checkpoint, data, target / "tuned")
            done = run(folder, from_verdicts, target, shelf, base=base, bars=Bars(margin=margin), keep_anyway=keep_anyway,
                       begin=_begin(progress))
            run_of.params({"release": done.old, "candidate": done.new, "verdicts_sha256": done.report["verdicts"]["sha256"],
                           "fits": {name: one["fit"] for name, one in done.report["outputs"].items()}, "passed": done.passed})
            run_of.figures({f"{name}.{figure}.{side}": found[side] for name, one in done.report["outputs"].items()
                            for figure, found in one["test"]["figures"].items() for side in ("first", "second", "difference")})
            run_of.file(target / "refit.json")
    except (BrokenModel, UnusableInput, FileExistsError) as error:
        console.print(f"[red]{error}[/red]", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    _tell(done, target)
    if not done.passed:
        raise typer.Exit(EXIT_REFUSED)


def _tell(done: Refitted, target: Path) -> None:
    table = Table("what", "required", "seen", "", title=f"{done.old} → {done.new}", title_justify="left")
    for one in done.gates:
        table.add_row(one.name, one.required, one.seen, "[green]met[/green]" if one.met else "[red]not met[/red]")
    console.print(table)
    for why in (one.why for one in done.gates if not one.met and one.why):
        console.print(f"· {why}", highlight=False, soft_wrap=True)
    console.print(f"written: {target / 'refit.json'} and {target / 'refit.html'}", soft_wrap=True)
    if done.passed:
        console.print(f"released {done.release}\nproposed: python -m service release shadow {done.new}", soft_wrap=True)
    else:
        console.print("[red]Refused by the gate:[/red] the release stays as it is." +
                      (f" Kept to look at: {done.release}" if done.release else ""), soft_wrap=True)


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
                    TimeRemainingColumn(), console=console, transient=True)


def _begin(progress: Progress) -> Callable[[str, int], Callable[[], None]]:
    def begin(what: str, count: int) -> Callable[[], None]:
        bar = progress.add_task(what, total=count)
        return lambda: progress.advance(bar)

    return begin


if __name__ == "__main__":
    app()
