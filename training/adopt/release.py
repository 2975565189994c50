"""Make a release folder of a classifier that others trained: graph, golden inputs, manifest, card, and no figures.

The folder appears on the shelf only when it is whole and models.check finds it sound; an older release is never changed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from onnx import ModelProto
from scipy import ndimage
from torch import nn

from models.check import check
from models.describe import describe
from models.errors import BrokenModel
from models.manifest import Manifest, read_manifest, sha256_of, write_manifest
from training.adopt.description import Description, Shown
from training.adopt.geometry import centre_of
from training.adopt.graph_file import open_graph, opset_of
from training.adopt.manifest import manifest_of
from training.adopt.nets import to_onnx
from training.adopt.surgery import ROLES, Grafted, graft
from training.registration import measure_registration

TEMPLATES = Path(__file__).parent
AGREEMENT = 1e-4  # |released - original| / (1 + |original|)
BLOBS, PATTERNS, BATCH = 96, 4, 16  # of the phantom that places the map; see training/registration.py
SURE = 0.25  # of a cell: partial measurements that differ by more do not count against the paddings
Tell = Callable[[str, float], None]  # what is being done, and how much of the whole is done, 0 to 1
Floats = NDArray[np.floating[Any]]


def _silent(_: str, __: float) -> None:
    return


@dataclass(frozen=True)
class Origin:
    """What is taken over: a network with its weights, or a graph. ``file`` is the name of what was sent, for messages."""

    kind: str  # torchxrayvision, torchvision, timm, onnx
    architecture: str
    file: str
    sha256: str  # of the file of weights, or of the graph
    net: nn.Module | None = None
    graph: ModelProto | None = None


@dataclass(frozen=True)
class Placed:
    """Where the map lies on the input: one cell every ``stride_px``, the first at ``offset_px``; and how that is known."""

    stride_px: float
    offset_px: tuple[float, float]
    reason: str


@dataclass
class Made:
    """What making the graph found, for the manifest and the card."""

    grafted: Grafted
    placed: Placed
    checks: list[dict[str, Any]] = field(default_factory=list)


def adopt(origin: Origin, description: Description, sealed_by: str, shelf: Path, *, tell: Tell = _silent,
          blobs: int = BLOBS) -> Path:
    """Release a classifier as ``shelf/<name>-<version>`` and return the folder. ``sealed_by`` is the description's sha256.

    Raises BrokenModel when it cannot be taken over, with the reason, and FileExistsError when that version is there.
    """
    target = shelf / f"{description.name}-{description.version}"
    if target.exists():
        raise FileExistsError(f"{target} exists and releases never change. Raise the version in the description.")
    with tempfile.TemporaryDirectory(prefix="adopt-") as staging:
        folder = Path(staging) / target.name
        folder.mkdir()
        made = build(origin, description, folder, tell=tell, blobs=blobs)
        manifest = manifest_of(description, made.grafted, made.placed, sealed_by)
        tell("card and hashes", 0.92)
        figures = _evaluation(origin, description, manifest, made, sha256_of(folder / "model.onnx"))
        (folder / "evaluation.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "CARD.md").write_text("Not yet written.\n", encoding="utf-8")
        _seal(folder, manifest)
        card_text = card(read_manifest(folder), description, figures)
        (folder / "CARD.md").write_text(card_text, encoding="utf-8")
        _seal(folder, manifest)
        tell("models.check", 0.95)
        check(folder)
        shelf.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, target)
    tell("done", 1.0)
    return target


def build(origin: Origin, description: Description, folder: Path, *, tell: Tell, blobs: int) -> Made:
    """Write ``model.onnx`` and ``golden.npz``; say what was compared. Raises BrokenModel when anything disagrees."""
    front, activation = description.input.front, description.head.activation
    golden = plausible(np.random.default_rng(20261122), (front.rows, front.columns))
    tell("graph", 0.02)
    graph = to_onnx(origin.net, len(front.scale), (front.rows, front.columns)) if origin.net else origin.graph
    assert graph is not None
    tell("heat map", 0.1)
    points = tuple(0.5 if np.isnan(point) else point for point in description.head.operating_points)
    grafted = graft(graph, front, golden, origin.file, output=description.head.output, activation=activation,
                    operating_points=points)
    _fits(description, grafted.bias.size)
    run = open_graph(grafted.model, origin.file, list(ROLES.values()))
    arrays = {role: run(golden)[name] for role, name in ROLES.items()}
    placed = place(run, grafted, (front.rows, front.columns), tell=tell, blobs=blobs)
    checks = [{"name": "logit = bias + mean of the map", "value": grafted.completeness, "allowed": 1e-4},
              {"name": "logit: the graph as it came against the released one", "value": grafted.moved, "allowed": 1e-4}]
    if origin.net is not None:
        expected = _by_torch(origin.net, front(golden), grafted, points, softmax=_is_softmax(grafted, activation))
        checks += [_agree(f"{role}: torch against the released graph", arrays[role], wanted, origin.file)
                   for role, wanted in expected.items()]
        arrays |= expected
    (folder / "model.onnx").write_bytes(grafted.model.SerializeToString())
    np.savez_compressed(folder / "golden.npz", input=golden, **arrays)
    return Made(grafted, placed, checks)


def place(run: Any, grafted: Grafted, size: tuple[int, int], *, tell: Tell, blobs: int) -> Placed:
    """Say where the map lies on the input: measured with drawn chests, or by the paddings where that finds nothing sure."""
    stride = stride_of(size, grafted.cells)
    batches, done = max(1, PATTERNS * -(-blobs // BATCH)), 0
    by_padding = centre_of(grafted.model, grafted.head.features)
    expected = by_padding or ((stride - 1) / 2, (stride - 1) / 2)
    instead = "computed from kernels, strides and paddings" if by_padding else "assumed to lie in the middle of its cell"

    def score(pixels: NDArray[np.float32]) -> tuple[Floats, Floats]:
        nonlocal done
        found, done = run(pixels), done + 1
        tell("place of the map", 0.15 + 0.75 * min(1.0, done / batches))
        return found[ROLES["logit"]], found[ROLES["map"]]

    try:
        found = measure_registration(score, stride, size, blobs=blobs, patterns=PATTERNS, batch=BATCH)
    except ValueError as error:
        return Placed(stride, expected, f"{instead}, it could not be measured ({str(error).rstrip('.')})")
    away = max(abs(one - other) for one, other in zip(found.offset_px, expected, strict=True))
    spread = max(found.spread_px)
    if away > stride / 2 or spread > SURE * stride:
        return Placed(stride, expected, f"{instead}; a measurement with {found.blobs} blobs was not sure (partial measurements "
                                        f"differ by {spread:.1f} px, {away:.1f} px from there)")
    offset = (round(found.offset_px[0], 2), round(found.offset_px[1], 2))
    return Placed(stride, offset, f"measured with {found.blobs} blobs on drawn chests; partial measurements differ by "
                                  f"{spread:.1f} px (median), and it lies {away:.1f} px from where the paddings put it")


def stride_of(size: tuple[int, int], cells: tuple[int, int]) -> float:
    """Return how many input pixels lie between two cells. Raises BrokenModel when rows and columns differ.

    Networks halve: where the size is no multiple of the cells (299 pixels, 8 cells), the nearest power of two is meant.
    """
    found = [whole / n if whole % n == 0 else 2.0 ** round(np.log2(whole / n)) for whole, n in zip(size, cells, strict=True)]
    if found[0] != found[1]:
        raise BrokenModel(f"The map must have cells as wide as high, found {found[0]:g} x {found[1]:g} pixels on {size[0]} x "
                          f"{size[1]}. Choose rows and columns that are multiples of the stride.")
    return float(found[0])


def plausible(rng: np.random.Generator, size: tuple[int, int], count: int = 3) -> NDArray[np.float32]:
    """Draw (count, 1, rows, columns) pictures of nobody, 0-255: a bright body with two dark fields, in smooth grain."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float64)
    y, x = y / size[0], x / size[1]
    drawn = []
    for _ in range(count):
        body = 170.0 * ((np.abs(x - 0.5) / 0.46) ** 4 + (np.abs(y - 0.55) / 0.55) ** 4 < 1)
        for side in (-0.2, 0.2):
            field_ = ((x - 0.5 - side) / rng.uniform(0.13, 0.18)) ** 2 + ((y - 0.5) / rng.uniform(0.28, 0.36)) ** 2 < 1
            body = np.where(field_, rng.uniform(50, 100), body)
        grain = ndimage.gaussian_filter(rng.standard_normal(size), rng.uniform(1, 0.05 * min(size)))
        drawn.append(ndimage.gaussian_filter(body, 0.01 * size[0]) + rng.uniform(5, 30) * grain / grain.std())
    return np.clip(np.stack(drawn), 0, 255)[:, None].astype(np.float32)


