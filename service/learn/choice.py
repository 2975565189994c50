"""Choice: of many results, the few whose verdict teaches most, and some drawn at random. Plain arithmetic, nothing of the store.

Uncertain ones are near a threshold, or were refused near a limit; of them those are taken that lie far from one another and from
what was judged (k-centre greedy: Gonzalez 1985, doi:10.1016/0304-3975(85)90224-5; as a core set for learning: Sener and Savarese
2018, arXiv:1708.00489). Unlike ones lie farthest from what was judged, however sure the model is. What is picked so says nothing
of how often a model is right: that is told by the ones drawn at random, among those who may train and those who test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Why = Literal["uncertain", "unlike", "control", "test"]
SHARES: Mapping[Why, float] = {"uncertain": 0.4, "unlike": 0.2, "control": 0.2, "test": 0.2}
POOL = 5  # of so many times as many uncertain ones, those far from one another are taken
CLIPPED = 4.0  # robust standard deviations: one wild number must not make a case the farthest of all
NEAR = 1e-3
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """One result nobody judged: whose, on which side of the split, how uncertain (0 to 1), and what it is like."""

    key: str
    group: str
    split: str
    uncertainty: float
    numbers: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picked:
    """A candidate that was picked, why, and how far it lies from what was judged or picked before."""

    candidate: Candidate
    why: Why
    distance: float


def uncertainty_of(status: str, findings: Sequence[Mapping[str, Any]], quality: Mapping[str, Any]) -> float:
    """Return 1 at a threshold or a limit of refusal, falling to 0 away from it.

    Of a score: the exponential of minus the distance on the logit scale. Of a refusal: how near the out-of-distribution score is
    to its limit (shares of the limit); one for another reason teaches nothing of the model.

    >>> round(uncertainty_of("scored", [{"value": 0.5, "threshold": 0.5}], {}), 2)
    1.0
    """
    if status == "refused":
        shares = [float(one) for one in quality.values() if isinstance(one, int | float)]
        return max(0.0, 1 - abs(max(shares) - 1)) if shares and max(shares) > 1 else 0.0
    told = [(float(one["value"]), one.get("threshold")) for one in findings if one.get("kind", "probability") == "probability"]
    return max((exp(-abs(_logit(value) - _logit(0.5 if limit is None else float(limit)))) for value, limit in told), default=0.0)


def choose(candidates: Sequence[Candidate], judged: Sequence[Candidate], count: int, chance: np.random.Generator,
           drawn: Mapping[Why, int] | None = None) -> list[Picked]:
    """Return ``count`` picks in the order to judge them in. ``drawn``: random picks that wait already, and count.

    People who test are picked at random alone, so that the local test is no odd selection; nobody is picked twice for learning.
    """
    wanted = {why: round(share * count) for why, share in SHARES.items()}
    for why, already in (drawn or {}).items():
        wanted[why] = max(0, wanted[why] - already)
    places = _places([*candidates, *judged])
    of, known = places[: len(candidates)], places[len(candidates):]
    learning = [i for i, one in enumerate(candidates) if one.split in ("train", "val")]
    testing = [i for i, one in enumerate(candidates) if one.split == "test"]
    nearest = _distances(of, known)
    picks: dict[Why, list[Picked]] = {why: [] for why in SHARES}
    for why, people in (("test", testing), ("control", learning)):
        told: Why = "test" if why == "test" else "control"
        for i in chance.permutation(people)[: wanted[told]].tolist():
            picks[told].append(Picked(candidates[i], told, float(nearest[i])))
            nearest = np.minimum(nearest, _distances(of, of[[i]]))
    taken = {one.candidate.key for some in picks.values() for one in some}
    people_taken = {one.candidate.group for some in picks.values() for one in some}
    surest_last = sorted((i for i in learning if candidates[i].uncertainty > 0), key=lambda i: (-candidates[i].uncertainty, i))
    for told, pool in (("uncertain", surest_last[: POOL * wanted["uncertain"]]), ("unlike", learning)):
        why = "uncertain" if told == "uncertain" else "unlike"
        weights = np.array([one.uncertainty if why == "uncertain" else 1.0 for one in candidates])
        for _ in range(wanted[why]):
            left = [i for i in pool if candidates[i].key not in taken and candidates[i].group not in people_taken]
            if not left:
                break
            i = max(left, key=lambda i: (weights[i] * (NEAR + min(float(nearest[i]), 1e6)), -i))
            picks[why].append(Picked(candidates[i], why, float(nearest[i])))
            taken.add(candidates[i].key)
            people_taken.add(candidates[i].group)
            nearest = np.minimum(nearest, _distances(of, of[[i]]))
    return _in_turn(picks)


def _in_turn(picks: Mapping[Why, list[Picked]]) -> list[Picked]:
    """Mix the reasons evenly: who judges only the beginning of the list judges some of each."""
    placed = [((place + 0.5) / len(some), number, one)
              for number, some in enumerate(picks.values()) for place, one in enumerate(some)]
    return [one for _, _, one in sorted(placed, key=lambda told: told[:2])]


def _places(every: Sequence[Candidate]) -> Floats:
    """Return what each is like as a point: numbers on a robust scale, 0 where not known; words as a corner of a cube."""
    names = sorted({name for one in every for name in one.numbers})
    table = np.array([[one.numbers.get(name, np.nan) for name in names] for one in every], np.float64).reshape(len(every), len(names))
    columns = []
    for column in table.T:
        known = column[np.isfinite(column)]
        if len(known) < 2 or known.min() == known.max():
            continue
        low, middle, high = np.percentile(known, [25, 50, 75])
        scale = (high - low) / 1.349 or known.std()
        columns.append(np.nan_to_num(np.clip((column - middle) / scale, -CLIPPED, CLIPPED)))
    for name in sorted({name for one in every for name in one.words}):
        for word in sorted({one.words.get(name, "") for one in every} - {""}):
            columns.append(np.array([float(one.words.get(name, "") == word) for one in every]))
    return np.stack(columns, axis=1) if columns else np.zeros((len(every), 1))


def _distances(points: Floats, centres: Floats) -> Floats:
    """Return how far each point (n, d) lies from the nearest centre (k, d), per dimension; infinity without a centre."""
    if not len(centres):
        return np.full(len(points), np.inf)
    nearest = np.full(len(points), np.inf)
    for some in np.array_split(centres, max(1, len(centres) // 64)):
        gaps = ((points[:, None, :] - some[None]) ** 2).mean(axis=2)
        nearest = np.minimum(nearest, np.sqrt(gaps.min(axis=1)))
    return nearest


def _logit(p: float) -> float:
    bounded = min(max(p, 1e-6), 1 - 1e-6)
    return log(bounded / (1 - bounded))
