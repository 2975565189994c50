"""From a fitted network to one ONNX graph that scores, calibrates, explains and tells outsiders.

Calibration is folded into the head, so the maps of the graph are on the calibrated scale and
``logit == bias + mean(map)`` holds for the number that is shown. torch and ONNX must agree within 1e-4 on the golden
inputs or nothing is written.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import BrokenModel
from training.calibrate import Calibration, Population
from training.nets.radiograph import RadiographNet
from training.nets.radiograph_rows import RadiographRowsNet
from training.nets.volume import VolumeNet
from training.nets.volume_2d import SlicedVolumeNet

OPSET = 20
AGREEMENT = 1e-4


class RadiographGraph(nn.Module):
    """pixels (batch, 1, rows, columns) → probability, logit, map, ood. See models/README.md for the roles."""

    def __init__(
        self, net: RadiographNet | RadiographRowsNet, calibrations: list[Calibration], populations: list[Population]
    ) -> None:
        super().__init__()
        self.net = net
        slope = torch.tensor([c.slope for c in calibrations])
        intercept = torch.tensor([c.intercept for c in calibrations])
        self.head = nn.Conv2d(net.map.in_channels, net.map.out_channels, 1, bias=False)
        self.head.weight = nn.Parameter(net.map.weight.detach() * slope.view(-1, 1, 1, 1))
        self.bias = nn.Parameter(net.bias.detach() * slope + intercept)
        sizes = [p.means.shape[1] for p in populations]
        self.slices = [(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))]
        for i, each in enumerate(populations):
            self.register_buffer(f"whitening{i}", torch.from_numpy(each.whitening))
            self.register_buffer(f"centres{i}", torch.from_numpy(each.means @ each.whitening))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        last, pooled = self.net.features(pixels)
        maps = self.head(last)
        logits = self.bias + maps.mean(dim=(2, 3))
        chance = torch.sigmoid(logits)
        ill, bacterial = chance[:, 0:1], chance[:, 1:2]
        probability = torch.cat([ill, ill * bacterial, ill * (1 - bacterial)], dim=1)
        outside = [torch.sigmoid(-self.net.domain(pooled))]
        for i, (start, stop) in enumerate(self.slices):
            whitening, centres = getattr(self, f"whitening{i}"), getattr(self, f"centres{i}")
            outside.append(nearest(pooled[:, start:stop] @ whitening, centres))
        return probability, logits, maps, torch.cat(outside, dim=1)


class VolumeGraph(nn.Module):
    """voxels (batch, 1, z, y, x) at 1 mm → labels, class_probability, volume_ml, ood."""

    def __init__(self, net: VolumeNet | SlicedVolumeNet, members: Population) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("whitening", torch.from_numpy(members.whitening))
        self.register_buffer("centres", torch.from_numpy(members.means @ members.whitening))

    def forward(self, voxels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = self.net(voxels)
        # Softmax written out: onnxruntime's own over axis 1 transposes the whole volume first.
        shares = torch.exp(found["logits"] - found["logits"].amax(dim=1, keepdim=True))
        probability = shares / shares.sum(dim=1, keepdim=True)
        labels = probability.argmax(dim=1)
        parts = [(labels == part).to(torch.float32).sum(dim=(1, 2, 3)) for part in range(1, probability.shape[1])]
        volume_ml = torch.stack(parts, dim=1) / 1000.0  # 1 mm3 voxels
        foreground = 1 - probability[:, 0]
        unsure = (foreground * (1 - foreground)).sum(dim=(1, 2, 3)) / (foreground.sum(dim=(1, 2, 3)) + 1.0)
        distance = nearest(found["pooled"] @ self.whitening, self.centres)
        missing = 1.0 / (volume_ml.amin(dim=1, keepdim=True) + 0.02)
        ood = torch.cat([distance, unsure.unsqueeze(1), missing], dim=1)
        return labels.to(torch.uint8), probability, volume_ml, ood


def nearest(z: Tensor, centres: Tensor) -> Tensor:
    """Return the squared distance of each row of z (n, d) to the nearest centre (k, d), per dimension: (n, 1).

    Expanded as z² - 2zc + c², one matrix product instead of an (n, k, d) cube.
    """
    squares = (z * z).sum(1, keepdim=True) - 2 * z @ centres.T + (centres * centres).sum(1)
    return squares.amin(dim=1, keepdim=True) / z.shape[1]


def export(graph: nn.Module, golden: NDArray[np.float32], folder: Path, *, input_name: str, roles: list[str],
           reference: nn.Module | None = None, grids: list[str] | None = None) -> dict[str, float]:
    """Write ``model.onnx`` and ``golden.npz`` into folder; return the largest difference torch - ONNX per role.

    ``golden`` is the whole graph input (n, …), made data only, never a patient's. ``reference`` is the plain form of
    the same function when ``graph`` is one rearranged for speed: its outputs are the golden ones. ``grids`` names the
    roles whose axes after the batch follow the input's z, y, x, which are then dynamic; else only the batch is.
    Raises BrokenModel when torch and ONNX disagree by more than 1e-4 (relative to 1 + |value|).
    """
    graph.eval()
    example = torch.from_numpy(golden)
    path = folder / "model.onnx"
    if grids is None:
        batch = torch.export.Dim("batch", min=1, max=1024)
        program = torch.onnx.export(
            graph, (example,), dynamo=True, opset_version=OPSET, input_names=[input_name], output_names=roles,
            dynamic_shapes=({0: batch},), external_data=False, optimize=True, verbose=False,
        )
        program.save(str(path), external_data=False)
    else:
        _trace(graph, example, path, input_name, roles, grids)
    onnx.checker.check_model(str(path), full_check=True)
    with torch.no_grad():
        outputs = (reference or graph).eval()(example)
    expected = dict(zip(roles, (t.numpy() for t in outputs), strict=True))
    np.savez_compressed(folder / "golden.npz", input=golden, **expected)
    return agreement(path, golden, expected)


def _trace(graph: nn.Module, example: Tensor, path: Path, input_name: str, roles: list[str], grids: list[str]) -> None:
    """Export by tracing: the other exporter does not finish on the sliced volume graph (symbolic sizes)."""
    axes = {role: {0: "batch"} for role in roles}
    for role in (input_name, *grids):
        rank = example.ndim if role != "labels" else example.ndim - 1
        axes[role] = {0: "batch", rank - 3: "z", rank - 2: "y", rank - 1: "x"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of its own age and of sizes read in Python, which is meant
        torch.onnx.export(graph, (example,), str(path), dynamo=False, opset_version=OPSET, input_names=[input_name],
                          output_names=roles, dynamic_axes=axes)


def agreement(path: Path, golden: NDArray[np.float32], expected: dict[str, NDArray[np.float32]]) -> dict[str, float]:
    """Run the written graph on its own and compare. Raises BrokenModel over AGREEMENT, and for batch sizes that differ."""
    reference = onnx.load(str(path))
    found = _run(reference, golden)
    one = _run(reference, golden[:1])
    worst: dict[str, float] = {}
    for role, want in expected.items():
        for have, part in ((found[role], want), (one[role], want[:1])):
            gap = np.abs(have.astype(np.float64) - part) / (1 + np.abs(part.astype(np.float64)))
            worst[role] = max(worst.get(role, 0.0), float(gap.max()))
        if worst[role] > AGREEMENT and role != "labels":
            raise BrokenModel(f"torch and ONNX must agree within {AGREEMENT} on {role}, found {worst[role]:.2e}.")
    return worst


def _run(model: onnx.ModelProto, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    import onnxruntime  # noqa: PLC0415  the referee of an export, not the serving path (models/session.py)

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: batch}), strict=True))
