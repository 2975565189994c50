"""Fit an additive model by gradient boosting, one term a round (Bühlmann and Hothorn 2007, doi:10.1214/07-STS242).

Each term is a ridge- and curvature-penalised least-squares learner of equal degrees of freedom, so no term is chosen
for being more flexible; small steps and an early stop are the regularisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.nets.additive import Scale, bins_of


@dataclass(frozen=True)
class Boost:
    """How to boost: `freedom` degrees a term, `rate` of each step, `rounds`, `share` of terms a round may choose from.

    A share below one spreads what correlated terms say over all of them, instead of giving it to the first chosen.
    """

    freedom: float
    rate: float
    rounds: int
    share: float = 1.0
    seed: int = 0


def design(x: Tensor, scales: list[Scale]) -> Tensor:
    """Return the basis values of every case and feature (N, F, K), zero-padded to the widest basis."""
    width = max(scale.basis.shape[1] for scale in scales)
    columns = []
    for f, scale in enumerate(scales):
        basis = torch.zeros(scale.bins, width)
        basis[:, : scale.basis.shape[1]] = torch.from_numpy(scale.basis)
        columns.append(basis[bins_of(x[:, f], torch.from_numpy(scale.edges))])
    return torch.stack(columns, dim=1)


def pair_design(x: Tensor, scales: dict[int, Scale], pairs: list[tuple[int, int]]) -> Tensor:
    """Return the tensor-product basis values of every case and pair (N, P, K·K)."""
    order = sorted(scales)
    single = design(x[:, order], [scales[f] for f in order])
    left = single[:, [order.index(a) for a, _ in pairs]]
    right = single[:, [order.index(b) for _, b in pairs]]
    return (left[:, :, :, None] * right[:, :, None, :]).flatten(2)


def curvature(scales: list[Scale], ridge: float = 0.05) -> Tensor:
    """Return one penalty matrix a term (F, K, K): squared second differences between knots, and a little ridge.

    Where values stand for words there is no between, so there is only the ridge.
    """
    width = max(scale.basis.shape[1] for scale in scales)
    penalties = torch.zeros(len(scales), width, width, dtype=torch.float64)
    for f, scale in enumerate(scales):
        knots = scale.basis.shape[1] - 1
        if knots > 2 and scale.ordered:
            second = torch.from_numpy(np.diff(np.eye(knots), 2, axis=0))
            penalties[f, :knots, :knots] = second.T @ second
        penalties[f] += ridge * torch.eye(width, dtype=torch.float64)
    return penalties


def learners(basis: Tensor, penalties: Tensor, freedom: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the means (T, K), Gram matrices and penalised inverses (T, K, K) of centred basis values."""
    mean = basis.mean(dim=0)
    gram = torch.stack([_gram(basis[:, t] - mean[t]) for t in range(basis.shape[1])])
    low, high = torch.ones(len(gram), dtype=torch.float64), torch.full((len(gram),), 9.0, dtype=torch.float64)
    for _ in range(30):
        middle = (low + high) / 2
        reached = torch.linalg.solve(gram + 10 ** middle[:, None, None] * penalties, gram)
        flexible = reached.diagonal(dim1=1, dim2=2).sum(dim=1) > freedom
        low, high = torch.where(flexible, middle, low), torch.where(flexible, high, middle)
    inverse = torch.linalg.inv(gram + 10 ** middle[:, None, None] * penalties)
    return mean, gram.float(), inverse.float()


def _gram(centred: Tensor) -> Tensor:
    wide = centred.double()
    return wide.T @ wide


def boost(basis: Tensor, target: Tensor, penalties: Tensor, how: Boost, start: Tensor) -> Tensor:
    """Return the weights (T, K) that, from the logits `start` (N,), lower the log loss, one term a round.

    The sum of basis · weights has a mean of its own: an intercept must be found afterwards.
    """
    mean, gram, inverse = learners(basis, penalties, how.freedom)
    flat = basis.flatten(1)
    used = (flat != 0).any(dim=0)  # narrow terms are padded to the widest
    if used.float().mean() > 0.5:
        used[:] = True  # little padding: not worth another order of sums
    flat = flat[:, used].T.contiguous()
    found = torch.zeros_like(mean)
    logit = start.clone()
    chance = torch.Generator().manual_seed(how.seed)
    for _ in range(how.rounds):
        slope = 4 * (target - torch.sigmoid(logit))  # the log loss is at most this curved
        pulls = torch.zeros(len(used))
        pulls[used] = flat @ slope
        pull = pulls.view_as(mean) - slope.sum() * mean
        step = torch.einsum("tij,tj->ti", inverse, pull)
        gain = 2 * (step * pull).sum(dim=1) - torch.einsum("ti,tij,tj->t", step, gram, step)
        offered = torch.rand(len(gain), generator=chance) < how.share
        best = int(torch.where(offered, gain, -1.0).argmax())
        move = how.rate * step[best]
        found[best] += move
        logit += (basis[:, best] - mean[best]) @ move + 0.1 * slope.mean()  # the mean risk stays
    return found


def rank_pairs(x: Tensor, scales: list[Scale], residual: Tensor, shrink: float = 60.0) -> list[tuple[float, int, int]]:
    """Rank pairs by what their two-way table of mean residuals explains beyond rows and columns, best first."""
    single = design(x, scales)
    cases, terms, width = single.shape
    flat = single.reshape(cases, -1)
    sums = ((flat * residual[:, None]).T @ flat).double()
    counts = (flat.T @ flat).double()
    ranked = []
    for a in range(terms):
        for b in range(a + 1, terms):
            rows, columns = slice(a * width, (a + 1) * width), slice(b * width, (b + 1) * width)
            number = counts[rows, columns] + shrink
            table = sums[rows, columns]
            table = table - number * (table.sum(1, keepdim=True) / number.sum(1, keepdim=True))
            table = table - number * (table.sum(0, keepdim=True) / number.sum(0, keepdim=True))
            ranked.append((float((table**2 / number).sum()), a, b))
    return sorted(ranked, reverse=True)
