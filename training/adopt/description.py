"""describe.toml: what a person tells of a classifier that others trained. What is not told stays the word "unknown"."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import BrokenModel
from models.manifest import Accepts, Code, Written
from models.steps import STEPS
from training.adopt.surgery import Front

UNKNOWN = "unknown"
OWN_CODES = "urn:diaphane:codes"
LARGEST = 1024 * 1024
# What pictures are turned into before a network sees them, of display values 0-255: (scale, shift), one or three channels.
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((1.0,), (0.0,)),  # 0 to 255
    "unit": ((1 / 255,), (0.0,)),  # 0 to 1
    "half": ((2 / 255,), (-1.0,)),  # -1 to 1
    "xrv": ((2048 / 255,), (-1024.0,)),  # -1024 to 1024, as TorchXRayVision
    "imagenet": (tuple(1 / (255 * s) for s in _SD), tuple(-m / s for m, s in zip(_MEAN, _SD, strict=True))),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Input(_Part):
    """What the network takes: the size, the channels, and how grey levels 0-255 were turned into its numbers."""

    rows: int = Field(gt=0, le=4096)
    columns: int = Field(gt=0, le=4096)
    channels: Literal[1, 3] = 1
    normalisation: str = ""  # a name of NORMALISATIONS; empty: mean and sd
    mean: list[float] = []  # of values 0 to 1, one a channel: (value / 255 - mean) / sd
    sd: list[float] = []

    @model_validator(mode="after")
    def _one_way(self) -> Input:
        if bool(self.normalisation) == bool(self.mean or self.sd):
            raise ValueError("say either normalisation or mean and sd")
        if self.normalisation and self.normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}")
        if self.mean or self.sd:
            if not len(self.mean) == len(self.sd) == self.channels or min(self.sd) <= 0:
                raise ValueError("mean and sd need one number a channel, sd above 0")
        elif len(NORMALISATIONS[self.normalisation][0]) not in (1, self.channels):
            raise ValueError(f"normalisation {self.normalisation} is of three channels")
        return self

    @property
    def front(self) -> Front:
        """The arithmetic of it."""
        if self.normalisation:
            scale, shift = NORMALISATIONS[self.normalisation]
        else:
            scale = tuple(1 / (255 * sd) for sd in self.sd)
            shift = tuple(-mean / sd for mean, sd in zip(self.mean, self.sd, strict=True))
        repeat = self.channels if len(scale) == 1 else 1
        return Front(self.rows, self.columns, scale * repeat, shift * repeat)


class Preparation(_Part):
    """One step of models.steps before the network."""

    name: str
    params: dict[str, Any] = {}


class Head(_Part):
    """How the classes become probabilities."""

    activation: Literal["", "sigmoid", "softmax"] = ""
    output: str = ""  # which output of the graph holds the classes, when it has several
    operating_points: list[float] = []  # one a class: probabilities are stretched so that each becomes 0.5; nan: left alone


class Shown(_Part):
    """One class that is shown to people. Classes that are not listed are computed and not shown."""

    column: int = Field(ge=0)
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    label: str
    label_fr: str = UNKNOWN
    code: Code | None = None
    threshold: float | None = Field(default=None, gt=0, lt=1)
    threshold_reason: str = ""


class Use(_Part):
    """For whom and for what, as its makers say."""

    purpose: str = UNKNOWN
    users: str = UNKNOWN
    population: str = UNKNOWN
    decision_role: str = UNKNOWN
    human_oversight: str = UNKNOWN
    must_not: list[str] = []
    limits: list[str] = []


class Learnt(_Part):
    """Where it learnt, as its makers say."""

    trained_by: str = UNKNOWN
    name: str = UNKNOWN
    description: str = UNKNOWN
    period: str = UNKNOWN
    licence: str = UNKNOWN
    citation: str = UNKNOWN
    split: str = UNKNOWN
    counts: dict[str, int] = {}
    cautions: list[str] = []


class Claims(_Part):
    """What its makers say of how good it is. It is quoted as theirs and never counts as measured here."""

    performance: str = UNKNOWN
    calibration: str = UNKNOWN
    subgroups: str = UNKNOWN
    out_of_distribution: str = UNKNOWN


class Limits(_Part):
    """What can be refused without having seen the training data: blank and clipped images."""

    min_spread: float = Field(default=4.0, ge=0)
    max_clipped_share: float = Field(default=0.6, gt=0, le=1)


class Description(_Part):
    """The whole file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: str = Field(default="1.0.0", pattern=r"^\d+\.\d+\.\d+$")
    title: str
    title_fr: str = UNKNOWN
    summary: str = UNKNOWN
    licence: str = UNKNOWN
    contact: str = UNKNOWN
    source: str = UNKNOWN  # where weights or graph came from: an address, as text
    input: Input
    steps: list[Preparation] = []
    head: Head = Head()
    accepts: Accepts = Accepts()
    refuses: Limits = Limits()
    outputs: list[Shown] = Field(min_length=1)
    intended_use: Use = Use()
    training_data: Learnt = Learnt()
    claims: Claims = Claims()
    writes: list[Written] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Description:
        for key in ("name", "column"):
            values = [getattr(one, key) for one in self.outputs]
            if len(set(values)) < len(values):
                raise ValueError(f"outputs must each have their own {key}")
        unknown = [step.name for step in self.steps if step.name not in STEPS]
        if unknown:
            raise ValueError(f"unknown step {unknown[0]}; known: {', '.join(STEPS)}")
        return self

    def gaps(self) -> list[str]:
        """Return in words everything that nobody has told, and what no one can know before commissioning."""
        told = self.model_dump()
        found = [words for place, words in GAPS.items() if _at(told, place) in (UNKNOWN, {}, [])]
        if self.accepts.age_years.low is None and self.accepts.age_years.high is None:
            found.append("For which ages it was made: none is refused.")
        if not self.accepts.modalities:
            found.append("For which modality it was made: none is refused.")
        found += [f"A threshold for {one.label}: nothing is called positive and no map is drawn before one is set."
                  for one in self.outputs if one.threshold is None]
        found += [f"A code of a public terminology for {one.label}." for one in self.outputs if one.code is None]
        return found


