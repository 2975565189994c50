"""The machine of a bench: processor, instructions, versions, its best GEMM, and how busy others kept it."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
import torch
from onnx import TensorProto, helper

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8")
PACKAGES = ("torch", "onnxruntime", "openvino", "monai", "grad-cam", "captum", "lightgbm", "numpy", "bentoml")
GEMM_SIDE = 1536


def cpu_flags() -> set[str]:
    """Return the processor's flags as Linux names them; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    flags = cpu_flags()
    return {
        "cpu": _cpu_name(), "cores": len(os.sched_getaffinity(0)), "threads": 1,
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1), "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}", "load_before": os.getloadavg()[0],
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def gemm_calls() -> dict[str, Any]:
    """Return one fp32 product of two square matrices a library, to be timed beside what is measured."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((GEMM_SIDE, GEMM_SIDE), dtype=np.float32) for _ in range(2))
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    shape = [GEMM_SIDE, GEMM_SIDE]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "gemm",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), one_thread(), providers=["CPUExecutionProvider"])
    return {"gemm torch": lambda: left @ right, "gemm onnxruntime": lambda: session.run(None, {"a": a, "b": b})}


def gemm_gflops(seconds: float) -> float:
    """Turn the time of one call of ``gemm_calls`` into GFLOP/s."""
    return 2 * GEMM_SIDE**3 / seconds / 1e9


def one_thread(threads: int = 1) -> onnxruntime.SessionOptions:
    """Return the options under which graphs are compared: as models/session.py sets them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class Others:
    """How much of the cores programs that are not ours used since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._all, self._own = _busy_s(), _own_s()

    def share(self) -> float:
        """Return CPU seconds of others over the seconds all cores had; a floor of 0."""
        passed = (time.perf_counter() - self._started) * psutil.cpu_count()
        others = (_busy_s() - self._all) - (_own_s() - self._own)
        return max(0.0, others / passed) if passed > 0 else 0.0


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _own_s() -> float:
    return float(sum(os.times()[:4]))  # this process and its children that ended


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str:
    try:
        return version(name).split("-")[0]
    except PackageNotFoundError:
        return ""
