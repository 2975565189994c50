"""Judged: what in the weeks of a release is not as it was. Pure: weeks of counts in, signals out, the same in service and in drill.

    input_drift, output_drift    a stream, or all of them at once, lies elsewhere than in the reference
    refusals, output_drift       more are refused, or are above a threshold, than there were
    agreement, precision         professionals contradict more results, or more alerts, than at first
    latency                      a result takes twice as long

One stream fires when it differs in two windows in a row, each with Holm's correction over all streams and by more than a
nuisance, or far beyond in one. Shares and slow shifts fire when a cumulative sum passes a limit that ordinary weeks pass less
than once in ARL_WEEKS weeks. A window is a week, or as many weeks as it takes to have enough results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.reference import Reference
from models.statistics.drift import Change, change_of, ewma, ewma_reach, holm, mmd
from service.monitor.shares import people, shares
from service.monitor.tally import Tally, added, quantile_of
from service.monitor.weeks import Kind, Signal, Week

ALPHA, FAR = 0.01, 1e-6  # after Holm's correction: twice in a row, and at once
NUISANCE_PSI, FAR_PSI = 0.1, 0.25  # usual marks of a slight and of a major shift, here of the PSI beyond chance
NUISANCE_MMD, FAR_MMD = 0.03, 0.1  # squared discrepancy as a share of the reference's own spread
LEAST = 50  # results of a window
MOST_WEEKS = 8  # of a window; a release that gives fewer results is judged on what there is
SHIFT_SD = 0.25  # a mean that moved by less is left alone
SLOW = 2.0
LEAST_TIMED, FIRST_TIMED = 30, 200
EMBEDDING = "input.all_together"


def judge(reference: Reference | None, weeks: Sequence[Week], running: Tally | None = None) -> list[Signal]:
    """Return what stands out now. ``weeks`` are the closed ones, the earliest first; ``running`` the last seven days."""
    found: list[Signal] = []
    if reference is not None:
        found += _streams(reference, windows_of(weeks), running)
        found += _slow(reference, weeks)
    return [*found, *shares(reference, weeks, running), *people(weeks), *_latency(weeks, running)]


def windows_of(weeks: Sequence[Week], last: int = 2) -> list[Tally]:
    """Return the last windows, the earliest first: weeks joined until they have LEAST results, or MOST_WEEKS of them."""
    windows: list[list[Tally]] = []
    held: list[Tally] = []
    for week in weeks:
        held.append(week.tally)
        if sum(one.n for one in held) >= LEAST or len(held) >= MOST_WEEKS:
            windows.append(held)
            held = []
    return [added(one) for one in windows[-last:]]


@dataclass(frozen=True)
class Compared:
    """One window against the reference: stream → its change, with adjusted p."""

    changes: Mapping[str, Change]
    together: tuple[float, float] | None  # MMD beyond chance and its p
    adjusted: Mapping[str, float]

    def stands_out(self, *, alpha: float, psi: float, share: float) -> set[str]:
        """Return the streams below ``alpha`` whose change is larger than a nuisance."""
        found = {name for name, one in self.changes.items() if self.adjusted[name] < alpha and one.excess_psi >= psi}
        if self.together is not None and self.adjusted[EMBEDDING] < alpha and self.together[0] >= share:
            found.add(EMBEDDING)
        return found


def compare(reference: Reference, window: Tally) -> Compared:
    """Compare every stream of a window, and all of them together, with the reference."""
    changes = {}
    for stream in reference.streams:
        seen = window.streams.get(stream.name)
        change = change_of(stream.counts, seen.counts.tolist()) if seen is not None else None
        if change is not None:
            changes[stream.name] = change
    together = _together(reference, window)
    p = {name: one.p for name, one in changes.items()}
    if together is not None:
        p[EMBEDDING] = together[1]
    return Compared(changes, together, holm(p))


def _together(reference: Reference, window: Tally) -> tuple[float, float] | None:
    one = reference.embedding
    if one is None or window.embedding is None or window.embedded < 10 or len(window.embedding) != len(one.features):
        return None
    first = reference.stream(one.names[0])
    n = sum(first.counts) if first else reference.n
    return mmd(np.array(one.features), n, window.embedding / window.embedded, window.embedded, one.covariance_trace,
               one.covariance_squared_trace)


def _streams(reference: Reference, windows: Sequence[Tally], running: Tally | None) -> list[Signal]:
    """Fire what differs in the last two windows, or far beyond in the last one or in the running days."""
    compared = [compare(reference, one) for one in windows]
    found: dict[str, Signal] = {}
    if len(compared) == 2:
        twice = [one.stands_out(alpha=ALPHA, psi=NUISANCE_PSI, share=NUISANCE_MMD) for one in compared]
        for name in sorted(twice[0] & twice[1]):
            found[name] = _signal(name, compared[-1], "two_windows")
    last = [*compared[-1:], *([compare(reference, running)] if running is not None and running.n >= LEAST else [])]
    for one in last:
        for name in sorted(one.stands_out(alpha=FAR, psi=FAR_PSI, share=FAR_MMD)):
            found[name] = _signal(name, one, "far_beyond")
    return list(found.values())


def _signal(name: str, one: Compared, rule: str) -> Signal:
    kind: Kind = "output_drift" if name.startswith("output.") else "input_drift"
    if name == EMBEDDING and one.together is not None:
        return Signal(kind, name, {"rule": rule, "mmd": one.together[0], "p": one.adjusted[name], "limit": NUISANCE_MMD})
    change = one.changes[name]
    return Signal(kind, name, {"rule": rule, "psi": change.excess_psi, "p": one.adjusted[name], "n": change.n, "limit": NUISANCE_PSI})


def _slow(reference: Reference, weeks: Sequence[Week]) -> list[Signal]:
    """Fire an output's mean whose moving average left its limits, and by enough to matter."""
    found = []
    for stream in reference.streams:
        if not stream.name.startswith("output.") or stream.sd <= 0:
            continue
        seen = [one for week in weeks if (one := week.tally.streams.get(stream.name)) is not None and one.n]
        means = [one.total / one.n for one in seen]
        if len(means) < 2:
            continue
        n = len(means) / sum(1 / one.n for one in seen)
        known = sum(stream.counts[:-1])
        at, reach = ewma(means, stream.mean)[-1], ewma_reach(stream.sd, n, max(1, known))
        if abs(at - stream.mean) > max(reach, SHIFT_SD * stream.sd):
            found.append(Signal("output_drift", stream.name, {"rule": "moving_average", "expected": stream.mean, "seen": at,
                                                              "limit": reach}))
    return found


def _latency(weeks: Sequence[Week], running: Tally | None) -> list[Signal]:
    """Fire when the median time of a result is twice that of the first ones here."""
    first: Counter[int] = Counter()
    for place, week in enumerate(weeks):
        first += week.tally.latency
        if first.total() >= FIRST_TIMED:
            later = [one for one in (running, *(week.tally for week in weeks[place + 1 :][-1:])) if one is not None]
            now = next((one for one in later if one.latency.total() >= LEAST_TIMED), None)
            before, seen = quantile_of(first, 0.5), now.median_seconds() if now is not None else None
            if before and seen and seen >= SLOW * before:
                return [Signal("latency", "seconds", {"rule": "median", "expected": before, "seen": seen, "limit": SLOW * before})]
            return []
    return []
