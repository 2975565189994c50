"""Anchored: a penalised logistic fit around what a released model says already, with verdicts that may be wrong.

    new logit = intercept + slope · old logit + Σ weight · z        z: standardised columns the head is made of

The line comes first and is drawn to slope 1 and intercept 0; then a ridge draws the weights to 0, which is the released model
(a Gaussian prior around it). A fit may take a share of the verdicts for wrong (Copas 1988,
doi:10.1111/j.2517-6161.1988.tb01723.x): one wild label then pulls no harder than it should. Cross-validation over people chooses
how far to move, by the plain log loss of verdicts that were left out, and the simplest choice within one standard error of the
best is taken. Which share of wrong verdicts explains them best is told apart from that: the gate asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from training.data.cohort import folds_of

Floats = NDArray[np.float64]
LINE_PRIOR = (0.02, 1.0)  # precision of the intercept and of the logarithm of the slope: about 7 and 1 as standard deviation
STRENGTHS = (1000.0, 300.0, 100.0, 30.0, 10.0)
NOISES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)  # shares of wrong verdicts that are tried as an explanation
ROBUST = 0.1  # the one that a fit may use
AS_IT_IS, INTERCEPT, LINE, WEIGHTS = "as it is", "intercept", "line", "weights"
FEWEST = 20  # cases of either kind below which an output is left as it is
FOLDS = 5


@dataclass(frozen=True)
class Choice:
    """How an output is fitted: ``shape`` says what may move, ``strength`` how hard the ridge draws, ``noise`` how many are wrong."""

    shape: str
    strength: float = np.inf
    noise: float = 0.0

    @property
    def told(self) -> str:
        """Return the choice in words."""
        ridge = f", ridge {self.strength:g}" if self.shape == WEIGHTS else ""
        return f"{self.shape}{ridge}{f', {self.noise:.0%} of the verdicts taken for wrong' if self.noise else ''}"


# The simplest first.
CHOICES = (
    Choice(AS_IT_IS), Choice(INTERCEPT), Choice(INTERCEPT, noise=ROBUST), Choice(LINE), Choice(LINE, noise=ROBUST),
    *(Choice(WEIGHTS, strength, noise) for strength, noise in product(STRENGTHS, (0.0, ROBUST))),
)


@dataclass(frozen=True)
class Cases:
    """What one output is fitted on: columns z (n, d), old logits, verdicts (0 or 1), and whose they are."""

    z: Floats
    old: Floats
    y: Floats
    groups: NDArray[np.str_]

    def some(self, chosen: NDArray[np.intp]) -> Cases:
        """Return some of the cases."""
        return Cases(self.z[chosen], self.old[chosen], self.y[chosen], self.groups[chosen])


@dataclass(frozen=True)
class Anchored:
    """A fit: the line, and the weights of the columns as they were given (not standardised)."""

    intercept: float
    slope: float
    weights: Floats
    choice: Choice
    losses: dict[str, float] = field(default_factory=dict)  # cross-validated loss of the choices looked at

    def logits(self, z: Floats, old: Floats) -> Floats:
        """Return the new logits of cases: columns (n, d) and old logits (n,)."""
        return np.asarray(self.intercept + self.slope * old + z @ self.weights)


def fit(cases: Cases, choice: Choice, *, lowest: Floats | None = None) -> Anchored:
    """Fit one choice. ``lowest`` (d,) bounds weights from below, as a share of the slope: -1 keeps slope · (1 + w) positive."""
    none = np.zeros(cases.z.shape[1])
    if choice.shape == AS_IT_IS:
        return Anchored(0.0, 1.0, none, choice)
    intercept, slope = _line(cases, choice)
    if choice.shape != WEIGHTS:
        return Anchored(intercept, slope, none, choice)
    centre, spread = cases.z.mean(axis=0), cases.z.std(axis=0)
    spread = np.where(spread > 1e-9, spread, np.inf)  # a column that never changes says nothing
    z = (cases.z - centre) / spread
    base = intercept + slope * cases.old

    def objective(x: Floats) -> tuple[float, Floats]:
        loss, pull = _loss(base + x[0] + z @ x[1:], cases.y, choice.noise)
        penalty = 0.5 * choice.strength * float(x[1:] @ x[1:])
        return loss + penalty, np.concatenate([[pull.sum()], z.T @ pull + choice.strength * x[1:]])

    bounds = None
    if lowest is not None:
        finite = np.where(np.isfinite(spread), spread, 0.0)
        bounds = [(None, None), *((float(low), None) for low in np.nan_to_num(lowest) * slope * finite)]
    found = minimize(objective, np.zeros(z.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = found.x[1:] / spread
    return Anchored(float(intercept + found.x[0] - weights @ centre), slope, weights, choice)


def chosen_fit(cases: Cases, *, seed: int, lowest: Floats | None = None, choices: Iterable[Choice] = CHOICES,
               went: Callable[[], None] = lambda: None) -> Anchored:
    """Choose by cross-validation over people, then fit on all. With too few of one kind the model stays as it is."""
    if min(cases.y.sum(), (1 - cases.y).sum()) < FEWEST:
        return fit(cases, Choice(AS_IT_IS))
    tried = list(choices)
    losses = np.full((len(tried), len(cases.y)), np.nan)
    for inside, outside in folds_of(cases.y[:, None].astype(np.float32), cases.groups, FOLDS, seed):
        learnt, kept = cases.some(inside), cases.some(outside)
        for place, choice in enumerate(tried):
            logits = fit(learnt, choice, lowest=lowest).logits(kept.z, kept.old)
            losses[place, outside] = loss_of(logits, kept.y)
        went()
    best, taken = _simplest(losses)
    found = fit(cases, tried[taken], lowest=lowest)
    return Anchored(found.intercept, found.slope, found.weights, found.choice,
                    {tried[place].told: float(losses[place].mean()) for place in sorted({0, best, taken})})


def noise_of(cases: Cases, *, seed: int) -> float:
    """Return the share of wrong verdicts that explains them best, by cross-validation of the line.

    Wrong at random, verdicts contradict the model as often where it is surest: no line explains that, a share of slips does.
    """
    if min(cases.y.sum(), (1 - cases.y).sum()) < FEWEST:
        return 0.0
    losses = np.full((len(NOISES), len(cases.y)), np.nan)
    for inside, outside in folds_of(cases.y[:, None].astype(np.float32), cases.groups, FOLDS, seed):
        learnt, kept = cases.some(inside), cases.some(outside)
        for place, noise in enumerate(NOISES):
            logits = fit(learnt, Choice(LINE, noise=noise)).logits(kept.z, kept.old)
            losses[place, outside] = loss_of(logits, kept.y, noise)
    return NOISES[int(losses.mean(axis=1).argmin())]


def cross_fitted(cases: Cases, *, seed: int, lowest: Floats | None = None, went: Callable[[], None] = lambda: None) -> Floats:
    """Return the new logit of every case by fits that did not see its person, each with a choice of its own (nested).

    What it says of old against new is honest, where the choice and the fit themselves saw the case it would not be.
    """
    logits = np.empty_like(cases.old)
    for inside, outside in folds_of(cases.y[:, None].astype(np.float32), cases.groups, FOLDS, seed + 1):
        found = chosen_fit(cases.some(inside), seed=seed, lowest=lowest)
        logits[outside] = found.logits(cases.z[outside], cases.old[outside])
        went()
    return logits


def loss_of(logits: Floats, y: Floats, noise: float = 0.0) -> Floats:
    """Return the negative log likelihood of each verdict (0 or 1) when one in 1/``noise`` of them is wrong."""
    p = noise + (1 - 2 * noise) / (1 + np.exp(-np.clip(logits, -40, 40)))
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return np.asarray(-(y * np.log(p) + (1 - y) * np.log(1 - p)))


def _simplest(losses: Floats) -> tuple[int, int]:
    """Return the choice of least loss (choices, n), and the first that is no more than one standard error worse."""
    best = int(losses.mean(axis=1).argmin())
    worse = losses - losses[best]
    error = worse.std(axis=1, ddof=1) / np.sqrt(losses.shape[1])
    return best, next(place for place in range(len(losses)) if worse[place].mean() <= error[place])


def _line(cases: Cases, choice: Choice) -> tuple[float, float]:
    moves = choice.shape != INTERCEPT

    def objective(x: Floats) -> tuple[float, Floats]:
        slope = float(np.exp(x[1])) if moves else 1.0
        loss, pull = _loss(x[0] + slope * cases.old, cases.y, choice.noise)
        prior = 0.5 * (LINE_PRIOR[0] * x[0] ** 2 + LINE_PRIOR[1] * x[1] ** 2)
        along = float(pull @ cases.old) * slope if moves else 0.0
        return loss + prior, np.array([pull.sum() + LINE_PRIOR[0] * x[0], along + LINE_PRIOR[1] * x[1]])

    found = minimize(objective, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-10, 10), (-3, 2)])
    return float(found.x[0]), float(np.exp(found.x[1])) if moves else 1.0


def _loss(logits: Floats, y: Floats, noise: float) -> tuple[float, Floats]:
    """Return the summed loss and its slope along each logit."""
    s = 1 / (1 + np.exp(-np.clip(logits, -40, 40)))
    p = np.clip(noise + (1 - 2 * noise) * s, 1e-12, 1 - 1e-12)
    loss = -float((y * np.log(p) + (1 - y) * np.log(1 - p)).sum())
    return loss, -(y / p - (1 - y) / (1 - p)) * (1 - 2 * noise) * s * (1 - s)
