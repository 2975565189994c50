"""python -m training adopt: take a classifier over that others trained, as a release folder that says what is not known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.errors import BrokenModel, DiaphaneError
from models.manifest import sha256_of

SHELF = Path(__file__).resolve().parents[2] / "models" / "released"
HELP = """Take over a classifier that others trained: a release folder that is served like ours, and says what is not known.

Nothing is downloaded: fetch the weights yourself, from a source you trust. Two steps:

[bold]1.[/bold] adopt … --write-describe mine.toml   writes a description with what is already known. Fill in what you know.

[bold]2.[/bold] adopt … --describe mine.toml   builds the graph, adds a heat map that sums to the score exactly, checks it against
the original, and writes the folder. What is not told is "unknown" in the manifest and is listed first in the card.

Files that hold code (pickled objects) are not opened. A network whose head allows no exact map is refused, with the place.
"""
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help=HELP)
out, err = Console(), Console(stderr=True)

Describe = Annotated[Path | None, typer.Option("--describe", help="The filled-in description.")]
Write = Annotated[Path | None, typer.Option("--write-describe", help="Write a description to fill in, and stop.")]
Shelf = Annotated[Path, typer.Option("--shelf", help="Folder of releases.")]
Weights = Annotated[Path | None, typer.Option("--weights", help="File of weights: .safetensors, or .pt with tensors alone.")]
Classes = Annotated[str, typer.Option("--classes", help="Names of the classes in the order of the network, by commas.")]
Size = Annotated[int, typer.Option("--size", min=16, max=4096, help="Rows and columns the network takes.")]
Activation = Annotated[str, typer.Option(help="sigmoid (findings on their own) or softmax (classes that exclude each other).")]


@app.command()
def xrv(
    name: Annotated[str, typer.Argument(help="Weights of TorchXRayVision, for example densenet121-res224-all.")],
    weights: Weights = None,
    describe: Describe = None,
    write_describe: Write = None,
    published: Annotated[bool, typer.Option("--published-scores", help=(
        "With --write-describe: stretch the probabilities so that each operating point is 0.5, as the package shows them. "
        "By default they stay as the network gives them, with the operating points as thresholds: the same films are positive."
    ))] = False,
    shelf: Shelf = SHELF,
) -> None:
    """TorchXRayVision: up to 18 findings on adult chest radiographs.

    The files of its DenseNets are pickled objects. Convert them once, where you trust them (the message says how).
    """
    from training.adopt.nets import xrv_net  # torch takes seconds to import; --help should not wait
    from training.adopt.template import of_xrv

    if write_describe is not None:
        _write(write_describe, lambda: of_xrv(name, published=published))
        return

    def origin(_: Any) -> Any:
        from training.adopt.release import Origin
        from training.adopt.weights import read_weights

        file = _file(weights)
        return Origin("torchxrayvision", name, file.name, sha256_of(file), net=xrv_net(name, read_weights(file), file.name))

    _adopt(describe, shelf, origin)


@app.command()
def torchvision(
    arch: Annotated[str, typer.Argument(help="A classifier of torchvision, for example resnet50.")],
    weights: Weights = None,
    classes: Classes = "",
    size: Size = 224,
    activation: Activation = "softmax",
    describe: Describe = None,
    write_describe: Write = None,
    shelf: Shelf = SHELF,
) -> None:
    """A classifier of torchvision's architectures, with weights you have."""
    from training.adopt.nets import channels_of, torchvision_net

    def build(names: list[str], state: Any, file: str) -> Any:
        return torchvision_net(arch, len(names), state, file), None

    _network("torchvision", arch, weights, classes, size, activation, describe, write_describe, shelf, build, channels_of)


@app.command()
def timm(
    arch: Annotated[str, typer.Argument(help="A classifier of timm, for example regnety_008.")],
    weights: Weights = None,
    classes: Classes = "",
    size: Size = 224,
    activation: Activation = "softmax",
    describe: Describe = None,
    write_describe: Write = None,
    shelf: Shelf = SHELF,
) -> None:
    """A classifier of timm's architectures, with weights you have. The description starts from timm's own table of the model."""
    from training.adopt.nets import channels_of, timm_net

    def build(names: list[str], state: Any, file: str) -> Any:
        return timm_net(arch, len(names), state, file)

    _network("timm", arch, weights, classes, size, activation, describe, write_describe, shelf, build, channels_of)


