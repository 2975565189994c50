"""The command ``python -m training adopt bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

SHELF = Path(__file__).resolve().parents[2] / "models" / "released"
console = Console()


def bundle(
    source: Annotated[Path, typer.Argument(exists=True, help="The bundle: its folder, or a zip of it.")],
    describe: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="TOML that tells what the metadata do not; see --write-describe.")
    ] = None,
    shelf: Annotated[Path, typer.Option(help="Folder of releases that the new one is put into.")] = SHELF,
    write_describe: Annotated[
        Path | None, typer.Option(help="Write a describe.toml to fill in, with what the metadata tell, and stop.")
    ] = None,
    to_onnx: Annotated[
        Path | None, typer.Option(help="For a bundle that classifies images: write its network here for adopt onnx, and stop.")
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=4096, help="With --to-onnx: rows and columns the network takes.")] = 224,
) -> None:
    """Turn a MONAI Bundle (one image series in, a label map out) into a release folder that is served like any other.

    The config is read as data and nothing of the bundle is run. Every transform becomes a step with the very same numbers,
    the sliding window is served as MONAI slides it, or the bundle is refused with the transform's name and the reason.
    The card lists what is not known; commission the release before use (python -m training commission).
    """
    from models.errors import BrokenModel
    from training.adopt_bundle.adopt import adopt
    from training.adopt_bundle.bundle import opened
    from training.adopt_bundle.classifier import write_classifier
    from training.adopt_bundle.description import read_description, written

    try:
        if write_describe is not None:
            with opened(source) as found:
                write_describe.write_text(written(found), encoding="utf-8")
            console.print(f"written: {write_describe}. Fill it in, then adopt again with --describe {write_describe}")
            return
        if to_onnx is not None:
            with opened(source) as found:
                classes = write_classifier(found, to_onnx, size)
            console.print(f"written: {to_onnx}. Its heat map and its description come next:", highlight=False)
            console.print(f'python -m training adopt onnx {to_onnx} --classes "{", ".join(classes)}" --write-describe describe.toml',
                          highlight=False, soft_wrap=True)
            return
        with console.status("reading the config, exporting the network, comparing torch with ONNX, checking the release"):
            done = adopt(source, read_description(describe), shelf)
    except (BrokenModel, FileExistsError) as error:
        console.print(f"[bold red]refused[/bold red]: {error}", highlight=False)
        raise typer.Exit(1) from error
    table = Table("in the bundle", "here", title=done.folder.name, title_justify="left")
    for name, what in done.became:
        table.add_row(name, what)
    console.print(table)
    console.print(f"torch and ONNX differ by {done.worst:.1e} at most; models.check passed.")
    console.print("[bold]Not known[/bold], and so said in the card:")
    for gap in done.gaps:
        console.print(f"- {gap}", highlight=False)
    console.print(f"adopted {done.folder}. Not evaluated here: commission it before use.", highlight=False)