GAPS = {
    "training_data.trained_by": "Who trained it.",
    "training_data.name": "On which data it was trained.",
    "training_data.description": "What these data are: hospitals, persons, equipment.",
    "training_data.period": "From which years the training data are.",
    "training_data.counts": "On how many images and persons it was trained.",
    "training_data.split": "Whether persons of the test data were in the training data.",
    "training_data.licence": "Under which terms the training data may be used, and what that means for the weights.",
    "licence": "Under which licence the weights may be used.",
    "source": "Where the weights come from.",
    "contact": "Whom to ask.",
    "claims.performance": "How good it was where it was made.",
    "claims.calibration": "Whether its probabilities mean what they say.",
    "claims.subgroups": "How it does by sex, age, device and site.",
    "claims.out_of_distribution": "How to tell an image it was never made for: outsiders are not recognised.",
    "intended_use.purpose": "What it is meant for.",
    "intended_use.population": "For whom it was made.",
    "intended_use.users": "Who is meant to use it.",
    "title_fr": "Its title in French.",
}


def read_description(path: Path) -> Description:
    """Read describe.toml. Raises BrokenModel naming the field that is wrong."""
    if not path.is_file():
        raise BrokenModel(f"{path.name}: the description must exist, found none. Make one with --write-describe {path.name}.")
    if path.stat().st_size > LARGEST:
        raise BrokenModel(f"{path.name}: a description may take {LARGEST:,} bytes, found more.")
    try:
        return Description.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BrokenModel(f"{path.name}: must be TOML; {error}.") from error
    except ValidationError as error:
        raise BrokenModel(f"{path.name} is not valid at {place_of(error)}: {error.errors(include_input=False)[0]['msg']}.") from error


def place_of(error: ValidationError) -> str:
    """Return where the first fault lies, as a path of keys."""
    return ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"]) or "the file"


def word_of(label: str) -> str:
    """Turn a label into a name: lower case, letters, digits and underscores."""
    word = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
    return word if word and word[0].isalpha() else f"class_{word or 'unnamed'}"


def _at(told: dict[str, Any], place: str) -> Any:
    value: Any = told
    for key in place.split("."):
        value = value[key]
    return value