def card(manifest: Manifest, description: Description, figures: dict[str, Any]) -> str:
    """Return CARD.md. It quotes ``describe(manifest)`` word for word, and lists first what is not known."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True,  # noqa: S701
                              lstrip_blocks=True, keep_trailing_newline=True)  # Markdown, not HTML
    environment.filters["cell"] = lambda text: " ".join(str(text).replace("|", "/").split())
    hashes = {name: manifest.files[name] for name in ("model.onnx", "golden.npz")}
    return environment.get_template("card.md.j2").render(
        m=manifest, d=description, e=figures, gaps=figures["unknown"], described=describe(manifest).strip(), hashes=hashes)


def _fits(description: Description, classes: int) -> None:
    """Raise BrokenModel when the description speaks of classes that the graph has not."""
    beyond: list[Shown] = [one for one in description.outputs if one.column >= classes]
    if beyond:
        raise BrokenModel(f"The graph has {classes} classes, columns 0 to {classes - 1}; the description shows column "
                          f"{beyond[0].column} ({beyond[0].name}). Correct the description.")


def _is_softmax(grafted: Grafted, told: str) -> bool:
    return (grafted.head.activation if grafted.head.activation != "none" else told) == "softmax"


def _by_torch(net: nn.Module, batch: NDArray[np.float32], grafted: Grafted, points: tuple[float, ...], *,
              softmax: bool) -> dict[str, NDArray[np.float32]]:
    """Compute probability and logit by the network itself: the other side of the comparison."""
    with torch.no_grad():
        classes = net(torch.from_numpy(batch)).double()
    chance = torch.softmax(classes, dim=1) if softmax else torch.sigmoid(classes)
    if points:
        t = torch.tensor(points, dtype=torch.float64)
        chance = torch.where(chance < t, chance / (2 * t), 1 - (1 - chance) / (2 * (1 - t)))
    if softmax and grafted.bias.size == 2:
        classes = classes - classes.flip(1)
    elif softmax:
        classes = classes - classes.mean(dim=1, keepdim=True)
    return {"probability": chance.float().numpy(), "logit": classes.float().numpy()}


def _agree(name: str, found: Floats, expected: Floats, file: str) -> dict[str, Any]:
    worst = float((np.abs(found.astype(np.float64) - expected) / (1 + np.abs(expected.astype(np.float64)))).max())
    if not worst <= AGREEMENT:
        raise BrokenModel(f"{file}: {name} must agree within {AGREEMENT:.0e}, found {worst:.1e}.")
    return {"name": name, "value": worst, "allowed": AGREEMENT}


def _evaluation(origin: Origin, description: Description, manifest: Manifest, made: Made, onnx_sha256: str) -> dict[str, Any]:
    """Return evaluation.json: that there is no evaluation, what was taken over, and what was compared."""
    head, front, shown = made.grafted.head, description.input.front, {one.column for one in description.outputs}
    hidden = [str(column) for column in range(made.grafted.bias.size) if column not in shown]
    softmax = _is_softmax(made.grafted, description.head.activation)
    ends = " * ".join(["pooled features", "weights"]) + " + bias"
    return {
        "status": "not evaluated", "model": manifest.id, "onnx_sha256": onnx_sha256,
        "created": datetime.now(UTC).date().isoformat(),
        "adopted": {
            "kind": origin.kind, "architecture": origin.architecture, "file": origin.file, "sha256": origin.sha256,
            "arithmetic": "value * scale + shift, scale " + ", ".join(f"{one:.7g}" for one in front.scale)
                          + "; shift " + ", ".join(f"{one:.7g}" for one in front.shift),
            "activation": ("softmax" if softmax else "sigmoid") + (
                ", then stretched so that each operating point is 0.5" if description.head.operating_points else ""),
            "hidden": f"columns {', '.join(hidden)}" if hidden else "none",
            "map": f"Class activation map of {head.weights.shape[0]} features in {made.grafted.cells[0]} x {made.grafted.cells[1]} "
                   f"cells, of the head {ends}" + (", each class less the " + ("other" if made.grafted.bias.size == 2 else
                                                    "mean of all") if softmax else "") + ".",
            "opset": opset_of(made.grafted.model),
        },
        "checks": made.checks,
        "unknown": description.gaps(),
    }


def _seal(folder: Path, manifest: Manifest) -> None:
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != "manifest.json"}
    write_manifest(folder, manifest.model_copy(update={"files": files}))
