"""Episodes: probabilities in the order of time → whether an alert stands. Pure, so that a replay comes to the same.

An alert is raised at or above one limit, and ends only after several readings below a lower one, over some minutes.
What a model declined to score changes nothing: it is no all-clear.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from models.manifest import Manifest

CLEAR_SHARE = 0.8  # of the threshold, where the release states no other limit
CLEAR_READINGS = 3
CLEAR_S = 1800.0


@dataclass(frozen=True)
class Rule:
    """When an alert begins and ends. Probabilities, and seconds."""

    raise_at: float
    clear_below: float
    clear_readings: int = CLEAR_READINGS
    clear_s: float = CLEAR_S


@dataclass(frozen=True)
class State:
    """Where an episode stands: since when the alert stands, and since when and how often readings were below."""

    opened_at: float | None = None
    below_since: float | None = None
    below: int = 0


@dataclass(frozen=True)
class Score:
    """What was said at one moment; None: the model declined."""

    at: float
    value: float | None


CALM = State()


def rule_of(manifest: Manifest) -> Rule:
    """Return the rule of a release that monitors."""
    output = manifest.outputs[0]
    threshold = output.threshold or 0.0
    clear = CLEAR_SHARE * threshold if output.clear_threshold is None else output.clear_threshold
    return Rule(threshold, clear)


def advance(state: State, score: Score, rule: Rule) -> State:
    """Return the state after one more moment."""
    if score.value is None:
        return state
    if state.opened_at is None:
        return State(opened_at=score.at) if score.value >= rule.raise_at else state
    if score.value >= rule.clear_below:
        return replace(state, below_since=None, below=0)
    since = score.at if state.below_since is None else state.below_since
    below = replace(state, below_since=since, below=state.below + 1)
    return CALM if below.below >= rule.clear_readings and score.at - since >= rule.clear_s else below


def follow(state: State, scores: Iterable[Score], rule: Rule) -> State:
    """Return the state after several moments, in the order of time."""
    for score in sorted(scores, key=lambda one: one.at):
        state = advance(state, score, rule)
    return state


def ever_open(state: State, scores: Iterable[Score], rule: Rule) -> bool:
    """Tell whether an alert stood at the beginning or at any of the moments."""
    if state.opened_at is not None:
        return True
    return any((state := advance(state, score, rule)).opened_at is not None for score in sorted(scores, key=lambda one: one.at))
