"""GPU: the same release on CUDA against the CPU: equal numbers, and how much faster."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.errors import BrokenModel
from models.model import Model
from training.bench.measure import interleave
from training.bench.radiograph import open_on
from training.bench.report import Row, missing

PART = "gpu"
AGREEMENT = 1e-3  # CUDA's convolutions may use TF32-free fp32 in another order


def bench_gpu(model: Model, one: NDArray[np.float32], seconds: float) -> list[Row]:
    """Measure one release on the GPU, or say that there is none. Wall time: a CPU clock does not see the GPU."""
    title = f"{model.manifest.name}: CUDA over CPU"
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return [missing(PART, title, "no GPU here (onnxruntime offers no CUDAExecutionProvider)")]
    try:
        other = open_on(model.folder, "cuda", "fp32")
    except BrokenModel as error:
        return [missing(PART, title, f"not measurable: {error}")]
    batch = np.repeat(one, 32, axis=0)
    here, there = model.session.run(batch), other.session.run(batch)
    gap = max(float((np.abs(here[r].astype(float) - there[r]) / (1 + np.abs(here[r]))).max()) for r in here)
    times = interleave({"cpu": lambda: model.session.run(batch), "gpu": lambda: other.session.run(batch)}, seconds)
    within = times["cpu"].wall_s / times["gpu"].wall_s
    return [
        Row(PART, f"{title}, batch 32", float(np.median(within)), "x", float(np.quantile(within, 0.1)),
            float(np.quantile(within, 0.9)), note=f"{other.session.backend}; wall time",
            times={name: one_call.to_json() for name, one_call in times.items()}),
        Row(PART, f"{model.manifest.name}: largest difference from the CPU", gap, "", bar=AGREEMENT, better="less"),
    ]
