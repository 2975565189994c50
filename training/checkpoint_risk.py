"""A fitted additive model on disk: arrays and JSON text in one .npz, nothing pickled; one or several outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.nets.additive import Additive, Scale

Floats = NDArray[np.float32]


class Scales(Protocol):
    """How every feature is cut, finely for boosted and joint mains, coarsely for pairs."""

    mains: list[Scale]
    joint: list[Scale]
    pairs: list[Scale]


class Shapes(Protocol):
    """The weights of one output's mains, boosted and joint (F, K), of its pairs (P, K·K), and its bias."""

    mains: Tensor
    joint: Tensor
    pairs: list[tuple[int, int]]
    crossings: Tensor
    bias: float


def save(
    path: Path, x: Tensor, fits: list[tuple[Scales, Shapes, dict[str, Any]]], shared: dict[str, Any], quantiles: Floats
) -> None:
    """Write every output's calibrated tables, what its fit found, what all share, and the cohort's quantiles (7, F).

    The arrays of the first output carry plain names, those of output k end in `@k`.
    """
    arrays: dict[str, Any] = {}
    for k, (scales, shapes, found) in enumerate(fits):
        arrays |= {_named(name, k): table for name, table in tables_of(x, scales, shapes, found["calibration"]).items()}
    text = json.dumps({**shared, "outputs": [found for _, _, found in fits]})
    np.savez_compressed(path, **arrays, found=np.array(text), quantiles=quantiles)


def load(path: Path) -> tuple[list[Additive], dict[str, Any], Floats]:
    """Read a checkpoint → one calibrated net an output, what fitting found, and the cohort's quantiles (7, F)."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    found = json.loads(str(arrays["found"]))
    return [_net(arrays, k) for k in range(len(found["outputs"]))], found, arrays["quantiles"]


def _named(name: str, k: int) -> str:
    return f"{name}@{k}" if k else name


def _net(arrays: dict[str, Any], k: int) -> Additive:
    def of(name: str) -> Any:
        return arrays[_named(name, k)]

    pairs = [(int(a), int(b)) for a, b in of("pairs")]
    count = sum(name.startswith("main") and _named(name.partition("@")[0], k) == name for name in arrays)
    net = Additive(
        [of(f"edges{f}") for f in range(count)], [of(f"main{f}") for f in range(count)], pairs=pairs,
        pair_edges={f: of(f"coarse{f}") for pair in pairs for f in pair},
        pair_levels=[of(f"pair{p}") for p in range(len(pairs))], bias=float(of("bias")),
    )
    return net.eval()


def tables_of(x: Tensor, scales: Scales, shapes: Shapes, calibration: dict[str, float]) -> dict[str, Any]:
    """Return one output's arrays: calibrated levels, each term zero on average over x (N, F), and the bias."""
    slope, moved = calibration["slope"], calibration["intercept"]
    mains = [
        _levels(boosted, shapes.mains[f]) + _levels(joint, shapes.joint[f])
        for f, (boosted, joint) in enumerate(zip(scales.mains, scales.joint, strict=True))
    ]
    crossings = zip(shapes.pairs, shapes.crossings, strict=True)
    levels = [_pair_levels(scales.pairs[a], scales.pairs[b], weights) for (a, b), weights in crossings]
    coarse = {f: scales.pairs[f].edges for pair in shapes.pairs for f in pair}
    net = Additive(
        [scale.edges for scale in scales.mains], mains, pairs=shapes.pairs, pair_edges=coarse, pair_levels=levels,
        bias=shapes.bias,
    )
    with torch.no_grad():
        means = net(x)[1].double().mean(dim=0).numpy()
    arrays: dict[str, Any] = {f"edges{f}": scale.edges for f, scale in enumerate(scales.mains)}
    arrays |= {f"coarse{f}": edges for f, edges in coarse.items()}
    for kind, tables, start in (("main", mains, 0), ("pair", levels, len(mains))):
        for t, table in enumerate(tables):
            arrays[f"{kind}{t}"] = ((table - means[start + t]) * slope).astype(np.float32)
    bias = np.float32(slope * (shapes.bias + means.sum()) + moved)
    return {**arrays, "pairs": np.array(shapes.pairs).reshape(-1, 2), "bias": bias}


def _levels(scale: Scale, weights: Tensor) -> Floats:
    return scale.basis @ weights[: scale.basis.shape[1]].numpy()


def _pair_levels(a: Scale, b: Scale, weights: Tensor) -> Floats:
    width = round(len(weights) ** 0.5)
    square = weights.numpy().reshape(width, width)[: a.basis.shape[1], : b.basis.shape[1]]
    return (a.basis @ square @ b.basis.T).astype(np.float32)
