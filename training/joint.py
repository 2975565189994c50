"""Fit all main terms of an additive model at once: penalised likelihood of smooth shapes (Eilers and Marx 1996).

Boosting gives what correlated terms say to those chosen first; a joint fit with a ridge shares it among all of them
(P-splines, doi:10.1214/ss/1038425655).
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = 1e-3  # of the objective: float32 sums differ by less, steps that go too far by much more


def fit_jointly(basis: Tensor, target: Tensor, penalties: Tensor, steps: int = 12, tolerance: float = 1e-3) -> Tensor:
    """Return the weights (T, K) that maximise the log likelihood less half of Σ wᵗ·penalty·w, by Newton's method.

    `basis` is (N, T, K), zero where a term has fewer than K values; `penalties` (T, K, K) must be positive definite.
    The intercept is not penalised and not returned: the sum of basis · weights has a mean of its own.
    """
    cases, terms, width = basis.shape
    flat = basis.flatten(1)
    centred = torch.cat([torch.ones(cases, 1), flat - flat.mean(dim=0)], dim=1)
    penalty = torch.block_diag(torch.zeros(1, 1, dtype=torch.float64), *penalties)
    found = torch.zeros(1 + terms * width, dtype=torch.float64)
    found[0] = torch.logit(target.mean())
    for _ in range(steps):
        risk = torch.sigmoid(centred @ found.float())
        gradient = (centred.T @ (target - risk)).double() - penalty @ found
        hessian = (centred.T @ (centred * (risk * (1 - risk))[:, None])).double() + penalty
        step = torch.linalg.solve(hessian, gradient)
        reached = _objective(centred, target, penalty, found)
        while _objective(centred, target, penalty, found + step) < reached - ROUNDING * abs(reached):
            step = step / 2  # with rare outcomes a whole step can go too far
        found = found + step
        if float(step.abs().max()) < tolerance:
            break
    return found[1:].view(terms, width).float()


def _objective(centred: Tensor, target: Tensor, penalty: Tensor, weights: Tensor) -> float:
    """Return the penalised log likelihood, which no step may lower."""
    score = centred @ weights.float()
    likelihood = (target * score - torch.nn.functional.softplus(score)).double().sum()
    return float(likelihood - weights @ penalty @ weights / 2)
