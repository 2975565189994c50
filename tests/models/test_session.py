"""Session: what was asked for is what runs, threads are capped, and faster precisions must earn their place."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models import session as session_module
from models.errors import BrokenModel
from models.manifest import read_manifest, write_manifest
from models.session import (
    DEFAULT_OPTIONS,
    Session,
    SessionOptions,
    bound_runner,
    cpu_has_bf16,
    has_openvino,
    usable_cores,
)
from tests.make import tiny_release

GATED = {
    "precisions": [
        {
            "backend": "openvino",
            "precision": "bf16",
            "max_probability_change": 0.03,
            "flips": 0.0,
            "same_peak": 1.0,
            "inputs": 100,
        }
    ]
}
needs_openvino = pytest.mark.skipif(not has_openvino(), reason="the openvino extra is not installed")


def opened(folder: Path, options: SessionOptions = DEFAULT_OPTIONS) -> Session:
    return Session(folder, read_manifest(folder), options)


def test_run_returns_every_role_of_the_manifest(tmp_path: Path) -> None:
    session = opened(tiny_release(tmp_path, "image_classification"))
    arrays = session.run(np.full((3, 1, 192, 192), 110, np.float32))
    assert {role: array.shape for role, array in arrays.items()} == {
        "probability": (3, 3),
        "logit": (3, 2),
        "map": (3, 2, 12, 12),
        "ood": (3, 2),
    }


def test_run_computes_only_the_roles_that_are_named(tmp_path: Path) -> None:
    session = opened(tiny_release(tmp_path, "image_classification"))
    assert list(session.run(np.zeros((1, 1, 192, 192), np.float32), ("logit",))) == ["logit"]


def test_backend_and_precision_say_what_runs(tmp_path: Path) -> None:
    session = opened(tiny_release(tmp_path, "risk"), SessionOptions(provider="cpu"))
    assert (session.backend, session.precision) == (
        f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider",
        "fp32",
    )


def test_a_provider_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BrokenModel, match="cuda was asked for, this onnxruntime has none"):
        opened(tiny_release(tmp_path, "risk"), SessionOptions(provider="cuda"))


@pytest.fixture
def quiet_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release on a machine that lost its driver: it lists CUDA, and the session it gives runs on the CPU."""
    folder = tiny_release(tmp_path, "risk")
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: real(path, options, providers=["CPUExecutionProvider"]),
    )
    return folder


def test_auto_falls_back_to_the_cpu_when_the_gpu_does_not_open(
    quiet_fallback: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        session = opened(quiet_fallback)
    assert session.provider == "cpu"
    assert "not run on cuda" in caplog.text


def test_an_explicit_gpu_that_quietly_fell_back_is_an_error(quiet_fallback: Path) -> None:
    with pytest.raises(BrokenModel, match="CUDAExecutionProvider was asked for, the session runs on CPUExecution"):
        opened(quiet_fallback, SessionOptions(provider="cuda"))


def test_bound_run_gives_the_same_arrays_as_a_plain_run(tmp_path: Path) -> None:
    """The GPU path binds inputs and outputs to the device; here the device is the CPU."""
    folder = tiny_release(tmp_path, "image_classification")
    plain = opened(folder)
    batch = np.linspace(0, 255, 2 * 192 * 192, dtype=np.float32).reshape(2, 1, 192, 192)
    raw = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    found = bound_runner(raw, "cpu")(["logit", "map"], batch)
    expected = plain.run(batch, ("logit", "map"))
    assert np.array_equal(expected["logit"], found[0])
    assert np.array_equal(expected["map"], found[1])


def test_a_precision_without_a_passed_gate_does_not_exist(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "image_classification")
    with pytest.raises(BrokenModel, match="bf16 on openvino must pass its gate first"):
        opened(folder, SessionOptions(provider="openvino", precision="bf16"))
    with pytest.raises(BrokenModel, match="precision bf16 needs a passed gate"):
        opened(folder, SessionOptions(precision="bf16"))


def test_a_converted_graph_that_was_not_released_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match=r"fp16 needs the file model\.fp16\.onnx"):
        opened(tiny_release(tmp_path, "risk"), SessionOptions(provider="cpu", precision="fp16", gated=False))


@needs_openvino
def test_openvino_in_fp32_agrees_with_onnxruntime(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "image_classification")
    other = opened(folder, SessionOptions(provider="openvino"))
    batch = np.linspace(0, 255, 3 * 192 * 192, dtype=np.float32).reshape(3, 1, 192, 192)
    expected, found = opened(folder).run(batch), other.run(batch)
    assert other.backend.startswith("openvino ")
    for role in expected:
        np.testing.assert_allclose(found[role], expected[role], rtol=1e-4, atol=1e-4)