@app.command()
def onnx(
    file: Annotated[Path, typer.Argument(help="An ONNX file: one image in, classes out.")],
    classes: Classes = "",
    size: Size = 224,
    activation: Activation = "sigmoid",
    describe: Describe = None,
    write_describe: Write = None,
    shelf: Shelf = SHELF,
) -> None:
    """Any ONNX classifier that ends in global average pooling and linear layers: the heat map is added to its graph."""
    from training.adopt.graph_file import image_input, read_graph
    from training.adopt.template import of_classes

    graph = _said(lambda: read_graph(file))
    if write_describe is not None:
        dims = [dim.dim_value for dim in image_input(graph, file.name).type.tensor_type.shape.dim]
        channels = next((n for n in (dims[1], dims[3]) if n in (1, 3)), 1)
        rows, columns = (dims[1:3] if dims[3] in (1, 3) else dims[2:4])
        _write(write_describe, lambda: of_classes(file.stem, file.stem, _names(classes), (rows or size, columns or size),
                                                  channels=channels, activation=activation))
        return

    def origin(_: Any) -> Any:
        from training.adopt.release import Origin

        return Origin("onnx", graph.graph.name or file.stem, file.name, sha256_of(file), graph=graph)

    _adopt(describe, shelf, origin)


def _network(kind: str, arch: str, weights: Path | None, classes: str, size: int, activation: str, describe: Path | None,
             write_describe: Path | None, shelf: Path, build: Callable[..., Any], channels_of: Callable[..., int]) -> None:
    """The two steps for networks whose architecture has a name."""
    from training.adopt.release import Origin
    from training.adopt.template import of_classes
    from training.adopt.weights import read_weights

    file = _file(weights)
    net, prepared = _said(lambda: build(_names(classes), read_weights(file), file.name))
    if write_describe is not None:
        _write(write_describe, lambda: of_classes(f"{kind}_{arch}", f"{arch} ({kind})", _names(classes), (size, size),
                                                  channels=channels_of(net), activation=activation, prepared=prepared))
        return
    _adopt(describe, shelf, lambda _: Origin(kind, arch, file.name, sha256_of(file), net=net))


def _adopt(describe: Path | None, shelf: Path, origin: Callable[[Any], Any]) -> None:
    """Read the description, make the release with a bar that says what is being done, and say what to do next."""
    from training.adopt.description import read_description
    from training.adopt.release import adopt

    if describe is None:
        raise typer.BadParameter("Say --describe FILE, or --write-describe FILE to make one.")
    started = perf_counter()
    bar = Progress(TextColumn("{task.description:<18}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=err,
                   transient=True, disable=not err.is_terminal)

    def run() -> Path:
        description = read_description(describe)
        with bar:
            task = bar.add_task("weights", total=1.0)
            return adopt(origin(description), description, sha256_of(describe), shelf,
                         tell=lambda what, share: bar.update(task, description=what, completed=share))

    folder = _said(run)
    gaps = read_description(describe).gaps()
    out.print(f"released {folder} in {perf_counter() - started:.0f} s", highlight=False, soft_wrap=True)
    out.print(f"not known, and listed in its card: {len(gaps)} things. Nothing was evaluated here.", highlight=False)
    out.print(f"next: python -m models describe {folder.name} --folder {shelf}\n"
              f"      python -m training commission {folder.name} --archive … --truth …", highlight=False, soft_wrap=True)


def _write(path: Path, known: Callable[[], dict[str, Any]]) -> None:
    from training.adopt.template import write_template

    _said(lambda: write_template(path, known()))
    out.print(f"written: {path}. Fill it in, then run the same with --describe {path}", highlight=False, soft_wrap=True)


def _said(work: Callable[[], Any]) -> Any:
    """Do something; what Diaphane raises on purpose becomes one line and exit code 3 (2 for what can be corrected at once)."""
    try:
        return work()
    except (DiaphaneError, FileExistsError) as error:
        err.print(f"[red]error:[/red] {error}", highlight=False, markup=True, soft_wrap=True)
        sys.exit(3 if isinstance(error, BrokenModel) else 2)


def _file(path: Path | None) -> Path:
    if path is None or not path.is_file():
        raise typer.BadParameter("Say --weights FILE: a file that you fetched. Nothing is downloaded here.")
    return path


def _names(classes: str) -> list[str]:
    names = [name.strip() for name in classes.split(",") if name.strip()]
    if not names:
        raise typer.BadParameter("Say --classes: their names in the order of the network, by commas.")
    return names


if __name__ == "__main__":
    app()
