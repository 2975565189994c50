"""The reference of a release: what its inputs and outputs looked like on its validation split, for service.monitor to watch against.

The test split is left alone, and the training split flatters: a model knows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.errors import UnusableInput
from models.manifest import Manifest
from models.model import Model
from models.prediction import Prediction, Result
from models.record import Record
from models.reference import SHIPPED, Reference, write_reference
from models.reference_made import Row, reference_of
from models.volume import Volume

AT_MOST = 5_000  # cases: more make no bin surer that matters
AT_ONCE = 16
ROOT = Path(__file__).resolve().parents[1]


def row_of(result: Result) -> Row:
    """Return what a reference counts of a result."""
    values = {one.name: one.value for one in result.findings} if isinstance(result, Prediction) else {}
    return result.status, result.input_statistics, values


def inputs_of(manifest: Manifest, root: Path, split: str, at_most: int) -> list[Volume | Path | Record]:
    """Return the inputs of one split, evenly thinned; an image as its path where it is read when its turn comes.

    Raises UnusableInput for a release whose data nobody here can read.
    """
    if manifest.task == "department":
        raise UnusableInput(f"{manifest.id} sums up a department and has no single inputs: there is nothing to watch of them.",
                            code="no_inputs")
    if manifest.task == "risk":
        from training import recipe as recipes  # noqa: PLC0415  slow to import, not for images
        from training.sources import source_of  # noqa: PLC0415

        try:
            source = source_of(recipes.read(manifest.name))
        except (FileNotFoundError, ValueError) as error:
            raise UnusableInput(f"{manifest.id}: {error} Make its reference by commissioning.", code="no_recipe") from error
        return _thinned([case.record for case in source.records(split, root)], at_most)
    from training.data import chest_xray, hippocampus  # noqa: PLC0415

    if manifest.name == "hippocampus_mr":
        return _thinned([case.image for case in hippocampus.load(root, split)], at_most)
    if manifest.name == "chest_xray_pediatric":
        return _thinned([case.path for case in chest_xray.load(root, split)], at_most)
    raise UnusableInput(f"{manifest.id}: its validation split is not here. Make its reference by commissioning.", code="no_recipe")


def make_reference(
    model: Model, root: Path, *, split: str = "val", at_most: int = AT_MOST, console: Console | None = None,
) -> Reference:
    """Score a split through the release as serving does, and count. Raises UnusableInput."""
    inputs = inputs_of(model.manifest, root, split, at_most)
    named = {"val": "validation split", "test": "test split", "train": "training split"}[split]
    return reference_of(_rows(model, inputs, console), model.manifest, named)


def reference(
    release: Annotated[str, typer.Argument(help="A release by id, for example chest_xray_pediatric-1.0.0, or its folder.")],
    data: Annotated[Path, typer.Option(help="Folder with the data sets.", envvar="DIAPHANE_DATA")] = ROOT.parent / "shared" / "data",
    split: Annotated[str, typer.Option(help="val, the split that limits and thresholds were chosen on.")] = "val",
    out: Annotated[Path | None, typer.Option(help="File to write; by default models/references/RELEASE.json.")] = None,
    at_most: Annotated[int, typer.Option(help="Cases at most, evenly taken.", min=200)] = AT_MOST,
) -> None:
    """Write what a release's inputs and outputs look like on its validation split: the monitor watches for drift from it.

    The file holds counts by bin, means and the mean of random Fourier features over all cases, nothing of any one of them.
    A site that commissioned a release is watched against what commissioning saw there instead.
    """
    console = Console()
    folder = Path(release) if (Path(release) / "manifest.json").is_file() else ROOT / "models" / "released" / release
    if not (folder / "manifest.json").is_file():
        raise typer.BadParameter(f"Needs a release of {ROOT / 'models' / 'released'} or a folder with one, found {release!r}.")
    if split not in ("val", "test", "train"):
        raise typer.BadParameter(f"--split must be val, test or train, found {split!r}.")
    if not data.is_dir():
        raise typer.BadParameter(f"No data at {data}. Set DIAPHANE_DATA or --data to the folder with the data sets.")
    model = Model(folder)
    try:
        found = make_reference(model, data, split=split, at_most=at_most, console=console)
    except UnusableInput as error:
        raise typer.BadParameter(str(error)) from error
    target = out or SHIPPED / f"{model.id}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_reference(target, found)
    console.print(f"{model.id}: {found.n} cases, {found.refused} refused, {len(found.streams)} streams, "
                  f"{target.stat().st_size / 1024:.0f} KiB\nwritten: {target}")


def _rows(model: Model, inputs: list[Volume | Path | Record], console: Console | None) -> Iterator[Row]:
    columns = (TextColumn(model.id), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console is None, transient=True) as progress:
        task = progress.add_task("", total=len(inputs))
        for begin in range(0, len(inputs), AT_ONCE):
            some = [_read(one) if isinstance(one, Path) else one for one in inputs[begin : begin + AT_ONCE]]
            yield from (row_of(result) for result in model.predict_many(some, batch=AT_ONCE))
            progress.advance(task, len(some))


def _read(path: Path) -> Volume:
    from models.read_image import read_nifti, read_raster  # noqa: PLC0415

    return read_nifti(path) if path.name.endswith((".nii", ".nii.gz")) else read_raster(path)


def _thinned(cases: Sequence[Volume | Path | Record], at_most: int) -> list[Volume | Path | Record]:
    step = max(1.0, len(cases) / at_most)
    return [cases[int(place * step)] for place in range(int(len(cases) / step))]
