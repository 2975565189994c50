"""How a reference is made: many cases in, counts by stream and the mean of their random Fourier features out.

Maximum mean discrepancy by random Fourier features: Rahimi and Recht, NIPS 2007; Gretton et al., JMLR 13, 2012.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.reference import Embedding, Reference, Stream

SHARE = 0.1  # a bin holds at least this share of the values, where the values allow it
LAST_SHARE = 0.05  # the last bin, what is left over
RANDOM_FEATURES = 128
SEED = 20_260
FARTHEST = 6.0  # standard deviations at which a value of an embedding is cut: one absurd value is one, not all
FEWEST = 30  # cases: below, a mean of random features tells nothing
PAIRS = 2_000

Row = tuple[str, Mapping[str, float], Mapping[str, float]]  # status, streams (input.*, feature.*, ood.*), output → value


def reference_of(rows: Iterable[Row], manifest: Manifest, made_from: str) -> Reference:
    """Return the reference of many cases of one release.

    Every row is (``scored`` or ``refused``, the result's input_statistics, output → value); other statuses are left out.
    A stream is counted over the cases that have any stream of its kind (a case refused before its pixels were looked at has
    none), and is missing where such a case lacks it. Outputs are counted over scored cases.
    """
    kept = [row for row in rows if row[0] in ("scored", "refused")]
    scored = [row for row in kept if row[0] == "scored"]
    streams: list[Stream] = []
    for kind, of in (("input.", kept), ("feature.", kept), ("ood.", kept)):
        looked_at = [row[1] for row in of if any(name.startswith(kind) for name in row[1])]
        names = {name for statistics in looked_at for name in statistics if name.startswith(kind)}
        if kind == "feature." and looked_at:
            names |= {f"feature.{feature.name}" for feature in manifest.features}
        streams += [_stream(name, [statistics.get(name) for statistics in looked_at]) for name in sorted(names)]
    for output in manifest.outputs:
        values = [row[2].get(output.name) for row in scored]
        if any(value is not None for value in values):
            streams.append(_stream(f"output.{output.name}", values))
    return Reference(
        made_from=made_from, n=len(kept), scored=len(scored), refused=len(kept) - len(scored), streams=tuple(streams),
        positive=positives(manifest, [row[2] for row in scored]), embedding=_embedding([row[1] for row in kept], streams),
    )


def positives(manifest: Manifest, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return output → share of the cases that reach its threshold, of those that have a value."""
    found = {}
    for output in manifest.outputs:
        of = [one[output.name] for one in values if output.name in one]
        if output.threshold is not None and of:
            found[output.name] = sum(value >= output.threshold for value in of) / len(of)
    return found


def bin_of(stream: Stream, value: float | None) -> int:
    """Return the place of a value in ``stream.counts``; the last one for what is missing."""
    return len(stream.edges) + 1 if value is None else int(np.searchsorted(stream.edges, value, side="right"))


def vector_of(embedding: Embedding, statistics: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the standardised vector of one case (F,); what is missing lies at the mean."""
    raw = np.array([statistics.get(name, np.nan) for name in embedding.names])
    z = (raw - np.asarray(embedding.mean)) / np.asarray(embedding.sd)
    cut: NDArray[np.float64] = np.clip(np.nan_to_num(z, nan=0.0), -FARTHEST, FARTHEST)
    return cut


def random_features(embedding: Embedding, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the random Fourier features (n, D) of standardised vectors (n, F): sqrt(2/D) cos(w·x + b), w ~ N(0, 1/scale²)."""
    return _features(vectors, embedding.scale, embedding.seed, len(embedding.features))


def _features(vectors: NDArray[np.float64], scale: float, seed: int, count: int) -> NDArray[np.float64]:
    directions, phases = _drawn(seed, vectors.shape[1], count)
    features: NDArray[np.float64] = sqrt(2 / count) * np.cos(vectors @ (directions / scale) + phases)
    return features


@lru_cache(maxsize=32)
def _drawn(seed: int, dimensions: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    drawn = np.random.RandomState(seed)  # its stream is frozen for ever, which a Generator's is not
    return drawn.standard_normal((dimensions, count)), drawn.uniform(0, 2 * pi, count)


def _stream(name: str, values: Sequence[float | None]) -> Stream:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    edges = edges_of(known)
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return Stream(
        name=name, edges=edges, counts=(*counts.tolist(), len(values) - len(known)),
        mean=float(known.mean()) if len(known) else 0.0, sd=float(known.std()) if len(known) else 0.0,
    )


def edges_of(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Return edges between distinct values such that each bin holds a tenth or more of them.

    A value that many cases share has a bin of its own. All alike: a narrow bin around it, so that any other value falls out.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        only = float(distinct[0]) if len(distinct) else 0.0
        near = max(1e-3 * abs(only), 1e-6)
        return only - near, only + near
    middles = (distinct[:-1] + distinct[1:]) / 2
    edges, held = [], 0
    for middle, count in zip(middles.tolist(), counts[:-1].tolist(), strict=True):
        held += count
        if held >= SHARE * len(values):
            edges.append(middle)
            held = 0
    if edges and held + counts[-1] < LAST_SHARE * len(values) and len(edges) > 1:
        edges.pop()
    below = np.cumsum(counts[:-1])
    return tuple(sorted(set(edges))) or (float(middles[int(np.argmin(np.abs(below - len(values) / 2)))]),)


def _embedding(rows: Sequence[Mapping[str, float]], streams: Sequence[Stream]) -> Embedding | None:
    """Return the mean random features of all cases that were looked at; None for too few of them."""
    used = [one for one in streams if one.name.startswith(("input.", "feature.")) and one.sd > 0]
    kept = [row for row in rows if any(one.name in row for one in used)]
    if len(kept) < FEWEST:
        return None
    empty = Embedding(
        names=tuple(one.name for one in used), mean=tuple(one.mean for one in used), sd=tuple(one.sd for one in used), scale=1.0,
        seed=SEED, features=(), covariance_trace=0.0, covariance_squared_trace=0.0,
    )
    vectors = np.array([vector_of(empty, row) for row in kept])
    scale = _median_distance(vectors)
    features = _features(vectors, scale, SEED, RANDOM_FEATURES)
    covariance = np.cov(features, rowvar=False)
    return empty.model_copy(update={
        "scale": scale, "features": tuple(round(one, 8) for one in features.mean(axis=0).tolist()),
        "covariance_trace": float(np.trace(covariance)), "covariance_squared_trace": float(np.sum(covariance * covariance)),
    })


def _median_distance(vectors: NDArray[np.float64]) -> float:
    """Return the median distance of random pairs: the usual scale of a Gaussian kernel (Gretton et al. 2012, section 8)."""
    drawn = np.random.RandomState(SEED)
    pairs = drawn.randint(0, len(vectors), (PAIRS, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return max(float(np.median(np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1))), 1e-6)
