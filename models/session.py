"""Session: one ONNX graph on the fastest provider that is sound here. The only file that imports a runtime.

Providers are tried GPU first (TensorRT, CUDA), then OpenVINO in bf16 where the CPU has the instructions and the
release passed the gate, then onnxruntime on the CPU, which is the reference.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.errors import BrokenModel
from models.golden import golden_faults, read_golden
from models.manifest import Manifest, Precision

Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Arrays = dict[str, NDArray[Any]]
Runner = Callable[[list[str], NDArray[Any]], list[NDArray[Any]]]

ORT_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
OPENVINO_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}
LOG = logging.getLogger(__name__)


def usable_cores() -> int:
    """Count the cores this process may use, which in a container is fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# One graph run per core at a time: more only makes all of them slower.
_CORES = threading.BoundedSemaphore(usable_cores())


@dataclass(frozen=True)
class SessionOptions:
    """Where and how to run. ``threads`` is for one run; many runs side by side serve better than one wide run.

    ``gated=False`` lets a precision run that has no passed gate in the manifest: only for measuring that gate.
    """

    provider: Provider = "auto"
    precision: PrecisionName = "auto"
    threads: int = 1
    gated: bool = True


DEFAULT_OPTIONS = SessionOptions()


class Session:
    """A loaded graph. ``backend`` and ``precision`` say what really runs, and travel in every result."""

    def __init__(self, folder: Path, manifest: Manifest, options: SessionOptions = DEFAULT_OPTIONS) -> None:
        """Load, warm up and check the graph's names. Raises BrokenModel when what was asked for cannot be had."""
        self.folder = folder
        self.manifest = manifest
        self.roles = tuple(manifest.graph.outputs)
        self._names = [manifest.graph.outputs[role] for role in self.roles]
        self.backend, self.provider, self.precision = "", "", "fp32"
        golden = read_golden(folder)
        causes = []
        for provider, precision in self._choices(options):
            try:
                self._open(provider, precision, options.threads)
                faults = self._trial(golden, provider, precision)
            except BrokenModel as error:
                if options.provider != "auto":
                    raise
                faults = [str(error)]
            if not faults:
                return
            causes.append(f"{provider} {precision}: {'; '.join(faults)}")
            LOG.warning("%s: not run on %s in %s: %s", folder.name, provider, precision, faults[0])
        raise BrokenModel(f"{folder.name}: golden inputs must reproduce. {' | '.join(causes)}")

    def run(self, batch: NDArray[Any], roles: tuple[str, ...] | None = None) -> Arrays:
        """Run a batch (axis 0) and return arrays by role; all roles unless some are named.

        Thread-safe. At most one run a core goes on at a time; others wait.
        """
        if roles is None:
            roles, names = self.roles, self._names
        else:
            names = [self.manifest.graph.outputs[role] for role in roles]
        with _CORES:
            return dict(zip(roles, self._run(names, batch), strict=True))

    def faults(self, golden: Arrays) -> list[str]:
        """Return which golden inputs do not reproduce on this backend at this precision; empty when all do."""
        gate = _gate(self.manifest, self.provider, self.precision)
        return golden_faults(self.run, golden, self.manifest, self.precision, gate)

    def _choices(self, options: SessionOptions) -> list[tuple[str, str]]:
        wanted = options.precision
        if options.provider != "auto":
            return [
                (options.provider, self._allowed(options.provider, "fp32" if wanted == "auto" else wanted, options))
            ]
        choices = []
        available = onnxruntime.get_available_providers()
        for provider in ("tensorrt", "cuda"):
            if ORT_PROVIDERS[provider] in available and wanted in ("auto", "fp32"):
                choices.append((provider, "fp32"))
            elif ORT_PROVIDERS[provider] in available and _gate(self.manifest, provider, wanted):
                choices.append((provider, wanted))
        if (
            wanted in ("auto", "bf16")
            and _gate(self.manifest, "openvino", "bf16")
            and cpu_has_bf16()
            and has_openvino()
        ):
            choices.append(("openvino", "bf16"))
        if wanted not in ("auto", "fp32") and not choices:
            raise BrokenModel(
                f"{self.folder.name}: precision {wanted} needs a passed gate in manifest.precisions and a device that "
                "has it, found none. Ask for fp32 or auto."
            )
        if wanted in ("auto", "fp32"):
            choices.append(("cpu", "fp32"))
        return choices

    def _allowed(self, provider: str, precision: str, options: SessionOptions) -> str:
        if options.gated and precision != "fp32" and _gate(self.manifest, provider, precision) is None:
            raise BrokenModel(
                f"{self.folder.name}: {precision} on {provider} must pass its gate first, found no entry in "
                "manifest.precisions. Ask for fp32, or release again with the gate."
            )
        return precision

    def _open(self, provider: str, precision: str, threads: int) -> None:
        graph = self.manifest.graph
        if provider == "openvino":
            path = self._file(precision if precision == "int8" else "fp32")
            self._run, self.backend, inputs, outputs = _open_openvino(path, precision, threads)
        else:
            # TensorRT changes precision by itself; CUDA and CPU need a graph that was converted and released.
            path = self._file("fp32" if provider == "tensorrt" else precision)
            self._run, self.backend, inputs, outputs = _open_onnxruntime(path, provider, precision, threads)
        self.provider, self.precision = provider, precision
        if inputs != [graph.input]:
            raise BrokenModel(f"{self.folder.name}: the graph must have the one input {graph.input!r}, found {inputs}.")
        absent = [name for name in self._names if name not in outputs]
        if absent:
            raise BrokenModel(f"{self.folder.name}: the graph must have the outputs {absent}, found {outputs}.")

    def _file(self, precision: str) -> Path:
        name = "model.onnx" if precision == "fp32" else f"model.{precision}.onnx"
        if name not in self.manifest.files:
            raise BrokenModel(f"{self.folder.name}: {precision} needs the file {name} in the release, found none.")
        return self.folder / name

    def _trial(self, golden: Arrays, provider: str, precision: str) -> list[str]:
        """Warm up; a precision other than the reference must also reproduce the golden inputs before it may serve."""
        try:
            if precision == "fp32" and provider == "cpu":
                self.run(golden["input"][:1])
                return []
            return self.faults(golden)
        except Exception as error:  # each runtime has its own exception classes
            raise BrokenModel(f"{self.folder.name}: the graph does not run on {provider}: {_brief(error)}") from error


