"""What the input and the output of a release looked like where it was made or commissioned: what drift is measured against.

It holds counts and means over many cases, and nothing of any one of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import UnusableInput

SHIPPED = Path(__file__).with_name("references")  # beside the releases, whose folders stay as they were made


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Stream(_Part):
    """One number that every case has: how often it fell into each bin. ``counts``: below the first edge, between, above, missing.

    A value that equals an edge belongs above it. ``mean`` and ``sd`` are of the values that were there.
    """

    name: str  # input.<statistic>, feature.<name>, ood.<name>, output.<name>
    edges: tuple[float, ...] = Field(min_length=1)
    counts: tuple[int, ...]
    mean: float
    sd: float = Field(ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Stream:
        if len(self.counts) != len(self.edges) + 2 or list(self.edges) != sorted(set(self.edges)) or min(self.counts) < 0:
            raise ValueError("edges must rise, and counts be one a bin and one for what is missing")
        return self


class Embedding(_Part):
    """The mean of random Fourier features of the vectors of all cases: enough for a maximum mean discrepancy, of nobody."""

    names: tuple[str, ...]  # the streams the vector is made of, standardised by mean and sd below
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    scale: float = Field(gt=0)  # of the Gaussian kernel
    seed: int
    features: tuple[float, ...]  # mean of the random features
    covariance_trace: float = Field(ge=0)  # of the random features over cases: how far a mean of n strays by chance is this / n
    covariance_squared_trace: float = Field(0.0, ge=0)  # trace of the covariance times itself: how much that distance itself varies


class Reference(_Part):
    """The whole."""

    schema_version: Literal["1"] = "1"
    made_from: str  # in words: "validation split", "commissioning", "first results here"
    n: int = Field(ge=0)
    scored: int
    refused: int
    streams: tuple[Stream, ...] = ()
    positive: dict[str, float] = {}  # output → share above its threshold
    embedding: Embedding | None = None

    def stream(self, name: str) -> Stream | None:
        """Return a stream by its name, or None."""
        return next((one for one in self.streams if one.name == name), None)


def read_reference(path: Path) -> Reference:
    """Read a reference. Raises UnusableInput saying what is wrong."""
    try:
        return Reference.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UnusableInput(f"{path.name}: it cannot be read. Make it with training reference.", code="unreadable") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        said = f"{path.name} is no reference at {place}: {first['msg']}. Make it again."
        raise UnusableInput(said, code="bad_reference") from error


def write_reference(path: Path, reference: Reference) -> None:
    """Write it, one line a stream, stable."""
    told = reference.model_dump(mode="json")
    streams = ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in told.pop("streams"))
    rest = json.dumps(told, ensure_ascii=False)
    path.write_text(f'{rest[:-1]},\n "streams": [\n{streams}\n ]}}\n', encoding="utf-8")


def shipped_reference(release: str) -> Reference | None:
    """Return the reference that comes with a release of ours, made from its validation split; None without one."""
    path = SHIPPED / f"{release}.json"
    return read_reference(path) if path.is_file() else None