@needs_openvino
def test_openvino_answers_from_several_threads_are_their_own(tmp_path: Path) -> None:
    session = opened(tiny_release(tmp_path, "image_classification"), SessionOptions(provider="openvino"))
    batches = [np.full((1, 1, 192, 192), 20.0 * k, np.float32) for k in range(8)]
    found: dict[int, float] = {}

    def work(k: int) -> None:
        for _ in range(5):
            found[k] = float(session.run(batches[k], ("ood",))["ood"][0, 0])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {k: abs(20.0 * k - 118) for k in range(8)} == pytest.approx(found, abs=0.01)


@needs_openvino
def test_bf16_is_chosen_only_with_the_instructions_and_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = tiny_release(tmp_path / "a", "image_classification", **GATED)
    ungated = tiny_release(tmp_path / "b", "image_classification")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    chosen = []
    for folder, has_it in ((gated, True), (gated, False), (ungated, True)):
        monkeypatch.setattr(session_module, "cpu_has_bf16", lambda has_it=has_it: has_it)
        session = opened(folder)
        chosen.append((session.provider, session.precision))
    assert chosen == [("openvino", "bf16"), ("cpu", "fp32"), ("cpu", "fp32")]


@needs_openvino
def test_bf16_that_does_not_reproduce_the_golden_inputs_is_left_for_fp32(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tiny_release(tmp_path, "image_classification", **GATED)
    monkeypatch.setattr(session_module, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(session_module, "golden_faults", lambda *args: ["probability differs by 0.5, allowed 0.06"])
    with caplog.at_level(logging.WARNING):
        session = opened(folder)
    assert (session.provider, session.precision) == ("cpu", "fp32")
    assert "not run on openvino in bf16: probability differs" in caplog.text


def test_openvino_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    assert has_openvino() is False
    with pytest.raises(BrokenModel, match="openvino was asked for and is not installed"):
        opened(tiny_release(tmp_path, "risk"), SessionOptions(provider="openvino"))


@needs_openvino
def test_a_graph_openvino_cannot_read_is_named(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(BrokenModel, match=r"openvino cannot load model\.onnx"):
        opened(folder, SessionOptions(provider="openvino"))


def test_graph_without_the_roles_the_manifest_names_is_broken(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    manifest = read_manifest(folder)
    wrong = manifest.graph.model_copy(update={"outputs": {**manifest.graph.outputs, "ood": "absent"}})
    with pytest.raises(BrokenModel, match=r"must have the outputs \['absent'\]"):
        Session(folder, manifest.model_copy(update={"graph": wrong}))
    wrong = manifest.graph.model_copy(update={"input": "pixels"})
    with pytest.raises(BrokenModel, match="must have the one input 'pixels'"):
        Session(folder, manifest.model_copy(update={"graph": wrong}))


def test_graph_that_cannot_run_its_golden_input_is_broken(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    np.savez(folder / "golden.npz", input=np.zeros((1, 7), np.float32))
    with pytest.raises(BrokenModel, match="the graph does not run on cpu"):
        opened(folder)


def test_a_damaged_graph_is_named_without_a_stack_of_runtime_text(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    (folder / "model.onnx").write_bytes(b"\x00" * 100)
    with pytest.raises(BrokenModel, match=r"onnxruntime cannot load model\.onnx"):
        opened(folder, SessionOptions(provider="cpu"))


def test_no_more_runs_go_on_at_once_than_there_are_cores(tmp_path: Path) -> None:
    session = opened(tiny_release(tmp_path, "risk"))
    running, most = [0], [0]
    lock = threading.Lock()

    def slow(names: list[str], batch: np.ndarray) -> list[np.ndarray]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return [batch for _ in names]

    session._run = slow
    threads = [threading.Thread(target=session.run, args=(np.zeros((1, 4), np.float32),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == usable_cores()


def test_cpu_flags_decide_on_bf16(tmp_path: Path) -> None:
    with_it, without = tmp_path / "amx", tmp_path / "avx2"
    with_it.write_text("processor : 0\nflags\t\t: fpu avx512_bf16 amx_bf16\n")
    without.write_text("processor : 0\nflags\t\t: fpu avx2\n")
    assert [cpu_has_bf16(with_it), cpu_has_bf16(without), cpu_has_bf16(tmp_path / "none")] == [True, False, False]


def test_a_manifest_written_again_still_opens(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    write_manifest(folder, read_manifest(folder))
    assert opened(folder).precision == "fp32"
