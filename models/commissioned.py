"""What commissioning found: how one release does on the people and machines of one site, and whether it may go live there.

``python -m training commission`` writes it as commissioning.json; ``python -m service release sign`` binds a named person to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import UnusableInput
from models.reference import Reference

Decision = Literal["go", "go_with_conditions", "no_go"]
_LARGEST = 32 * 1024 * 1024


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Figure(_Part):
    """One figure with its 95 % interval. ``n`` is what it is a figure of (cases with that outcome, answers, …)."""

    name: str  # sensitivity, specificity, ppv, npv, auroc, brier, calibration_slope, calibration_in_the_large, refused, failed, …
    output: str = ""  # of the release; empty: of the release as a whole
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Subgroup(_Part):
    """The figures of some of the cases."""

    by: str  # sex, age, view, manufacturer, device, site, …
    group: str
    n: int
    figures: tuple[Figure, ...] = ()


class Gate(_Part):
    """One thing that was required before a release may go live, and what was seen."""

    name: str
    required: str
    seen: str
    met: bool | None  # None: could not be judged, which counts as not met
    why: str = ""  # why it is asked for, and what to do when it is not met


class LocalThreshold(_Part):
    """A threshold proposed for this site, with what it would do here."""

    output: str
    old: float | None
    proposed: float
    reason: str
    figures: tuple[Figure, ...] = ()


class LocalLine(_Part):
    """A recalibration proposed for this site: slope and intercept on the logit, fitted on one part and measured on another."""

    output: str
    method: Literal["intercept", "slope_and_intercept"]
    slope: float
    intercept: float
    before: tuple[Figure, ...]
    after: tuple[Figure, ...]
    repaired: bool
    said: str


class Commissioning(_Part):
    """The whole finding. It holds figures of groups alone: nothing in it is about one person."""

    schema_version: Literal["1"] = "1"
    release: str
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    onnx_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    made_at: str  # ISO 8601 with zone
    archive: dict[str, Any]  # kind, number of files, studies and persons, period, hash of the list of cases
    truth: dict[str, Any]  # kind, number known, prevalence by output, its limits in words
    n: int
    scored: int
    refused: int
    failed: int
    refusals: dict[str, int] = {}  # reason → count
    failures: dict[str, int] = {}
    figures: tuple[Figure, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
    gates: tuple[Gate, ...] = ()
    thresholds: tuple[LocalThreshold, ...] = ()
    lines: tuple[LocalLine, ...] = ()
    advice: tuple[str, ...] = ()  # how many cases more would make which interval narrow enough
    decision: Decision
    reasons: tuple[str, ...]  # why, the weightiest first
    reference: Reference | None = None  # what this site's input and output looked like: what is watched from now on

    @model_validator(mode="after")
    def _go_is_earned(self) -> Self:
        """A file that says go beside a requirement that is not met was changed by hand."""
        if self.decision == "go" and any(one.met is False for one in self.gates):
            raise ValueError("decision must not be go where a requirement is not met")
        return self


def read_commissioning(path: Path) -> Commissioning:
    """Read commissioning.json. Raises UnusableInput saying what is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise UnusableInput(f"{path.name}: it cannot be read. Name the folder that commission wrote.", code="unreadable") from error
    if len(data) > _LARGEST:
        raise UnusableInput(f"{path.name}: at most 32 MiB, found more. Name the file that commission wrote.", code="too_large")
    try:
        return Commissioning.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UnusableInput(f"{path.name} is not valid at {place}: {first['msg']}. Run commission again.",
                            code="bad_commissioning") from error


def write_commissioning(path: Path, found: Commissioning) -> None:
    """Write it, readable and stable."""
    path.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
