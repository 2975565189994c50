"""Additive risk model (GA²M) in torch: a table of levels for each feature and pair; the logit is the sum of the levels.

A feature's range is cut into bins; each bin, and "missing", has a level. The levels of neighbouring bins lie on a
piecewise-linear curve through few knots, so the shape is smooth while the look-up stays exact in every runtime.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """How one feature is cut: bin i holds edges[i-1] ≤ x < edges[i].

    `basis` (bins, weights) maps weights to levels; its last row and last column stand for a missing value. In a scale
    that is not `ordered` every level has a weight of its own and neighbours say nothing about each other.
    """

    edges: Array
    basis: Array
    ordered: bool = True

    @property
    def bins(self) -> int:
        """Count the bins, with the one for missing values."""
        return len(self.edges) + 2


class Additive(nn.Module):
    """logit = bias + Σ mains[f][bin of x_f] + Σ pairs[p][bin of x_a, bin of x_b]; missing is NaN."""

    def __init__(
        self,
        edges: list[Array],
        mains: list[Array],
        *,
        pairs: list[tuple[int, int]],
        pair_edges: dict[int, Array],
        pair_levels: list[Array],
        bias: float,
    ) -> None:
        super().__init__()
        self.edges = [torch.from_numpy(np.asarray(one, np.float32)) for one in edges]
        self.mains = nn.ParameterList([torch.from_numpy(np.asarray(one, np.float32)) for one in mains])
        self.pairs = list(pairs)
        self.pair_edges = {f: torch.from_numpy(np.asarray(one, np.float32)) for f, one in pair_edges.items()}
        self.pair_levels = nn.ParameterList([torch.from_numpy(np.asarray(one, np.float32)) for one in pair_levels])
        self.bias = nn.Parameter(torch.tensor([bias], dtype=torch.float32))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score features (N, F) → logit (N, 1) and the contribution of every term (N, T), mains first."""
        terms = [table[bins_of(x[:, f], self.edges[f])] for f, table in enumerate(self.mains)]
        for (a, b), table in zip(self.pairs, self.pair_levels, strict=True):
            terms.append(table[bins_of(x[:, a], self.pair_edges[a]), bins_of(x[:, b], self.pair_edges[b])])
        contributions = torch.stack(terms, dim=1)
        return contributions.sum(dim=1, keepdim=True) + self.bias, contributions


def bins_of(values: Tensor, edges: Tensor) -> Tensor:
    """Return the bin of each value (0 … len(edges)), len(edges) + 1 where it is NaN."""
    found = torch.bucketize(values.contiguous(), edges, right=True)
    return torch.where(torch.isnan(values), len(edges) + 1, found)


def scale_of(values: Array, *, bins: int, knots: int) -> Scale:
    """Cut a feature at its quantiles, or between its values where there are few, and lay knots over the bins."""
    known = np.sort(values[~np.isnan(values)])
    distinct = np.unique(known)
    if len(distinct) <= bins:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
        edges = edges[(edges > known[0]) & (edges <= known[-1])]
    edges = np.unique(edges.astype(np.float32))
    place = np.searchsorted(edges, known, side="right")
    centres = np.array([_centre(known[place == i], edges, i) for i in range(len(edges) + 1)])
    return Scale(edges, _hats(centres, _knots(known, knots)))


def category_scale_of(values: Array) -> Scale:
    """Give every value that occurs a level of its own: for numbers that stand for words."""
    distinct = np.unique(values[~np.isnan(values)])
    edges = ((distinct[1:] + distinct[:-1]) / 2).astype(np.float32)
    return Scale(edges, np.eye(len(edges) + 2, dtype=np.float32), ordered=False)


def _centre(inside: Array, edges: Array, i: int) -> float:
    """Return the median of a bin; an empty one lies at its nearer edge, or at 0 when nothing is known."""
    if len(inside):
        return float(np.median(inside))
    return float(edges[min(i, len(edges) - 1)]) if len(edges) else 0.0


def _knots(known: Array, count: int) -> NDArray[np.float64]:
    places = np.concatenate([[0.005], np.linspace(0, 1, count)[1:-1], [0.995]])
    knots = np.unique(np.quantile(known, places)) if len(known) else np.zeros(1)
    return knots if len(knots) > 1 else np.array([knots[0], knots[0] + 1])


def _hats(centres: NDArray[np.float64], knots: NDArray[np.float64]) -> Array:
    basis = np.zeros((len(centres) + 1, len(knots) + 1), np.float32)
    for k in range(len(knots)):
        basis[:-1, k] = np.interp(centres, knots, np.eye(len(knots))[k])
    basis[-1, -1] = 1
    return basis
