"""python -m training commission: is this release good here? Score, compare with the truth, judge, propose, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.commission.words import LANGUAGES, Language

if TYPE_CHECKING:
    from training.commission.found import Found

EXIT_UNUSABLE, EXIT_BROKEN = 2, 3
QUICK = 100  # resamples
ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / "models" / "released"
DATA = ROOT.parent / "shared" / "data"
COLOURS = {"go": "green", "go_with_conditions": "yellow", "no_go": "red"}
out_console, err_console = Console(), Console(stderr=True)


def commission(
    release: Annotated[str, typer.Argument(help="A release folder, an id such as name-1.0.0, or a name.")],
    archive: Annotated[str, typer.Option(help="What to score: a folder, a zip, https://…/dicom-web, https://…/fhir or data:NAME; "
                                              "or a folder that training archive score wrote.")],
    truth: Annotated[str, typer.Option(help="A .csv (an id column and a column an output), a .toml that says how to read codes, "
                                            "reports or any table, labels.jsonl of verdicts, or data:NAME.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the finding and the reports; out/commission/RELEASE by default.")
                                                  ] = None,
    site: Annotated[str, typer.Option(help="Name of the site, for the heading of the report.")] = "",
    require: Annotated[Path | None, typer.Option(help="Requirements (TOML) that replace the defaults of "
                                                      "training/commission/requirements.toml, whole or in part.")] = None,
    language: Annotated[str, typer.Option(help="Of the finding and the reports: en or fr.")] = "en",
    make: Annotated[bool, typer.Option("--release", help="Also write the local release: the next patch version, with the proposed "
                                                         "threshold and line in it, and its own finding.")] = False,
    shelf: Annotated[Path, typer.Option(help="Folder of releases; --release writes there.")] = SHELF,
    attributes: Annotated[Path | None, typer.Option(help="Scoring: CSV with what the files do not say.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Scoring: COLUMN=VALUE a line of that table must have.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Scoring: columns of that table to compare groups by too.")] = None,
    since: Annotated[str, typer.Option(help="Scoring: first day of studies or stays, YYYY-MM-DD.")] = "",
    until: Annotated[str, typer.Option(help="Scoring: last day.")] = "",
    cohort: Annotated[str, typer.Option(help="Scoring: of a FHIR server, the search of the stays.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Scoring: only so many cases, drawn at random; 0 takes all.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Scoring: processes.")] = 1,
    data: Annotated[Path, typer.Option(help="Folder with the data sets, for data:NAME.", envvar="DIAPHANE_DATA")] = DATA,
    quick: Annotated[bool, typer.Option("--quick", help="Few resamples: to see that everything runs.")] = False,
) -> None:
    """Show whether a release is good at this hospital, before it may go live.

    [bold]What it does.[/bold]
    Scores the archive as the release would serve here; after a stop the same
    command goes on. Joins the local truth by keyed hashes. Computes sensitivity,
    specificity, predictive values, ranking and calibration with intervals, by
    group too, and counts what was refused, what failed and what that costs.
    Judges it by requirements that you may replace, and says whether the release
    may go live here, may with conditions, or must not, with the reasons.

    [bold]What it proposes.[/bold]
    A threshold, tuned on half of the persons and shown on the other half, and a
    calibration line, measured on persons it was not fitted on. --release writes
    the next patch version with both inside, beside the old one.

    [bold]Truth.[/bold]
    A table with an id column (study, sop, accession, patient or file) and a
    column of 0 and 1 for each output is enough. A .toml says the rest:

      kind = "codes"          # or table, reports, verdicts
      file = "diagnoses.csv"
      id = "accession"
      \\[outputs.pneumonia]
      codes = \\["J12", "J13", "J14", "J15", "J18"]
      prevalence = 0.04       # in practice, only where ill people were sought out

    Identifiers are hashed as they are read: nothing that is written names anybody.

      training commission chest_xray_pediatric --archive /mnt/export --truth labels.csv
      training commission icu_mortality --archive data:eicu_demo --truth data:eicu_demo
    """
    from models.errors import BrokenModel, DiaphaneError
    from training.archive.commands import find_release

    if language not in LANGUAGES:
        raise typer.BadParameter(f"--language must be one of {', '.join(LANGUAGES)}, found {language!r}.")
    tongue: Language = "fr" if language == "fr" else "en"
    try:
        folder = find_release(release, shelf)
        target = out or ROOT / "out" / "commission" / folder.name
        scored = _scored(folder, archive, target, attributes=attributes, where=where, keep=keep, since=since, until=until,
                         cohort=cohort,
                         limit=limit, workers=workers, shelf=shelf, data=data)
        found = _found(folder, scored, truth, require, data, quick=quick)
        decision = _write(found, target, tongue, site)
        if make:
            decision, folder, target = _make(folder, found, shelf, target.parent, tongue, site, quick=quick)
    except (DiaphaneError, FileExistsError) as error:
        err_console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_BROKEN if isinstance(error, BrokenModel) else EXIT_UNUSABLE) from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    out_console.print(f"next: read the report, then python -m service release sign {folder.name} --report "
                      f"{target}" if decision != "no_go"
                      else "next: do not sign. Read the reasons; a release of this kind may be made for other people.",
                           soft_wrap=True)


def _scored(folder: Path, archive: str, target: Path, **options: object) -> Path:
    """Return the folder of scored rows: the one that was named, or a new one below ``target``."""
    from training.archive.commands import score
    from training.archive.scored import ABOUT

    if (Path(archive) / ABOUT).is_file():
        return Path(archive)
    score(str(folder), archive=archive, out=target / "archive", **options)  # type: ignore[arg-type]
    return target / "archive"


def _found(folder: Path, scored: Path, truth: str, require: Path | None, data: Path, *, quick: bool) -> Found:
    """Read rows and truth and compute. Raises UnusableInput when the rows are of another release."""
    from models.check import check
    from models.errors import BrokenModel, UnusableInput
    from models.manifest import read_manifest, sha256_of
    from training import bootstrap
    from training.archive.scored import names_of, read_about, read_rows
    from training.commission.found import find
    from training.commission.requirements import read_requirements
    from training.commission.truth_read import read_truth

    manifest, sha256 = read_manifest(folder), sha256_of(folder / "manifest.json")
    rows, about = read_rows(scored), read_about(scored)
    others = {row.model for row in rows} - {manifest.id}
    if not rows or others or about.get("manifest_sha256", sha256) != sha256:
        raise UnusableInput(f"{scored.name}: rows must be of {manifest.id} as it is now, found {'none' if not rows else 'others'}. "
                            f"Score the "
                            "archive again into another folder.", code="rows_of_another_release")
    names = [output.name for output in manifest.outputs if output.kind == "probability"]
    if not names:
        raise UnusableInput(f"{manifest.id} gives no probability: commissioning is for yes/no outcomes. Judge volumes and doses by "
                            f"hand.",
                            code="no_probability")
    known = read_truth(truth, rows, names_of(scored), names, data)
    try:
        check(folder)
        sound = ""
    except BrokenModel as error:
        sound = str(error)
    with err_console.status("") as status:
        return find(manifest, (sha256, manifest.files["model.onnx"]), rows, about, known, read_requirements(manifest.task, require),
                    sound=sound, resamples=QUICK if quick else bootstrap.RESAMPLES,
                    say=lambda text: status.update(f"figures of {text} …"))


def _write(found: Found, target: Path, language: Language, site: str) -> str:
    """Write commissioning.json, report.html and report.pdf; print the decision and its reasons, and return it."""
    from models.commissioned import write_commissioning
    from training.commission.document import DECIDED, document
    from training.commission.page import write_page
    from training.commission.pdf import write_pdf
    from training.commission.told import commissioning_of
    from training.commission.words import say

    told = commissioning_of(found, language)
    target.mkdir(parents=True, exist_ok=True)
    write_commissioning(target / "commissioning.json", told)
    laid_out = document(found, told, language, site)
    write_page(target / "report.html", laid_out)
    write_pdf(target / "report.pdf", laid_out)
    table = Table(title=f"{found.manifest.id}: "
                        f"[{COLOURS[told.decision]}]{say(language, DECIDED[told.decision])}[/]", title_justify="left",
                  show_header=False)
    for reason in told.reasons:
        table.add_row(reason)
    out_console.print(table)
    for one in (*told.thresholds, *told.lines):
        out_console.print(one.reason if hasattr(one, "reason") else one.said, markup=False, highlight=False)
    out_console.print(f"written: {target / 'commissioning.json'}, report.html, report.pdf", soft_wrap=True, highlight=False)
    return told.decision


def _make(
    folder: Path, found: Found, shelf: Path, around: Path, language: Language, site: str, *, quick: bool
) -> tuple[str, Path, Path]:
    """Write the local release and its own finding, beside the other; return its decision, its folder and its finding's."""
    from training import bootstrap
    from training.commission.local_release import release_local

    made, here = release_local(folder, found, shelf, site=site, resamples=QUICK if quick else bootstrap.RESAMPLES)
    out_console.print(f"released {made}", soft_wrap=True, highlight=False)
    return _write(here, around / made.name, language, site), made, around / made.name


app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_show_locals=False)
app.command()(commission)
