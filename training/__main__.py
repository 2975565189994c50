"""The command line of the training room: fit | evaluate | release | adopt | archive | commission | refit | fairness | …"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training import recipe as recipes
from training.adopt.commands import app as adopt
from training.adopt_bundle.commands import bundle
from training.archive.commands import app as archive
from training.commission.commands import commission
from training.reference import reference
from training.refit.commands import refit
from training.technical.commands import fairness, technical_file

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich",
                  help="Make models: fit a recipe on real data, measure it, release it. Recipes: " + ", ".join(recipes.names()) + ".")
console = Console()

ROOT = Path(__file__).resolve().parents[1]
Name = Annotated[str, typer.Argument(help="A recipe: " + ", ".join(recipes.names()) + ".")]
Data = Annotated[Path, typer.Option(help="Folder with the data sets.", envvar="DIAPHANE_DATA")]
DATA = ROOT.parent / "shared" / "data"
RUNS = ROOT / "runs"
SHELF = ROOT / "models" / "released"


def _recipe(name: str) -> recipes.Recipe:
    try:
        return recipes.read(name)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from error


def _data(root: Path) -> Path:
    if not root.is_dir():
        raise typer.BadParameter(f"No data at {root}. Set DIAPHANE_DATA or --data to the folder with the data sets.")
    return root


@app.command()
def fit(
    name: Name,
    data: Data = DATA,
    quick: Annotated[bool, typer.Option("--quick", help="A toy in under a minute: few cases, one epoch a stage.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all cores.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the checkpoint; runs/RECIPE by default.")] = None,
    track: Annotated[bool, typer.Option("--track", help="Networks: keep settings and every epoch in MLflow (out/mlruns).")] = False,
) -> None:
    """Fit a network or a risk model. Start it again after a stop: it goes on after the last whole epoch.

    On several GPUs or machines, the same recipe: torchrun --nproc-per-node 4 -m training fit RECIPE
    """
    import torch  # takes seconds to import; --help should not wait

    from training.several import is_first
    from training.tasks import TASKS

    chosen = _recipe(name)
    folder = out or RUNS / (f"{name}-quick" if quick else name)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    if chosen.task in ("dose", "department") and not is_first():
        return  # fitted in seconds by one of the processes
    network = TASKS[chosen.task].manifest in ("image_classification", "volume_segmentation")
    checkpoint = TASKS[chosen.task].fit(chosen, folder, _data(data), quick=quick, **({"track": track} if network else {}))
    if is_first():
        console.print(f"checkpoint: {checkpoint}\nnext: python -m training release {name}")


@app.command()
def evaluate(
    name: Name,
    data: Data = DATA,
    version: Annotated[str, typer.Option(help="Version of the release; the recipe's by default.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json and report.html; out/RELEASE by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few cases and few bootstrap draws.")] = False,
) -> None:
    """Score the test split through the released folder; write evaluation.json and a self-contained report.html.

    The report shows images of the data set: keep it where the data may be kept.
    """
    from training.evaluate import evaluate as run
    from training.evaluate import summary, write_evaluation

    chosen = _recipe(name)
    folder = SHELF / f"{name}-{version or chosen.version}"
    target = out or ROOT / "out" / folder.name
    target.mkdir(parents=True, exist_ok=True)
    figures = run(folder, _data(data), quick=quick, report=target / "report.html")
    write_evaluation(target / "evaluation.json", figures)
    console.print(summary(figures))
    console.print(f"written: {target / 'evaluation.json'} and {target / 'report.html'}")


@app.command()
def release(
    name: Name,
    data: Data = DATA,
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint; runs/RECIPE/checkpoint.* by default.")] = None,
    shelf: Annotated[Path, typer.Option(help="Folder of releases.")] = SHELF,
    replace: Annotated[bool, typer.Option("--replace", help="Remove an unpublished release of the same version first.")] = False,
) -> None:
    """Export, evaluate, write the card and the hashes; the folder appears only when it is whole and sound."""
    from training.release import release as make

    chosen = _recipe(name)
    found = checkpoint or next(iter(sorted((RUNS / name).glob("checkpoint.*"))), None)
    if found is None:
        raise typer.BadParameter(f"No checkpoint in {RUNS / name}. Run: python -m training fit {name}")
    target = shelf / f"{name}-{chosen.version}"
    if replace and target.exists():
        shutil.rmtree(target)
    make(chosen, found, _data(data), shelf, report=ROOT / "out" / target.name / "report.html")


@app.command()
def recalibrate(
    release: Annotated[str, typer.Argument(help="A released additive model, for example icu_mortality-1.0.0.")],
    data_set: Annotated[str, typer.Option(help="People it never saw: support2 or eicu_demo.")] = "eicu_demo",
    data: Data = DATA,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; out/external by default.")] = None,
    method: Annotated[str, typer.Option(help="intercept, or slope_and_intercept: which line --release takes.")] = "intercept",
    make: Annotated[bool, typer.Option("--release", help="Write RELEASE with the next patch version and the new line.")] = False,
    shelf: Annotated[Path, typer.Option(help="Folder that --release writes to.")] = SHELF,
) -> None:
    """See how a released model does elsewhere, and fit its line anew for that place.

    A model keeps its order of patients when it moves, but seldom its level: another case mix makes every probability too
    high or too low. [bold]Intercept[/bold]: shift all logits so that the mean is right; a hundred events are enough.
    [bold]Slope and intercept[/bold]: also stretch or squeeze them, when high risks are too high and low ones too low; ask
    for a few hundred events. Both are fitted on one part of the data and measured on another, beside the model as it is
    and what was published with the data.

    If the AUROC itself is poor, no line mends it: the model does not fit the place. Look at it first.

    --release writes a new release folder: every table times the slope, so the parts of a score still sum to it exactly.
    Its card and figures are of the new place. The old release is left alone.
    """
    from training.recalibrate import DATA_SETS, write_page
    from training.recalibrate import recalibrate as measure

    folder = SHELF / release
    if data_set not in DATA_SETS or not (folder / "manifest.json").is_file():
        raise typer.BadParameter(f"Needs a release of {SHELF} and one of {', '.join(DATA_SETS)}, found {release!r}, {data_set!r}.")
    if method not in ("intercept", "slope_and_intercept"):
        raise typer.BadParameter(f"--method must be intercept or slope_and_intercept, found {method!r}.")
    from models.model import Model
    from training.evaluate import plain, write_evaluation

    report = plain(measure(Model(folder), data_set, _data(data)))
    target = out or ROOT / "out" / "external"
    target.mkdir(parents=True, exist_ok=True)
    write_evaluation(target / f"{release}-{data_set}.json", report)
    write_page(target / f"{release}-{data_set}.html", report)
    for row in report["rows"]:
        figures = {name: row["figures"][name]["value"] for name in ("auroc", "calibration_slope", "calibration_in_the_large")}
        console.print(f"{row['name']}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    console.print(f"written: {target / f'{release}-{data_set}.json'} and .html")
    if make:
        from training.recalibrated import release_recalibrated

        line = report["lines"][method]
        console.print(f"released {release_recalibrated(folder, data_set, line, _data(data), shelf)}")


@app.command()
def gate(
    name: Name,
    backend: Annotated[str, typer.Option(help="openvino, cuda or tensorrt.")] = "openvino",
    precision: Annotated[str, typer.Option(help="bf16, fp16 or int8.")] = "bf16",
    data: Data = DATA,
) -> None:
    """Measure whether a faster precision may serve, on the validation split; print the entry for the next manifest.

    Run it on a machine that has the precision in hardware (bf16: AMX or AVX512-BF16), else it says little.
    """
    from training.data import chest_xray
    from training.gate import gate as run

    chosen = _recipe(name)
    if chosen.task != "radiograph":
        raise typer.BadParameter("The gate is for classifiers of radiographs; other models serve in fp32.")
    pixels = chest_xray.prepare(chest_xray.load(_data(data), "val"), chosen.steps)[:, None].astype("float32")
    entry, figures, causes = run(SHELF / f"{name}-{chosen.version}", pixels, backend, precision)
    console.print(figures)
    console.print("passed; for manifest.precisions of the next version:" if entry else f"not passed: {'; '.join(causes)}")
    if entry:
        console.print_json(entry.model_dump_json())


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="JSON file to write.")] = ROOT / "out" / "bench.json",
    only: Annotated[list[str] | None, typer.Option(help="Run only these parts (repeat the option).")] = None,
    requests: Annotated[int, typer.Option(help="Requests of the memory test of the service.")] = 5000,
) -> None:
    """Print speed as ratios from one interleaved run, and write JSON. No absolute time is promised."""
    from training.bench import run

    run(out, only=only, requests=requests)


@app.command()
def samples(
    data: Data = DATA,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = ROOT / "data-samples",
    seed: Annotated[int, typer.Option(help="The same seed makes the same bytes.")] = 1,
) -> None:
    """Make data-samples/ again: images from a generative model of the training split, bundles, one file per refusal."""
    from training.samples.make import make
    from training.samples.pictures import draw_pictures
    from training.samples.sheet import contact_sheet

    make(_data(data), out, seed)
    for picture in draw_pictures(out, SHELF):
        console.print(f"drawn: {picture}")
    console.print(f"to look at: {contact_sheet(out, ROOT / 'out' / 'samples.png')}")


@app.command()
def readme() -> None:
    """Write the tables of the README from the releases' evaluation.json and the committed bench results."""
    from training.readme import README, fill

    fill()
    console.print(f"written: {README}")


adopt.command()(bundle)
app.add_typer(adopt, name="adopt")
app.add_typer(archive, name="archive")
for command in (commission, reference, refit, fairness):
    app.command()(command)
app.command(name="technical-file")(technical_file)


if __name__ == "__main__":
    app()
