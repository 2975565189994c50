"""The drill: does every alarm ring when something is amiss, and how often when nothing is? On the installed releases, without data.

Weeks are drawn from each release's reference. The false alarms are counted, not estimated: how often an alarm of each kind begins
in so many ordinary weeks, each twenty-five of them against a reference drawn anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from models.golden import read_golden
from models.model import Model
from models.reference import Reference
from service.monitor.judged import judge
from service.monitor.simulated import LEAST_REFUSED, Ordinary, injected, reference_drawn, week_drawn
from service.monitor.weeks import KINDS, Week

BLOCK = 25  # weeks against one drawn reference
BEFORE, AFTER = 12, 26  # ordinary weeks before a mishap, and how long it is waited for its alarm
GOLDEN_CHANGE = 1e-3  # of 1 + |number|: far below what anybody would see on a page


@dataclass(frozen=True)
class Ring:
    """One mishap: in how many tries its alarm rang, after how many weeks at the median, and other kinds that rang with it."""

    mishap: str
    kind: str
    rang: int
    tries: int
    weeks: float | None


@dataclass(frozen=True)
class Drilled:
    """One release. ``false_alarms``: kind → how often one began in ``weeks`` ordinary weeks."""

    release: str
    weeks: int
    per_week: int
    false_alarms: dict[str, int]
    rings: tuple[Ring, ...]

    @property
    def passed(self) -> bool:
        """Whether every alarm rang in every try, and no kind more than once a year of ordinary weeks."""
        return all(one.rang == one.tries for one in self.rings) and sum(self.false_alarms.values()) * 52 <= self.weeks * 1.0


def drill(model: Model, reference: Reference, *, weeks: int = 200, per_week: int = 150, tries: int = 5, seed: int = 1,
          on_step: Callable[[], None] | None = None) -> Drilled:
    """Drill one release."""
    rng = np.random.default_rng(seed)
    step = on_step or (lambda: None)
    usual = Ordinary(per_week=per_week, refused=max(LEAST_REFUSED, reference.refused / max(1, reference.n)))
    alarms: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    for begin in range(0, weeks, BLOCK):
        alarms.update(_ordinary(model, reference, usual, min(BLOCK, weeks - begin), rng, step))
    waited: dict[tuple[str, str], list[int]] = {}
    for _ in range(tries):
        _try(model, reference, usual, waited, rng, step)
    rings = [Ring(name, kind, len(some), tries, float(np.median(some)) if some else None) for (name, kind), some in waited.items()]
    rings.append(golden_ring(model))
    return Drilled(model.id, weeks, per_week, dict(alarms), tuple(rings))


def steps_of(model: Model, reference: Reference, weeks: int, tries: int) -> int:
    """Return how many steps a drill reports."""
    return weeks + tries * len(injected(model.manifest, reference, Ordinary()))


def golden_ring(model: Model) -> Ring:
    """Change one number of every golden output by a thousandth, and see whether it is found; unchanged nothing may be."""
    golden = read_golden(model.folder)
    found = 0
    roles = [role for role in model.manifest.graph.outputs if np.issubdtype(golden[role].dtype, np.floating)]
    for role in roles:
        changed = golden[role].copy()
        changed.flat[0] += GOLDEN_CHANGE * (1 + abs(changed.flat[0])) * (10 if role == "volume_ml" else 1)
        found += bool(model.session.faults({**golden, role: changed}))
    ordinary = 0 if model.session.faults(golden) else 1
    return Ring("one golden number changed", "golden", found * ordinary, len(roles), 0.0)


def _ordinary(model: Model, like: Reference, usual: Ordinary, weeks: int, rng: np.random.Generator,
              step: Callable[[], None]) -> Iterator[str]:
    """Yield the kind of every alarm that begins in ordinary weeks."""
    reference = reference_drawn(model.manifest, like, usual, rng)
    seen: list[Week] = []
    before: set[tuple[str, str]] = set()
    for number in range(weeks):
        week, last = week_drawn(model.manifest, like, reference, usual, number, rng)
        seen.append(week)
        now: set[tuple[str, str]] = {(one.kind, one.stream) for one in judge(reference, seen, last)}
        yield from (kind for kind, _ in now - before)
        before = now
        step()


def _try(model: Model, like: Reference, usual: Ordinary, waited: dict[tuple[str, str], list[int]], rng: np.random.Generator,
         step: Callable[[], None]) -> None:
    """Draw a reference and ordinary weeks, then let each mishap begin after them; note after how many weeks its alarm rang."""
    reference = reference_drawn(model.manifest, like, usual, rng)
    before = [week_drawn(model.manifest, like, reference, usual, number, rng)[0] for number in range(BEFORE)]
    for name, (kind, changed) in injected(model.manifest, like, usual).items():
        heard, seen = waited.setdefault((name, kind), []), list(before)
        for number in range(1, AFTER + 1):
            week, last = week_drawn(model.manifest, like, reference, changed, BEFORE + number, rng)
            seen.append(week)
            if any(one.kind == kind for one in judge(reference, seen, last)):
                heard.append(number)
                break
        step()
