"""The bench compares fairly, counts exactly, and says what it could not measure."""

from __future__ import annotations

import io
import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from models.model import Model
from tests.make import dicom_bytes, mr_series, radiograph_dataset, radiograph_pixels, tiny_release
from training.bench import graphs, inputs, run, volume
from training.bench.measure import Samples, interleave, ratio
from training.bench.report import Row, dearer, faster, missing
from training.bench.volume import windows
from training.nets.radiograph import RadiographNet
from training.nets.radiograph_rows import RadiographRowsNet
from training.nets.volume import VolumeNet
from training.nets.volume_2d import SlicedVolumeNet, filtering


def samples_of(*milliseconds: float) -> Samples:
    return Samples(np.array(milliseconds) / 1000, np.array(milliseconds) / 1000)


def test_calls_take_turns() -> None:
    order: list[str] = []
    interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.0, least_rounds=3, most_rounds=3)
    turns = [name for name, _ in groupby(order)][2:]  # after each was warmed up
    assert turns == ["a", "b", "a", "b", "a", "b"]


def test_ratio_is_of_medians_and_its_spread_is_within_rounds() -> None:
    found = ratio(samples_of(10, 20, 30), samples_of(5, 5, 5))
    assert (found.value, found.low, found.high) == pytest.approx((4.0, 2.4, 5.6))


def test_a_bar_is_reached_from_its_own_side() -> None:
    assert faster("p", "n", samples_of(10, 10), samples_of(2, 2), bar=5).reached is True
    assert dearer("p", "n", samples_of(11, 11), samples_of(10, 10), bar=1.03).reached is False
    assert missing("p", "n", "no GPU here", bar=5).reached is None
    assert Row("p", "n", 4.0, "MB").reached is None


def chain() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    more = numpy_helper.from_array(np.ones((8, 2), np.float32), "m")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("ReduceMean", ["a"], ["b"], axes=[2, 3], keepdims=0),
        helper.make_node("Concat", ["b", "b"], ["c"], axis=1),
        helper.make_node("MatMul", ["c", "m"], ["d"]),
    ]
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 10])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n", 4]),
         helper.make_tensor_value_info("d", TensorProto.FLOAT, ["n", 2])], [weight, more])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)


def test_arithmetic_is_counted_from_the_shapes_of_a_run(tmp_path: Path) -> None:
    onnx.save(chain(), str(tmp_path / "m.onnx"))
    counted = graphs.flops(tmp_path / "m.onnx", {"x": np.ones((2, 3, 8, 10), np.float32)})
    assert counted == {"Conv": 2.0 * (2 * 4 * 4 * 5) * 27, "MatMul": 2.0 * (2 * 2) * 8}


def test_a_cut_graph_keeps_only_what_its_outputs_need(tmp_path: Path) -> None:
    onnx.save(chain(), str(tmp_path / "m.onnx"))
    small = graphs.cut(tmp_path / "m.onnx", ["b"])
    assert [node.op_type for node in onnx.load_from_string(small).graph.node] == ["Conv", "ReduceMean"]
    x = np.random.default_rng(0).random((1, 3, 8, 10), dtype=np.float32)
    whole = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert np.array_equal(whole.run(["b"], {"x": x})[0], graphs.open_graph(small).run(None, {"x": x})[0])


def test_windows_are_counted_as_monai_lays_them() -> None:
    from monai.data.utils import dense_patch_slices
    from monai.inferers.utils import _get_scan_interval

    for size in ((40, 56, 40), (48, 64, 48), (41, 56, 100)):
        step = _get_scan_interval(size, (40, 56, 40), 3, (0.25,) * 3)
        assert windows(size, (40, 56, 40)) == len(dense_patch_slices(size, (40, 56, 40), step))


def test_direct_arithmetic_is_that_of_the_convolutions() -> None:
    net = torch.nn.Sequential(torch.nn.Conv3d(2, 3, 3, padding=1), torch.nn.Flatten(2), torch.nn.ReLU())
    assert graphs.direct_flops(net, np.ones((1, 2, 4, 4, 4), np.float32)) == 2.0 * 3 * 64 * 2 * 27


@pytest.mark.parametrize("m", [2, 4, 5, 8])
def test_minimal_filtering_is_a_correlation(m: int) -> None:
    rng = np.random.default_rng(m)
    d, g = rng.normal(size=m + 2), rng.normal(size=3)
    a, b, c = filtering(m)
    assert np.allclose(a @ ((c @ g) * (b @ d)), np.correlate(d, g, mode="valid"), atol=1e-9)


