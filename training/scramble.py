"""The released graph with random weights in its last stage and head: a map that survives this explains nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from models.manifest import Manifest
from models.session import Session, SessionOptions

WEIGHTED = ("Conv", "Gemm", "MatMul")


def scrambled_session(folder: Path, manifest: Manifest, *, seed: int) -> Session:
    """Open the release's graph with its last stage and head drawn anew. The release itself is not touched."""
    graph = onnx.load(str(folder / "model.onnx"))
    scramble(graph, manifest.graph.outputs["map"], seed=seed)
    with tempfile.TemporaryDirectory(prefix="scrambled-") as place:
        copy = Path(place) / folder.name
        copy.mkdir()
        onnx.save(graph, str(copy / "model.onnx"))
        shutil.copy(folder / "golden.npz", copy / "golden.npz")
        return Session(copy, manifest, SessionOptions(provider="cpu", precision="fp32"))


def scramble(graph: onnx.ModelProto, output: str, *, seed: int) -> list[str]:
    """Replace, in place, the weights that make ``output`` back to the last strided operation; return their names.

    Weights are drawn from a normal distribution with their own standard deviation. Raises ValueError when there are
    none to replace: then nothing would be tested.
    """
    rng = np.random.default_rng(seed)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    replaced = []
    for name in _weights_behind(graph.graph, output):
        values = numpy_helper.to_array(weights[name])
        drawn = rng.normal(0.0, float(values.std()) or 1.0, values.shape).astype(values.dtype)
        weights[name].CopyFrom(numpy_helper.from_array(drawn, name))
        replaced.append(name)
    if not replaced:
        raise ValueError(f"The graph must have weights behind {output!r}, found none to randomise.")
    return replaced


def _weights_behind(graph: onnx.GraphProto, output: str) -> list[str]:
    makers = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    waiting, seen, found = [output], set(), []
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type in WEIGHTED:
            found += [name for name in node.input[:2] if name in weights]
        strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [1])
        if max(strides) == 1:  # a strided operation is where the last stage begins
            waiting += list(node.input)
    return sorted(set(found))
