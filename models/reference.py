"""What the input and the output of a release looked like where it was made or commissioned: what drift is measured against.

It holds counts and means over many cases, and nothing of any one of them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Stream(_Part):
    """One number that every case has: how often it fell into each bin. ``counts``: below the first edge, between, above, missing."""

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


class Reference(_Part):
    """The whole."""

    schema_version: Literal["1"] = "1"
    made_from: str  # in words: "validation split", "commissioning"
    n: int = Field(ge=0)
    scored: int
    refused: int
    streams: tuple[Stream, ...] = ()
    positive: dict[str, float] = {}  # output → share above its threshold
    embedding: Embedding | None = None
