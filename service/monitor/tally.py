"""Tally: what was seen of one release in some time, as counts and sums. Two of them add up; the single results are forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.reference import Reference
from models.reference_made import random_features, vector_of

QUARTERS = 4  # latency bins in a doubling
Json = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """One result as it is watched. ``positive``: output → whether it reached its threshold, of those shown."""

    status: str
    reason: str
    seconds: float
    values: Mapping[str, float]
    positive: Mapping[str, bool]
    statistics: Mapping[str, float]
    groups: Mapping[str, str]


@dataclass
class StreamTally:
    """Counts by bin of the reference, the last what is missing; and sums of the values that were there."""

    counts: NDArray[np.float64]
    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float | None:
        """Mean of the values that were there."""
        return self.total / self.n if self.n else None


@dataclass
class Tally:
    """The whole. ``latency``: bin → count, bin b holds seconds from 2^(b/4) to 2^((b+1)/4)."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    streams: dict[str, StreamTally] = field(default_factory=dict)
    positives: dict[str, tuple[int, int]] = field(default_factory=dict)
    latency: Counter[int] = field(default_factory=Counter)
    groups: dict[str, Counter[str]] = field(default_factory=dict)
    embedded: int = 0
    embedding: NDArray[np.float64] | None = None

    @property
    def n(self) -> int:
        """Results that were given: scored and refused."""
        return self.statuses["scored"] + self.statuses["refused"]

    @property
    def refused(self) -> int:
        """Those of them that were refused."""
        return self.statuses["refused"]

    def median_seconds(self) -> float | None:
        """Median time of a result, to a quarter of a doubling."""
        return quantile_of(self.latency, 0.5)

    def __add__(self, other: Tally) -> Tally:
        """Return both together."""
        return added((self, other))

    def to_json(self) -> Json:
        """Write it for the store."""
        return {
            "statuses": dict(self.statuses), "reasons": dict(self.reasons),
            "positives": {name: list(counts) for name, counts in self.positives.items()},
            "latency": {str(k): v for k, v in self.latency.items()}, "groups": {k: dict(v) for k, v in self.groups.items()},
            "streams": {name: [one.counts.astype(int).tolist(), one.n, _digits(one.total), _digits(one.squares)]
                        for name, one in self.streams.items()},
            "embedding": [self.embedded, [] if self.embedding is None else [_digits(x) for x in self.embedding.tolist()]],
        }


def tally_of_json(told: Mapping[str, Any]) -> Tally:
    """Read what ``to_json`` wrote."""
    embedded, features = told["embedding"]
    return Tally(
        Counter(told["statuses"]), Counter(told["reasons"]),
        {name: StreamTally(np.array(counts, dtype=np.float64), n, total, squares)
         for name, (counts, n, total, squares) in told["streams"].items()},
        {name: (hits, n) for name, (hits, n) in told["positives"].items()},
        Counter({int(k): v for k, v in told["latency"].items()}), {k: Counter(v) for k, v in told["groups"].items()},
        embedded, np.array(features) if features else None,
    )


def tally_of(seen: Iterable[Seen], reference: Reference | None) -> Tally:
    """Count results by the bins of a reference; without one no streams are counted."""
    found, kept = Tally(), list(seen)
    for one in kept:
        found.statuses[one.status] += 1
        if one.reason:
            found.reasons[one.reason] += 1
        if one.seconds > 0 and one.status == "scored":  # a refusal at the door takes no time, and says nothing of the machine
            found.latency[round_down(one.seconds)] += 1
        for by, group in one.groups.items():
            found.groups.setdefault(by, Counter())[group] += 1
        for name, hit in one.positive.items():
            hits, n = found.positives.get(name, (0, 0))
            found.positives[name] = hits + int(hit), n + 1
    if reference is not None:
        _count_streams(found, [one for one in kept if one.status in ("scored", "refused")], reference)
    return found


def _count_streams(found: Tally, kept: list[Seen], reference: Reference) -> None:
    """Count as models.reference_made does: a stream is missing where others of its kind are there."""
    kinds: dict[str, list[Mapping[str, float]]] = {"output": [one.values for one in kept if one.status == "scored"]}
    for stream in reference.streams:
        kind, _, name = stream.name.partition(".")
        if kind not in kinds:
            kinds[kind] = [one.statistics for one in kept if any(other.startswith(f"{kind}.") for other in one.statistics)]
        key = name if kind == "output" else stream.name
        known = np.array([case[key] for case in kinds[kind] if key in case], dtype=np.float64)
        counts = np.bincount(np.searchsorted(stream.edges, known, side="right"), minlength=len(stream.edges) + 2).astype(np.float64)
        counts[-1] = len(kinds[kind]) - len(known)
        found.streams[stream.name] = StreamTally(counts, len(known), float(known.sum()), float((known * known).sum()))
    if reference.embedding is not None:
        rows = [case.statistics for case in kept if any(name in case.statistics for name in reference.embedding.names)]
        if rows:
            vectors = np.array([vector_of(reference.embedding, row) for row in rows])
            found.embedded, found.embedding = len(rows), random_features(reference.embedding, vectors).sum(axis=0)


def added(tallies: Iterable[Tally]) -> Tally:
    """Return tallies of one release and one reference as one."""
    whole = Tally()
    for one in tallies:
        whole.statuses += one.statuses
        whole.reasons += one.reasons
        whole.latency += one.latency
        for by, groups in one.groups.items():
            whole.groups[by] = whole.groups.get(by, Counter()) + groups
        for name, (hits, n) in one.positives.items():
            before = whole.positives.get(name, (0, 0))
            whole.positives[name] = before[0] + hits, before[1] + n
        for name, stream in one.streams.items():
            at = whole.streams.setdefault(name, StreamTally(np.zeros(len(stream.counts))))
            at.counts = at.counts + stream.counts
            at.n, at.total, at.squares = at.n + stream.n, at.total + stream.total, at.squares + stream.squares
        if one.embedding is not None:
            whole.embedded += one.embedded
            whole.embedding = one.embedding if whole.embedding is None else whole.embedding + one.embedding
    return whole


def round_down(seconds: float) -> int:
    """Return the latency bin of a time."""
    return int(QUARTERS * log2(max(seconds, 1e-4)) // 1)


def quantile_of(latency: Mapping[int, int], share: float) -> float | None:
    """Return a quantile of binned times, the middle of its bin; None of none."""
    total, held = sum(latency.values()), 0
    for place in sorted(latency):
        held += latency[place]
        if held >= share * total:
            return float(2 ** ((place + 0.5) / QUARTERS))
    return None


def _digits(value: float) -> float:
    return float(f"{value:.9g}")
