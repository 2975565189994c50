"""The waterfall: from the average patient to this one, a step a measurement. The steps sum to the score exactly.

Scores add up on the scale of ``explains.link``: logarithms of odds for a probability, logarithms for a quantity. The axis
says what they stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum

from models.explain.additive import MAX_EXPONENT, strongest
from models.prediction import Contribution, Finding
from service.review.risk.scale import Scale, Tick, logit_of, quantity_ticks, scale_over, share_of, share_ticks

UP, DOWN = 6, 4  # so many steps are shown one by one


@dataclass(frozen=True)
class Step:
    """One step: from ``start`` to ``end`` on the scale of the score; ``left`` and ``width`` in percent of the drawing.

    ``part`` is the measurement; None for all others together, ``count`` of them.
    """

    part: Contribution | None
    logit: float
    start: float
    end: float
    left: float
    width: float
    came_from: float  # percent: where the step begins
    goes_to: float
    reached: float  # what the score stands for after this step: a probability or a quantity
    count: int = 1

    @property
    def way(self) -> str:
        """raises, lowers or none."""
        return "raises" if self.logit > 0 else "lowers" if self.logit < 0 else "none"

    @property
    def factor(self) -> float:
        """What the step multiplies the odds or the quantity by."""
        return exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, self.logit)))


@dataclass(frozen=True)
class Waterfall:
    """The steps of one finding. ``baseline`` and ``result`` are what the score stands for before the first and after the last."""

    finding: Finding
    baseline: float
    result: float
    baseline_at: float
    result_at: float
    threshold_at: float | None
    steps: tuple[Step, ...]
    ticks: tuple[Tick, ...]
    rest: tuple[Contribution, ...]  # what "all others together" holds
    gap: float  # how far the sum of all steps misses the score: what float32 leaves

    @property
    def is_share(self) -> bool:
        """Tell whether the axis is one of probabilities."""
        return self.finding.kind == "probability"


def waterfall(finding: Finding, bias: float, parts: Sequence[Contribution]) -> Waterfall | None:
    """Draw one finding from the score before anything is counted and all its parts; None when it has none."""
    if finding.logit is None or not parts:
        return None
    shown, rest = strongest(tuple(parts), up=UP, down=DOWN)
    if len(rest) == 1:  # it needs no line that stands for others
        shown, rest = [*shown, *rest], []
    moves: list[tuple[Contribution | None, float, int]] = [(part, part.logit, 1) for part in shown]
    if rest:
        moves.append((None, fsum(part.logit for part in rest), len(rest)))
    reached = [bias]
    for place in range(1, len(moves) + 1):  # each sum anew: rounding does not add up
        reached.append(fsum([bias, *(logit for _, logit, _ in moves[:place])]))
    limit = _score(finding, finding.threshold) if finding.threshold is not None else None
    scale = scale_over(reached if limit is None else [*reached, limit], pad=0.08, least=0.5)
    meaning = share_of if finding.kind == "probability" else _quantity
    steps = tuple(
        _step(scale, part, logit, start, end, meaning(end), count)
        for (part, logit, count), start, end in zip(moves, reached, reached[1:], strict=False)
    )
    return Waterfall(
        finding, meaning(bias), meaning(reached[-1]), scale.at(bias), scale.at(reached[-1]),
        None if limit is None else scale.at(limit), steps,
        share_ticks(scale) if finding.kind == "probability" else quantity_ticks(scale), tuple(rest),
        gap=abs(reached[-1] - finding.logit),
    )


def _step(scale: Scale, part: Contribution | None, logit: float, start: float, end: float, reached: float, count: int) -> Step:
    first, last = scale.at(start), scale.at(end)
    return Step(part, logit, start, end, min(first, last), max(abs(last - first), 0.25), first, last, reached, count)


def _score(finding: Finding, value: float) -> float | None:
    if finding.kind == "probability":
        return logit_of(value) if 0 < value < 1 else None
    return None


def _quantity(score: float) -> float:
    return exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, score)))