def has_openvino() -> bool:
    """Say whether the openvino extra is installed."""
    try:
        import openvino  # noqa: F401, PLC0415  an optional extra
    except ImportError:
        return False
    return True


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Say whether this CPU multiplies bf16 in hardware (AMX or AVX512-BF16); False when that cannot be read."""
    try:
        with cpuinfo.open(encoding="utf-8") as file:
            return any(BF16_FLAGS & set(line.split()) for line in file if line.startswith("flags"))
    except OSError:
        return False


def _gate(manifest: Manifest, provider: str, precision: str) -> Precision | None:
    return next((p for p in manifest.precisions if (p.backend, p.precision) == (provider, precision)), None)


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _open_onnxruntime(
    path: Path, provider: str, precision: str, threads: int
) -> tuple[Runner, str, list[str], list[str]]:
    """Open on one onnxruntime provider. Raises BrokenModel when the session quietly fell back to another."""
    wanted = ORT_PROVIDERS[provider]
    if wanted not in onnxruntime.get_available_providers():
        raise BrokenModel(
            f"{path.parent.name}: {provider} was asked for, this onnxruntime has none. Use provider=auto."
        )
    if provider != "cpu" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA libraries that came as Python packages
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a waiting thread must not burn a core
    settings: dict[str, Any] = {}
    if provider == "tensorrt":
        settings = {"trt_fp16_enable": precision == "fp16", "trt_bf16_enable": precision == "bf16"}
    elif provider == "cuda":
        settings = {"use_tf32": "0"}  # TF32 keeps 10 bits; completeness and parity are promised for fp32
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[(wanted, settings)])
    except Exception as error:  # onnxruntime raises unrelated classes for damaged graphs
        raise BrokenModel(f"{path.parent.name}: onnxruntime cannot load {path.name}: {_brief(error)}") from error
    if session.get_providers()[0] != wanted:
        raise BrokenModel(
            f"{path.parent.name}: {wanted} was asked for, the session runs on {session.get_providers()[0]}."
        )
    inputs = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]
    backend = f"onnxruntime {onnxruntime.__version__} {wanted}"
    if provider == "cpu":
        name = inputs[0]
        return (lambda names, batch: session.run(names, {name: batch})), backend, inputs, outputs
    return bound_runner(session, "cuda"), backend, inputs, outputs


def bound_runner(session: onnxruntime.InferenceSession, device: str) -> Runner:
    """Return a runner that copies the batch to the device once and brings back only the roles asked for."""
    name = session.get_inputs()[0].name

    def run(names: list[str], batch: NDArray[Any]) -> list[NDArray[Any]]:
        binding = session.io_binding()
        held = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(batch), device, 0)
        binding.bind_ortvalue_input(name, held)
        for output in names:
            binding.bind_output(output, device)
        session.run_with_iobinding(binding)
        arrays: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return arrays

    return run


def _open_openvino(path: Path, precision: str, threads: int) -> tuple[Runner, str, list[str], list[str]]:
    """Open with OpenVINO on the CPU. Its default precision is bf16 where the CPU has it, so the hint is always set."""
    try:
        import openvino  # noqa: PLC0415  an optional extra
    except ImportError as error:
        raise BrokenModel("openvino was asked for and is not installed. Install diaphane[openvino].") from error
    hint = OPENVINO_HINTS.get(precision, "f32")  # an int8 graph keeps its other layers in f32
    try:
        core = openvino.Core()
        compiled = core.compile_model(
            core.read_model(path),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": hint,
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,
            },
        )
    except Exception as error:  # openvino raises RuntimeError and its own classes
        raise BrokenModel(f"{path.parent.name}: openvino cannot load {path.name}: {_brief(error)}") from error
    ports = {name: port for port in compiled.outputs for name in port.names}
    mine = threading.local()

    def run(names: list[str], batch: NDArray[Any]) -> list[NDArray[Any]]:
        request = getattr(mine, "request", None)
        if request is None:
            request = mine.request = compiled.create_infer_request()
        request.infer([batch], share_inputs=True)
        return [request.get_tensor(ports[name]).data.copy() for name in names]

    backend = f"openvino {openvino.__version__.split('-')[0]} CPU"
    return run, backend, [port.get_any_name() for port in compiled.inputs], list(ports)
