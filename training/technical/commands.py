"""python -m training fairness | technical-file: prove that a release treats groups alike, and write the file others ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")
console = Console()

ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / "models" / "released"
Data = Annotated[Path, typer.Option(help="Folder with the data sets.", envvar="DIAPHANE_DATA")]
DATA = ROOT.parent / "shared" / "data"


@app.command()
def fairness(
    releases: Annotated[list[str], typer.Argument(help="Releases, for example icu_mortality-1.0.0; or all.")],
    data: Data = DATA,
    out: Annotated[Path, typer.Option(help="Folder for RELEASE.json and RELEASE.html.")] = ROOT / "out" / "fairness",
    shelf: Annotated[Path, typer.Option(help="Folder of releases.")] = SHELF,
    resamples: Annotated[int, typer.Option(help="Resamples of the patients.")] = 1000,
) -> None:
    """Measure how far each subgroup lies behind everybody else, and whether prediction sets cover every group.

    The release scores its own test split again. Each group's AUROC, sensitivity, specificity and calibration in the large
    is set against that of everybody else, with an interval over patients, and held to the tolerance of
    training/fairness.toml or of the recipe's [bold]\\[fairness][/bold] table. A [bold]gap[/bold] needs the whole interval
    beyond the tolerance; [bold]undecided[/bold] means that more cases are needed; [bold]too few[/bold] that nothing can be
    said. `python -m training release` refuses a release with a gap unless the recipe says who answers for it and why:

        \\[\\[fairness.accepted_gaps]]
        output = "critical"
        by = "age"
        group = "80-129"
        figure = "specificity"
        who = "…"
        why = "…"

    [bold]Prediction sets[/bold] hold the truth in 9 of 10 cases of each class where people are like those they were
    calibrated on; here it is counted where that fails.

    Without the data sets the gaps are worked out of evaluation.json as far as it goes, and said to be approximate.
    Exits with 1 when a gap would stop the release.
    """
    from training.technical.fairness_page import coverage_table, page, table

    names = sorted(path.parent.name for path in shelf.glob("*/manifest.json")) if releases == ["all"] else releases
    stopped = False
    for name in names:
        folder = shelf / name
        if not (folder / "manifest.json").is_file():
            raise typer.BadParameter(f"{name} is no release of {shelf.name}; there are: "
                                     f"{', '.join(sorted(path.parent.name for path in shelf.glob('*/manifest.json')))}.")
        proof = _proof(folder, data, resamples)
        from models.manifest import read_manifest

        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.json").write_text(json.dumps(proof, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        (out / f"{name}.html").write_text(page(read_manifest(folder), proof), encoding="utf-8")
        if proof["gaps"]:
            console.print(table(proof))
        if proof["prediction_sets"]:
            console.print(coverage_table(proof))
        for line in proof["missing"]:
            console.print(f"[yellow]missing[/] {line}")
        for line in proof["blocking"]:
            console.print(f"[red]stops a release[/] {line}")
        stopped = stopped or bool(proof["blocking"])
        console.print(f"written: {out / f'{name}.json'} and .html")
    raise typer.Exit(1 if stopped else 0)


@app.command(name="technical-file")
def technical_file(
    releases: Annotated[list[str] | None, typer.Argument(help="Releases; all of the shelf by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = ROOT / "out" / "technical-file",
    results: Annotated[Path, typer.Option(help="Folder with fairness/ and commission/ of earlier commands.")] = ROOT / "out",
    shelf: Annotated[Path, typer.Option(help="Folder of releases.")] = SHELF,
) -> None:
    """Write the technical file: index.html and a page for each release, out of manifests, evaluations, code and tests.

    Intended use, data sheets, figures with intervals, gaps and coverage by subgroup, explanations' audits; failure modes
    (a skeleton for ISO 14971), requirements traced to code and tests (IEC 62304), packages with licences and an SBOM,
    model cards in the fields of CHAI and HTI-1, TRIPOD+AI and CLAIM checklists, what is logged against Art. 12 of the EU AI
    Act, pointers to French law. [bold]What is missing is marked as missing[/bold], counted, and listed on the index.

    Run `python -m training fairness all` first, and `python -m training commission` where there is an archive: their
    results are taken up when they are of the same graph. It is no conformity assessment, and says so.
    """
    from training.technical.file import write

    names = releases or sorted(path.parent.name for path in shelf.glob("*/manifest.json"))
    for name in names:
        if not (shelf / name / "manifest.json").is_file():
            raise typer.BadParameter(f"{name} is no release of {shelf.name}.")
    missing = write(ROOT, [shelf / name for name in names], results, out)
    console.print(f"{len(names)} releases; {len(missing)} things are missing and listed on the index\nwritten: {out / 'index.html'}")


def _proof(folder: Path, data: Path, resamples: int) -> dict[str, object]:
    from rich.console import Console as Errors

    from training.fairness_published import proof_published
    from training.proof import proof_of

    if not data.is_dir():
        console.print(f"[yellow]no data at {data}: from evaluation.json, approximately[/]")
        return proof_published(folder)
    with Errors(stderr=True).status(folder.name) as status:
        try:
            return proof_of(folder, data, resamples=resamples, say=lambda text: status.update(f"{folder.name}: {text} …"))
        except FileNotFoundError:
            console.print(f"[yellow]{folder.name}: no recipe or no data of its own: from evaluation.json, approximately[/]")
            return proof_published(folder)
