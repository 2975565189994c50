"""From scored moments to alerts and episodes: what a remote monitoring team would have seen.

An *episode* begins with a reading below the limit after none for 60 min; it is *told* when a moment in the 60 min before
alerts. An *alert* is a run of alerting moments no more than 60 min apart; it is *false* when no reading below the limit
follows within 60 min of any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import bootstrap
from training.data import cgm

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Watch:
    """Every scored moment (N,): its sensor, its minute, and whether a low reading follows; and the episodes (E,).

    ``before`` lists for each episode the moments of its last 60 min, at least one each; ``missed`` counts episodes that
    no scored moment came before, such as those at the start of a recording.
    """

    sensor: Indices
    minute: Array
    low: NDArray[np.bool_]
    before: list[Indices]
    onset: Array
    missed: int


def watch(split: str, root: Path) -> Watch:
    """Read a split's moments in the order of `cgm.records`, and its episodes."""
    sensors: list[int] = []
    minutes: list[float] = []
    lows: list[bool] = []
    before: list[Indices] = []
    onsets: list[float] = []
    missed = 0
    for number, one in enumerate(cgm.wearings(split, root)):
        start = len(minutes)
        for _, place, low in cgm.moments(one):
            sensors.append(number)
            minutes.append(float(one.minutes[place]))
            lows.append(low)
        mine = np.array(minutes[start:])
        for onset in onsets_of(one):
            near = np.flatnonzero((mine < onset) & (onset - mine <= cgm.AHEAD_MIN + cgm.SLACK_MIN))
            if len(near):
                before.append(start + near)
                onsets.append(onset)
            else:
                missed += 1
    return Watch(np.array(sensors), np.array(minutes), np.array(lows), before, np.array(onsets), missed)


def onsets_of(one: cgm.Wearing) -> list[float]:
    """Return the minutes at which a sensor first reads low, after none for 60 min."""
    found: list[float] = []
    last = -np.inf
    for minute in one.minutes[one.values < cgm.LIMIT_MG_DL].tolist():
        if minute - last > cgm.AHEAD_MIN:
            found.append(minute)
        last = minute
    return found


def false_alerts(seen: Watch, alerting: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the moments (N,) at which a false alert begins."""
    begins = np.zeros(len(alerting), bool)
    places = np.flatnonzero(alerting)
    if not len(places):
        return begins
    apart = (np.diff(seen.sensor[places]) != 0) | (np.diff(seen.minute[places]) > cgm.AHEAD_MIN + cgm.SLACK_MIN)
    for run in np.split(places, np.flatnonzero(apart) + 1):
        begins[run[0]] = not seen.low[run].any()
    return begins


def threshold_telling(seen: Watch, p: Array, share: float) -> float:
    """Return the highest threshold at which at least ``share`` of the episodes are told."""
    best = np.sort([p[places].max() for places in seen.before])[::-1]
    return float(best[int(np.ceil(share * len(best))) - 1])


def figures_at(seen: Watch, p: Array, threshold: float, subjects: list[str], resamples: int) -> dict[str, dict[str, object]]:
    """Return what happens at a threshold, each with its interval over resampled subjects.

    ``minutes_before``: how long before a told episode the first alerting moment of its last hour lies, the median.
    """
    alerting = p >= threshold
    begins = false_alerts(seen, alerting).astype(np.float64)
    told, all_episodes = np.zeros(len(p)), np.zeros(len(p))
    lead = []
    for places, onset in zip(seen.before, seen.onset.tolist(), strict=True):
        all_episodes[places[-1]] += 1
        raised = places[alerting[places]]
        told[places[-1]] += len(raised) > 0
        if len(raised):
            lead.append(onset - float(seen.minute[raised[0]]))
    days = np.full(len(p), cgm.GRID_MIN / 1440)
    low = seen.low.astype(np.float64)
    statistics = {
        "episodes_told": _ratio(told, all_episodes),
        "false_alerts_a_day": _ratio(begins, days),
        "moments_told": _ratio(low * alerting, low),
        "moments_right": _ratio(low * alerting, alerting.astype(np.float64)),
    }
    found: dict[str, dict[str, object]] = {
        name: dict(bootstrap.figure(one, subjects, resamples=resamples).as_json()) for name, one in statistics.items()
    }
    return {**found, "minutes_before": {"value": float(np.median(lead)) if lead else None, "n": len(lead)}}


def _ratio(above: Array, below: Array) -> bootstrap.Statistic:
    def statistic(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ above) / (weights @ below))

    return statistic
