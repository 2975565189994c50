"""What Model.predict returns: a Prediction, or a Refusal with its reason. Both are results and travel the same way."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.manifest import Code

# Of a field that to_json leaves out: what is watched of an input is no part of the answer, nor of what is kept of it.
UNTOLD = {"untold": True}


class Reason(StrEnum):
    """Why a model declines, as a word a program can act on. The order is the order of checking."""

    WRONG_MODALITY = "wrong_modality"
    WRONG_BODY_PART = "wrong_body_part"
    WRONG_VIEW = "wrong_view"
    WRONG_AGE = "wrong_age"
    WRONG_GEOMETRY = "wrong_geometry"  # field of view, spacing or number of slices outside what the model was made for
    TOO_SMALL = "too_small"
    BLANK = "blank"
    CLIPPED = "clipped"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    TOO_FEW_MEASUREMENTS = "too_few_measurements"
    IMPOSSIBLE_VALUE = "impossible_value"
    INCOMPLETE_EXPLANATION = "incomplete_explanation"  # the parts do not sum to the score: the score is not given


@dataclass(frozen=True)
class Identity:
    """Everything that made a result: model, files, input and machine, so it can be made again or disputed."""

    model: str
    version: str
    manifest_sha256: str
    onnx_sha256: str
    input_sha256: str
    backend: str  # for example "onnxruntime 1.31.1 CPUExecutionProvider"
    precision: str  # fp32, bf16, fp16, int8
    software: str  # diaphane and its version


@dataclass(frozen=True)
class Finding:
    """One output for a person: a calibrated probability (unit "1"), a volume (unit "mL") or a quantity with its interval."""

    name: str
    label: str
    label_fr: str
    code: Code
    kind: Literal["probability", "volume", "quantity"]
    value: float
    unit: str
    threshold: float | None = None
    above_threshold: bool | None = None
    logit: float | None = None  # the score on the scale of ``explains.link``
    low: float | None = None  # of a quantity: the interval that holds the truth with probability ``interval_level``
    high: float | None = None
    interval_level: float | None = None
    risk: str = ""  # negligible, low, moderate or high, where the release states bands


@dataclass(frozen=True)
class Heatmap:
    """A class activation map: ``values`` float32 (rows, columns) whose mean plus bias is the finding's logit.

    ``stride_px`` and ``offset_px`` place cell (r, c) at pixel (r * stride + offset) of the model's input image
    (measured on a phantom at export); ``input_shape`` is that image's (rows, columns). Absent below the threshold.
    Where a step cropped the image, offset and shape are those of the input had it not been cropped.
    """

    finding: str
    values: NDArray[np.float32]
    stride_px: float
    offset_px: tuple[float, float]
    input_shape: tuple[int, int]
    # Where a step cropped: the part that the model saw, (top, left, bottom, right) in the same pixels; None: all of it.
    seen_px: tuple[float, float, float, float] | None = field(default=None, metadata=UNTOLD)


@dataclass(frozen=True)
class Mask:
    """A segmentation on the slices that were sent: ``labels`` uint8 (z, y, x), ``names`` of label 1, 2, …"""

    labels: NDArray[np.uint8]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Contribution:
    """What one term adds to the logit, against the declared baseline, with what a reader needs to judge it.

    With the link "log" the same numbers are the part of the logarithm, and ``odds_multiplier`` multiplies the quantity.
    """

    term: str
    label: str
    label_fr: str
    value: float | None  # None when missing, or for a pair of features
    unit: str
    logit: float
    odds_multiplier: float
    missing: bool
    code: Code | None = None
    reference_low: float | None = None
    reference_high: float | None = None
    flag: Literal["low", "normal", "high", ""] = ""
    finding: str = ""  # name of the finding it is a part of
    value_text: str = ""  # the word a value stands for
    value_text_fr: str = ""


@dataclass(frozen=True)
class Explanation:
    """Why this score. ``completeness_error`` is |bias + parts - logit|, checked on every response."""

    method: str
    baseline: str
    bias: dict[str, float] = field(default_factory=dict)
    heatmaps: tuple[Heatmap, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    measurements: tuple[Contribution, ...] = ()  # the contributions gathered by what was measured; the same sum
    mask: Mask | None = None
    completeness_error: float = 0.0
    completeness_tolerance: float = 0.0
    note: str = ""
    note_fr: str = ""


@dataclass(frozen=True)
class Prediction:
    """A score a clinician may consider. ``flags`` are remarks that lower trust without forbidding the score."""

    identity: Identity
    findings: tuple[Finding, ...]
    explanation: Explanation
    quality: dict[str, float] = field(default_factory=dict)  # out-of-distribution scores, as share of their limits
    flags: tuple[str, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    status: Literal["scored"] = "scored"
    input_statistics: dict[str, float] = field(default_factory=dict, compare=False, repr=False, metadata=UNTOLD)

    @property
    def main(self) -> Finding:
        """The finding to show first: the first output of the manifest."""
        return self.findings[0]


@dataclass(frozen=True)
class Refusal:
    """The model declines: ``reason`` for programs, ``message`` says rule and what was found, ``advice`` what to do."""

    identity: Identity
    reason: Reason
    message: str
    advice: str
    quality: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    status: Literal["refused"] = "refused"
    input_statistics: dict[str, float] = field(default_factory=dict, compare=False, repr=False, metadata=UNTOLD)


Result = Prediction | Refusal


def to_json(result: Any, *, arrays: bool = False) -> Any:
    """Turn a result into JSON-ready values. Arrays become nested lists, or only their shape unless ``arrays``."""
    if isinstance(result, np.ndarray):
        return result.tolist() if arrays else {"shape": list(result.shape)}
    if hasattr(result, "model_dump"):
        return result.model_dump(mode="json")
    if is_dataclass(result) and not isinstance(result, type):
        return {f.name: to_json(getattr(result, f.name), arrays=arrays) for f in fields(result) if not f.metadata.get("untold")}
    if isinstance(result, dict):
        return {str(k): to_json(v, arrays=arrays) for k, v in result.items()}
    if isinstance(result, list | tuple):
        return [to_json(v, arrays=arrays) for v in result]
    if isinstance(result, np.generic):
        return result.item()
    return result
