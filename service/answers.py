"""The typed answers of /v1, and how results of models/ become them. The OpenAPI document is made from these classes."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.manifest import Code, Manifest
from models.prediction import Contribution, Explanation, Finding, Heatmap, Mask, Prediction, Refusal
from models.volume import Volume
from service.pipeline import Outcome
from service.problem import Problem

Language = Literal["en", "fr"]
NOTICE: dict[Language, str] = {
    "en": "Decision support: a result of AI, to be confirmed by a professional. Not a medical device.",
    "fr": "Aide à la décision : résultat d'IA à confirmer par un professionnel. Pas un dispositif médical.",
}


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class FindingAnswer(_Answer):
    """A calibrated probability (unit "1"), a volume (unit "mL") or a quantity. ``label`` is in the language asked for.

    A quantity lies between ``low`` and ``high`` with probability ``interval_level``. ``risk`` is the word for a probability.
    """

    name: str
    label: str
    code: Code
    kind: Literal["probability", "volume", "quantity"]
    value: float
    unit: str
    threshold: float | None
    above_threshold: bool | None
    logit: float | None
    low: float | None
    high: float | None
    interval_level: float | None
    risk: str


class ContributionAnswer(_Answer):
    """What one term adds to the logit of ``finding`` against the baseline; for a quantity, to its logarithm.

    ``value_text`` is the word a value stands for, empty where it is a number.
    """

    term: str
    label: str
    value: float | None
    unit: str
    logit: float
    odds_multiplier: float
    missing: bool
    code: Code | None
    reference_low: float | None
    reference_high: float | None
    flag: Literal["low", "normal", "high", ""]
    finding: str
    value_text: str


class HeatmapAnswer(_Answer):
    """A class activation map: mean(values) + bias[finding's map] = logit. Cell (r, c) sits at pixel r·stride + offset.

    ``peak`` is the centre of the strongest cell as shares of the image's height and width. ``values`` (rows, columns)
    is there when heatmap=array.
    """

    finding: str
    stride_px: float
    offset_px: tuple[float, float]
    input_shape: tuple[int, int]
    peak: tuple[float, float]
    values: list[list[float]] | None


class MaskAnswer(_Answer):
    """A segmentation on the slices that were sent. ``data`` (heatmap=array) is base64 of uint8 in C order (z, y, x)."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    data: str | None


class ExplanationAnswer(_Answer):
    """Why this score; ``completeness_error`` is |bias + parts - logit|, checked on every response."""

    method: str
    baseline: str
    bias: dict[str, float]
    heatmaps: list[HeatmapAnswer]
    contributions: list[ContributionAnswer]
    measurements: list[ContributionAnswer]
    mask: MaskAnswer | None
    completeness_error: float
    completeness_tolerance: float
    note: str


class IdentityAnswer(_Answer):
    """What made the result, so that it can be made again or disputed."""

    manifest_sha256: str
    onnx_sha256: str
    input_sha256: str
    backend: str
    precision: str
    software: str


class _ResultAnswer(_Answer):
    status: Literal["scored", "refused"]
    model: str
    version: str
    title: str
    identity: IdentityAnswer
    quality: dict[str, float]
    flags: tuple[str, ...]
    timings_ms: dict[str, float]
    picture: Annotated[str | None, Field(description="Base64 of a PNG, when asked for.")]


class ScoredAnswer(_ResultAnswer):
    """A score a clinician may consider. The first finding is the main one."""

    status: Literal["scored"] = "scored"
    findings: list[FindingAnswer]
    explanation: ExplanationAnswer


class RefusedAnswer(_ResultAnswer):
    """The model declines: ``reason`` for programs, ``message`` and ``advice`` for people. A result, not an error."""

    status: Literal["refused"] = "refused"
    reason: str
    message: str
    advice: str


ResultAnswer = Annotated[ScoredAnswer | RefusedAnswer, Field(discriminator="status")]


class SeriesAnswer(_Answer):
    """What became of one series. ``refused``: no model would score it, and each says why, the nearest fit first.

    ``unusable``: this series could not be read, for the reason in ``problem``; others of the request may be fine.
    """

    status: Literal["scored", "refused", "unusable"]
    series_uid: str
    files: int
    modality: str
    shape: tuple[int, ...]
    warnings: tuple[str, ...]
    results: list[ResultAnswer]
    problem: Problem | None


class ImagesAnswer(_Answer):
    """Answer of POST /v1/images."""

    request_id: str
    notice: str
    series: list[SeriesAnswer]
    ignored_files: int
    timings_ms: dict[str, float]


class RecordAnswer(_Answer):
    """Answer of POST /v1/records."""

    request_id: str
    notice: str
    status: Literal["scored", "refused"]
    results: list[ResultAnswer]
    timings_ms: dict[str, float]


class ModelLine(_Answer):
    """One release in the list of models."""

    id: str
    name: str
    version: str
    title: str
    task: Literal["image_classification", "volume_segmentation", "risk", "department"]
    summary: str
    active: bool
    backend: str
    precision: str
    not_a_medical_device: str


class ModelsAnswer(_Answer):
    """Answer of GET /v1/models."""

    models: list[ModelLine]


def result_answer(outcome: Outcome, language: Language, *, arrays: bool) -> ScoredAnswer | RefusedAnswer:
    """Write one result. ``arrays`` adds the numbers of heat maps and masks."""
    result = outcome.result
    identity = result.identity
    shared: dict[str, Any] = {
        "model": outcome.model.name,
        "version": outcome.model.version,
        "title": _in(language, outcome.model.title, outcome.model.title_fr),
        "identity": IdentityAnswer.model_validate(
            {name: getattr(identity, name) for name in IdentityAnswer.model_fields}
        ),
        "quality": result.quality,
        "flags": result.flags,
        "timings_ms": {name: round(value, 3) for name, value in result.timings_ms.items()},
        "picture": None if outcome.picture is None else base64.b64encode(outcome.picture).decode(),
    }
    if isinstance(result, Refusal):
        return RefusedAnswer(reason=str(result.reason), message=result.message, advice=result.advice, **shared)
    return ScoredAnswer(
        findings=[_finding(one, language) for one in result.findings],
        explanation=_explanation(result.explanation, language, arrays),
        **shared,
    )


def series_answer(
    source: Volume, files: int, outcomes: list[Outcome], language: Language, *, arrays: bool
) -> SeriesAnswer:
    """Write what became of a series that could be read."""
    scored = any(isinstance(outcome.result, Prediction) for outcome in outcomes)
    return SeriesAnswer(
        status="scored" if scored else "refused", series_uid=source.header.series_uid, files=files,
        modality=source.header.modality, shape=source.shape, warnings=source.warnings,
        results=[result_answer(outcome, language, arrays=arrays) for outcome in outcomes], problem=None,
    )


def unusable_answer(files: int, problem: Problem) -> SeriesAnswer:
    """Write what became of a series that could not be read."""
    return SeriesAnswer(status="unusable", series_uid="", files=files, modality="", shape=(), warnings=(),
                        results=[], problem=problem)


def model_line(manifest: Manifest, *, active: bool, backend: str, precision: str) -> ModelLine:
    """Write one release's line."""
    return ModelLine(id=manifest.id, name=manifest.name, version=manifest.version, title=manifest.title,
                     task=manifest.task, summary=manifest.summary, active=active, backend=backend,
                     precision=precision, not_a_medical_device=manifest.intended_use.regulatory)


def _finding(one: Finding, language: Language) -> FindingAnswer:
    return FindingAnswer(name=one.name, label=_in(language, one.label, one.label_fr), code=one.code, kind=one.kind,
                         value=one.value, unit=one.unit, threshold=one.threshold,
                         above_threshold=one.above_threshold, logit=one.logit, low=one.low, high=one.high,
                         interval_level=one.interval_level, risk=one.risk)


def _explanation(one: Explanation, language: Language, arrays: bool) -> ExplanationAnswer:
    return ExplanationAnswer(
        method=one.method, baseline=one.baseline, bias=one.bias,
        heatmaps=[_heatmap(heatmap, arrays) for heatmap in one.heatmaps],
        contributions=[_contribution(part, language) for part in one.contributions],
        measurements=[_contribution(part, language) for part in one.measurements],
        mask=None if one.mask is None else _mask(one.mask, arrays),
        completeness_error=one.completeness_error, completeness_tolerance=one.completeness_tolerance,
        note=_in(language, one.note, one.note_fr),
    )


def _heatmap(one: Heatmap, arrays: bool) -> HeatmapAnswer:
    row, column = divmod(int(one.values.argmax()), one.values.shape[1])
    peak = ((row * one.stride_px + one.offset_px[0]) / one.input_shape[0],
            (column * one.stride_px + one.offset_px[1]) / one.input_shape[1])
    return HeatmapAnswer(finding=one.finding, stride_px=one.stride_px, offset_px=one.offset_px, peak=peak,
                         input_shape=one.input_shape, values=one.values.tolist() if arrays else None)


def _mask(one: Mask, arrays: bool) -> MaskAnswer:
    data = base64.b64encode(one.labels.astype("uint8").tobytes()).decode() if arrays else None
    return MaskAnswer(names=one.names, shape=one.labels.shape, data=data)


def _contribution(one: Contribution, language: Language) -> ContributionAnswer:
    return ContributionAnswer(
        term=one.term, label=_in(language, one.label, one.label_fr), value=one.value, unit=one.unit, logit=one.logit,
        odds_multiplier=one.odds_multiplier, missing=one.missing, code=one.code, reference_low=one.reference_low,
        reference_high=one.reference_high, flag=one.flag, finding=one.finding,
        value_text=_in(language, one.value_text, one.value_text_fr),
    )


def _in(language: Language, english: str, french: str) -> str:
    return french if language == "fr" and french else english
