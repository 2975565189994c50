"""The manifest of a classifier that others trained: what the description tells, what the graph shows, and "unknown"."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import ValidationError

from models.errors import BrokenModel
from models.manifest import Manifest
from training.adopt.description import OWN_CODES, UNKNOWN, Description, Shown, place_of
from training.adopt.graph_file import opset_of
from training.adopt.surgery import INPUT, ROLES, Grafted
from training.provenance import commit, machine, versions

COMMISSION = "Not evaluated here: commission it on the site's own archive before anybody relies on it."
ALWAYS = ("Do not use it for a decision before it was commissioned here.",)


class Place(Protocol):
    """Where a map lies on the input."""

    @property
    def stride_px(self) -> float: ...

    @property
    def offset_px(self) -> tuple[float, float]: ...

    @property
    def reason(self) -> str: ...


def manifest_of(description: Description, grafted: Grafted, placed: Place, sealed_by: str) -> Manifest:
    """Join what is told and what was found; files are hashed when the folder is sealed."""
    size, stride = description.input, placed.stride_px
    told: dict[str, Any] = {
        "name": description.name, "version": description.version, "title": description.title, "title_fr": description.title_fr,
        "task": "image_classification", "summary": description.summary, "licence": description.licence,
        "contact": description.contact, "accepts": description.accepts.model_dump(),
        "steps": [step.model_dump() for step in description.steps],
        "graph": {"input": INPUT, "input_shape": ["batch", 1, size.rows, size.columns], "outputs": ROLES,
                  "opset": opset_of(grafted.model)},
        "outputs": [_output(one) for one in description.outputs],
        "refuses": {"ood": [], **description.refuses.model_dump()},
        "explains": {
            "method": "class_activation_map", "baseline": "a map of zeros: the logit is then the bias alone",
            "completeness_tolerance": 1e-4, "stride_px": stride, "offset_px": list(placed.offset_px),
            "offset_reason": placed.reason, "upsampling": "bicubic",
            "bias": {str(k): float(value) for k, value in enumerate(grafted.bias)},
            "note": f"Zone that contributed most to the score; it does not outline the lesion. Resolution about {stride:g} pixels "
                    f"of the {size.rows} x {size.columns} input.",
            "note_fr": "Zone ayant le plus contribué au score ; ne délimite pas la lésion. Précision d'environ "
                       f"{stride:g} pixels de l'image d'entrée {size.rows} x {size.columns}.",
            "known_limits": [
                "A cell of the map sees more of the image than its own tile.",
                "Explanations do not protect a reader from a wrong score: form your own opinion first.",
                "Nobody has looked at whether the maps of this model point at what a reader would.",
            ],
        },
        "writes": description.writes,
        "intended_use": _use(description),
        "training_data": {
            "name": description.training_data.name, "description": description.training_data.description,
            "period": description.training_data.period, "licence": description.training_data.licence,
            "citation": description.training_data.citation, "counts": description.training_data.counts,
            "split": description.training_data.split, "sha256": UNKNOWN,
            "cautions": [*description.training_data.cautions, "What is said of these data was told by others, and not checked."],
        },
        "provenance": {"recipe_sha256": sealed_by, "seed": 0, "git_commit": commit(), "versions": versions(), "machine": machine(),
                       "created": datetime.now(UTC).date().isoformat()},
        "files": {},
    }
    try:
        return Manifest.model_validate(told)
    except ValidationError as error:
        raise BrokenModel(f"The description makes no valid manifest at {place_of(error)}: "
                          f"{error.errors(include_input=False)[0]['msg']}.") from error


def _output(one: Shown) -> dict[str, Any]:
    code = one.code.model_dump() if one.code else {"system": OWN_CODES, "code": one.name, "display": one.label}
    return {
        "name": one.name, "label": one.label, "label_fr": one.label if one.label_fr == UNKNOWN else one.label_fr, "code": code,
        "kind": "probability", "unit": "1", "index": one.column, "map_index": one.column, "threshold": one.threshold,
        "threshold_reason": one.threshold_reason, "calibrated": False,
    }


def _use(description: Description) -> dict[str, Any]:
    use = description.intended_use
    limits = [COMMISSION, "Outsiders are not recognised: there are no limits yet for images unlike those it learnt from."]
    if description.head.operating_points:
        limits.append("The figures are stretched so that each operating point is 0.5: they are no probabilities of anything.")
    return {
        "purpose": use.purpose, "users": use.users, "population": use.population, "decision_role": use.decision_role,
        "must_not": [*use.must_not, *ALWAYS], "limits": [*use.limits, *limits],
        "human_oversight": use.human_oversight,
    }
