"""Scales: where a number lies on a drawing, in percent of its width, and which round numbers stand on the axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, exp, floor, log, log10

PAD = 0.05  # of the width, on both sides
LEAST_GAP = 15.0  # percent between two labels
# Probabilities for an axis, in the order in which they are given a place: the roundest first.
_SHARES = (0.5, 0.1, 0.9, 0.01, 0.99, 0.2, 0.8, 0.05, 0.95, 0.001, 0.999, 0.3, 0.7, 0.02, 0.98, 0.0001, 0.9999)


@dataclass(frozen=True)
class Tick:
    """One label of an axis: ``at`` in percent of the width."""

    at: float
    value: float


@dataclass(frozen=True)
class Scale:
    """From a number to percent of the width: linear from ``low`` to ``high``, with room on both sides."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return where a number lies, never outside the drawing."""
        share = (value - self.low) / (self.high - self.low)
        return 100 * min(1.0, max(0.0, share))


def scale_over(values: Iterable[float], *, pad: float = PAD, least: float = 1e-9) -> Scale:
    """Return the scale on which all values have their place."""
    told = list(values)
    low, high = min(told), max(told)
    span = max(high - low, least)
    middle = (low + high) / 2
    half = span / 2 + pad * span
    return Scale(min(low, middle - half), max(high, middle + half))


def share_of(score: float) -> float:
    """Return the probability of a logit."""
    return 1 / (1 + exp(-score)) if score >= 0 else exp(score) / (1 + exp(score))


def logit_of(share: float) -> float:
    """Return the logit of a probability."""
    bounded = min(1 - 1e-12, max(1e-12, share))
    return log(bounded / (1 - bounded))


def share_ticks(scale: Scale) -> tuple[Tick, ...]:
    """Return round probabilities for a scale of logits, the roundest where there is not room for all."""
    return _placed(scale, _SHARES, logit_of)


def quantity_ticks(scale: Scale) -> tuple[Tick, ...]:
    """Return round quantities for a scale of logarithms."""
    low, high = exp(scale.low), exp(scale.high)
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    steps = [step * 10.0**power for step in (1, 5, 2, 3, 7, 1.5, 4, 6, 2.5, 8, 9) for power in powers]
    return _placed(scale, steps, log)


def plain_ticks(scale: Scale, *, most: int = 5) -> tuple[Tick, ...]:
    """Return at most so many round numbers for a linear scale."""
    span = scale.high - scale.low
    raw = span / most
    power = 10.0 ** floor(log10(raw))
    step = next((one * power for one in (1, 2, 2.5, 5, 10) if one * power >= raw), 10 * power)
    first = ceil(scale.low / step)
    numbers = [round(place * step, 10) for place in range(first, floor(scale.high / step) + 1)]
    return tuple(Tick(scale.at(one), one) for one in numbers)


def _placed(scale: Scale, numbers: Sequence[float], turn: Callable[[float], float]) -> tuple[Tick, ...]:
    placed: list[Tick] = []
    for number in numbers:
        score = turn(number)
        at = scale.at(score)
        if scale.low <= score <= scale.high and 3 <= at <= 97 and all(abs(at - one.at) >= LEAST_GAP for one in placed):
            placed.append(Tick(at, number))
    return tuple(sorted(placed, key=lambda one: one.at))
