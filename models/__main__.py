"""python -m models list | describe | check | score: look at releases, and score files on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from models.check import check
from models.describe import describe, main_reason
from models.errors import BrokenModel, DiaphaneError, UnusableInput
from models.manifest import read_manifest
from models.model import Model
from models.prediction import Prediction, Result, to_json
from models.read_any import Input, read_any
from models.session import PrecisionName, Provider, SessionOptions
from models.shelf import RELEASED, read_pins, release_folders

EXIT_REFUSED, EXIT_UNUSABLE, EXIT_BROKEN = 1, 2, 3
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__)
out, err = Console(), Console(stderr=True)

FolderOption = Annotated[Path, typer.Option("--folder", help="Where the releases are.")]
ReleaseArgument = Annotated[str, typer.Argument(help="A release folder, an id such as name-1.0.0, or a name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line for scores.")]
ProviderOption = Annotated[str, typer.Option(help="auto, cpu, cuda, tensorrt or openvino.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads for one run.")]


@app.command("list")
def list_releases(folder: FolderOption = RELEASED, as_json: JsonOption = False) -> None:
    """List the releases of a folder and which version of each is active."""
    manifests = [read_manifest(path) for path in release_folders(folder)]
    pins = read_pins(folder)
    highest = {m.name: m.version for m in sorted(manifests, key=lambda m: tuple(map(int, m.version.split("."))))}
    rows = [
        {
            "id": m.id,
            "task": m.task,
            "title": m.title,
            "active": pins.get(m.name, highest[m.name]) == m.version,
            "onnx_sha256": m.files["model.onnx"],
        }
        for m in manifests
    ]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("release", "task", "title", "active")
    for row in rows:
        table.add_row(str(row["id"]), str(row["task"]), str(row["title"]), "yes" if row["active"] else "")
    out.print(table)


@app.command("describe")
def describe_release(release: ReleaseArgument, folder: FolderOption = RELEASED, as_json: JsonOption = False) -> None:
    """Print what a model takes, does, gives and when it must not be used."""
    manifest = read_manifest(_find(release, folder))
    print(manifest.model_dump_json(indent=1) if as_json else describe(manifest), end="" if not as_json else "\n")


@app.command("check")
def check_release(
    release: ReleaseArgument,
    folder: FolderOption = RELEASED,
    provider: ProviderOption = "auto",
    precision: PrecisionOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Say whether a release is sound: hashes, names, golden inputs, explanations. Exit 3 when it is not."""
    words = check(_find(release, folder), _options(provider, precision, 1))
    if as_json:
        print(json.dumps({"release": release, "sound": True, "checked": words}))
        return
    for line in words:
        out.print(f"[green]✓[/green] {line}")


@app.command("score")
def score(
    release: ReleaseArgument,
    files: Annotated[
        list[Path], typer.Argument(help="DICOM files or folders, NIfTI, PNG, JPEG, FHIR Bundles (JSON) or CSV.")
    ],
    folder: FolderOption = RELEASED,
    as_json: JsonOption = False,
    arrays: Annotated[bool, typer.Option(help="With --json: maps and masks in full.")] = False,
    provider: ProviderOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = 1,
) -> None:
    """Score files with one model. Exit 0 when all were scored, 1 when some were refused, 2 when some were unusable."""
    model = Model(_find(release, folder), _options(provider, precision, threads))
    scored: list[tuple[Path, Result | UnusableInput]] = []
    bar = Progress(
        TextColumn("scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=len(files) < 2 or not err.is_terminal,
    )
    with bar:
        for path in bar.track(files):
            scored += [(path, result) for result in _score_one(model, path)]
    if as_json:
        for path, result in scored:
            print(json.dumps({"file": str(path), **_as_json(result, arrays=arrays)}, ensure_ascii=False))
    else:
        _print_table(model, scored)
    unusable = any(isinstance(result, UnusableInput) for _, result in scored)
    refused = any(not isinstance(result, Prediction) for _, result in scored)
    raise typer.Exit(EXIT_UNUSABLE if unusable else EXIT_REFUSED if refused else 0)


def _score_one(model: Model, path: Path) -> list[Result | UnusableInput]:
    try:
        read = read_any(path)
        cases: list[Input] = read if isinstance(read, list) else [read]
        if not cases:
            raise UnusableInput("A folder must hold at least one file, found none.", code="empty")
        return [model.predict(case) for case in cases]
    except UnusableInput as error:
        return [error]


def _as_json(result: Result | UnusableInput, *, arrays: bool) -> dict[str, object]:
    if isinstance(result, UnusableInput):
        return {"status": "unusable", "code": result.code, "message": str(result)}
    return dict(to_json(result, arrays=arrays))


def _print_table(model: Model, scored: list[tuple[Path, Result | UnusableInput]]) -> None:
    table = Table(
        "file", "result", "main reason", "ms", title=f"{model.id} on {model.session.backend}, {model.session.precision}"
    )
    for path, result in scored:
        if isinstance(result, UnusableInput):
            table.add_row(path.name, f"[red]unusable: {result.code}[/red]", str(result), "")
        elif isinstance(result, Prediction):
            findings = "\n".join(
                f"{f.label} {f.value:.3g}{'' if f.unit == '1' else ' ' + f.unit}"
                f"{' [bold]positive[/bold]' if f.above_threshold else ''}"
                for f in result.findings
            )
            table.add_row(path.name, findings, main_reason(result), f"{result.timings_ms['total']:.1f}")
        else:
            table.add_row(
                path.name,
                f"[yellow]refused: {result.reason}[/yellow]",
                result.message,
                f"{result.timings_ms.get('total', 0):.1f}",
            )
    out.print(table)


def _find(release: str, folder: Path) -> Path:
    """Return the folder of a release given as a path, an id or a name."""
    if (Path(release) / "manifest.json").is_file():
        return Path(release).resolve()
    if (folder / release / "manifest.json").is_file():
        return folder / release
    names = {path.name: path for path in release_folders(folder)}
    pinned = read_pins(folder).get(release)
    versions = sorted(
        (tuple(map(int, name.rpartition("-")[2].split("."))), name)
        for name in names
        if name.rpartition("-")[0] == release
    )
    if pinned or versions:
        return names[f"{release}-{pinned}" if pinned else versions[-1][1]]
    raise BrokenModel(f"No release {release!r} in {folder.name}; known: {', '.join(names) or 'none'}.")


def _options(provider: str, precision: str, threads: int) -> SessionOptions:
    for value, allowed, name in ((provider, Provider, "provider"), (precision, PrecisionName, "precision")):
        if value not in get_args(allowed):
            raise typer.BadParameter(f"{name} must be one of {', '.join(get_args(allowed))}, found {value!r}.")
    return SessionOptions(provider=provider, precision=precision, threads=threads)  # type: ignore[arg-type]


def main() -> None:
    """Run the program; errors that Diaphane raises on purpose become one line and an exit code."""
    try:
        app()
    except DiaphaneError as error:
        err.print(f"[red]error:[/red] {error}", highlight=False)
        sys.exit(EXIT_BROKEN if isinstance(error, BrokenModel) else EXIT_UNUSABLE)


if __name__ == "__main__":
    main()