def lived_in(net: torch.nn.Module) -> Any:
    """Give the batch normalisations statistics as after training."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return net.eval()


@pytest.mark.parametrize(("size", "tiles"), [((192, 192), (8, 8, 6)), ((96, 128), (0, 4, 2)), ((64, 64), (6, 0, 4))])
def test_the_serving_form_of_a_radiograph_net_gives_its_numbers(size: tuple[int, int], tiles: tuple[int, ...]) -> None:
    net = lived_in(RadiographNet(width=8, blocks=(1, 2, 2)))
    pixels = torch.rand((2, 1, *size)) * 255
    with torch.no_grad():
        expected, found = net(pixels), RadiographRowsNet(net, size, tiles).eval()(pixels)
    for role in ("maps", "logits", "domain", "pooled"):
        assert float((expected[role] - found[role]).abs().max()) < 1e-4


@pytest.mark.parametrize("shape", [(1, 1, 16, 16, 16), (2, 1, 24, 32, 16), (1, 1, 40, 16, 24), (1, 1, 56, 16, 16)])
def test_the_serving_form_of_a_volume_net_gives_its_numbers(shape: tuple[int, ...]) -> None:
    net = lived_in(VolumeNet(widths=(8, 8, 16, 16)))
    voxels = torch.rand(shape) * 255
    with torch.no_grad():
        expected, found = net(voxels), SlicedVolumeNet(net).eval()(voxels)
    for role in ("logits", "pooled"):
        assert float((expected[role] - found[role]).abs().max()) < 1e-4


@pytest.fixture
def house(tmp_path: Path) -> dict[str, Path]:
    """Three tiny releases and one sample each that they accept."""
    for task in ("image_classification", "volume_segmentation", "risk"):
        tiny_release(tmp_path / "released", task)  # type: ignore[arg-type]
    samples = tmp_path / "samples"
    (samples / "mr" / "one").mkdir(parents=True)
    (samples / "radiograph").mkdir()
    ill = radiograph_dataset(radiograph_pixels(pneumonia=True))
    (samples / "radiograph" / "ill.dcm").write_bytes(dicom_bytes(ill))
    for i, each in enumerate(mr_series()):
        (samples / "mr" / "one" / f"{i}.dcm").write_bytes(dicom_bytes(each))
    return {"released": tmp_path / "released", "samples": samples, "data": tmp_path / "absent"}


def measure(house: dict[str, Path], out: Path, only: list[str], **options: Any) -> list[dict[str, Any]]:
    console = Console(file=io.StringIO(), width=200)
    report = run(out, only=only, seconds=0.05, many=200, console=console, **house, **options)
    assert json.loads(out.read_text()) == json.loads(json.dumps(report))
    return report["rows"]


def test_an_accepted_input_has_an_explanation(house: dict[str, Path]) -> None:
    model = Model(next(house["released"].glob("tiny_chest*")))
    image, paths = inputs.accepted(model, house["samples"], house["data"])
    assert [path.name for path in paths] == ["ill.dcm"]
    assert model.predict(image).status == "scored"


def test_no_accepted_input_is_said_and_does_not_stop_the_bench(house: dict[str, Path], tmp_path: Path) -> None:
    rows = measure({**house, "samples": tmp_path / "none"}, tmp_path / "bench.json", ["radiograph"])
    assert [(row["value"], row["reached"]) for row in rows] == [(None, None)]
    assert "accepts none" in rows[0]["note"]


def test_unknown_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No part radiology; there are: radiograph"):
        run(tmp_path / "bench.json", only=["radiology"])


def test_image_and_risk_parts_give_every_ratio(
    house: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "WHOLE", (16, 24, 24))
    rows = measure(house, tmp_path / "bench.json", ["radiograph", "volume", "risk", "gpu"])
    names = " | ".join(row["name"] for row in rows)
    for expected in ("batch 1", "batch 8", "grad-cam", "openvino bf16", "best fp32 GEMM", "MONAI sliding window",
                     "LightGBM pred_contrib, one record", "CUDA over CPU"):
        assert expected in names
    assert all(row["value"] is None or np.isfinite(row["value"]) for row in rows)


def test_the_service_is_measured_from_outside_and_stopped(house: dict[str, Path], tmp_path: Path) -> None:
    rows = measure(house, tmp_path / "bench.json", ["service"], requests=20)
    assert [row["part"] for row in rows] == ["service"] * 3
    assert rows[0]["times"]["service_cpu_ms"] > 0
    assert len(rows[2]["times"]["pss_mb"]) == 5
