"""Passes: once an hour one of the processes counts, judges and rings; once a night golden inputs and studies are scored again.

Several processes may be told to watch: a turn in the store lets one of them do it, and another when that one falls silent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from models.model import Model
from models.shelf import Shelf
from service.lives import Background, name_of_process
from service.logs import where
from service.monitor import golden
from service.monitor.found import found_of
from service.monitor.judged import judge
from service.monitor.references import referred
from service.monitor.rolled import roll_up, weeks_of
from service.monitor.weeks import KINDS, Kind, Signal
from service.reading import Reading
from service.releases.standing import Standings
from service.site import Site
from service.store import alarms, observations, watching
from service.store.store import Store

log = logging.getLogger("diaphane")
PASS, GOLDEN = "pass", "golden"
EVERY_S, GOLDEN_EVERY_S = 3600.0, 20 * 3600.0  # a night that was missed is made up for at the next hour
LOOKED_S = 60.0
SETTLED_S = 3600.0  # so long after the start a night that was missed is made up for
LEASE_S = 1800.0
SHORTEST_S = 86_400.0  # an alarm of what comes and goes with the hours stays for a day
STREAMS = 8  # of an alarm that are told
NAMED: frozenset[Kind] = frozenset({"input_drift", "output_drift"})  # whose streams a log may name: a group could be called anything


@dataclass(frozen=True)
class Looked:
    """What one pass found of one release."""

    release: str
    n: int
    signals: tuple[Signal, ...]
    new: tuple[Kind, ...]
    ended: tuple[Kind, ...]


def watched(standings: Standings, shelf: Shelf) -> list[Model]:
    """Return the releases that serve or shadow."""
    return [shelf.models[name] for name, one in standings.states(shelf).items() if one.state in ("live", "shadow")]


def check(store: Store, site: Site, models: Sequence[Model], *, now: datetime | None = None) -> list[Looked]:
    """Count what is not counted yet, judge every release that gave results, ring and end alarms, forget old observations."""
    zone = site.device.zone
    today = (now or datetime.now(zone)).date()
    seen = set(observations.releases(store)) | set(watching.states(store))
    found = [_look(store, model, today, zone) for model in models if model.id in seen]
    observations.prune(store, _start(today - timedelta(days=site.watch.keep_days), zone))
    return found


def _look(store: Store, model: Model, today: date, zone: tzinfo | None) -> Looked:
    reference = referred(store, model)
    roll_up(store, model.id, reference, today=today, zone=zone)
    weeks, running = weeks_of(store, model.id, reference, today=today, zone=zone)
    signals = judge(reference.reference, weeks, running)
    by_kind: dict[Kind, list[Signal]] = {}
    for one in signals:
        by_kind.setdefault(one.kind, []).append(one)
    new, ended = [], []
    with store.session() as session:
        for kind in KINDS:
            if kind == "golden":  # the night's business
                continue
            if those := by_kind.get(kind):
                worst = sorted(those, key=_size, reverse=True)
                streams = [{"stream": one.stream, **one.detail} for one in worst[:STREAMS]]
                if alarms.ring(session, model.id, kind, worst[0].stream, {"count": len(those), "streams": streams}):
                    new.append(kind)
            elif alarms.end(session, model.id, kind, older_than_s=SHORTEST_S):
                ended.append(kind)
        watching.put_state(session, model.id, found=found_of(reference, weeks, running, signals))
    for kind in new:
        first = by_kind[kind][0].stream if kind in NAMED else f"{len(by_kind[kind])} of its figures"
        log.error("ALARM %s: %s is not as it was, first of all %s; see /review/monitor", kind, model.id, first)
    return Looked(model.id, running.n, tuple(signals), tuple(new), tuple(ended))


def _size(one: Signal) -> float:
    return float(one.detail.get("psi", one.detail.get("mmd", one.detail.get("at", 0.0))))


class Monitor:
    """Watches in a thread of its own. ``models`` gives the releases that serve or shadow, none while they are being opened."""

    def __init__(self, store: Callable[[], Store], site: Site, shelf: Callable[[], Shelf], reading: Callable[[], Reading],
                 models: Callable[[], Sequence[Model]]) -> None:
        self._store, self._site, self._shelf, self._reading, self._models = store, site, shelf, reading, models
        self._name = name_of_process("monitor")
        self._background = Background(self._work, "monitor", daemon=True)
        self._began = time.monotonic()

    def open(self) -> None:
        """Begin."""
        self._background.open()

    def close(self) -> None:
        """End, after the release that is being looked at."""
        self._background.close()

    def step(self, now: datetime | None = None) -> bool:
        """Do what is due and nobody else does; True when something was."""
        models = self._models()
        if not models:
            return False
        store, moment = self._store(), now or datetime.now(self._site.device.zone)
        did = self._turn(store, PASS, EVERY_S, lambda: check(store, self._site, models, now=moment))
        # A night that was missed is made up for, but not in the first hour: what was just started may be about to stop.
        missed = time.time() - watching.done_at(store, GOLDEN) > GOLDEN_EVERY_S + 8 * 3600
        missed = missed and time.monotonic() - self._began > SETTLED_S
        if moment.hour == self._site.watch.golden_hour or missed:
            did |= self._turn(store, GOLDEN, GOLDEN_EVERY_S, lambda: self._night(store, models))
        return did

    def _night(self, store: Store, models: Sequence[Model]) -> None:
        for model in models:
            if self._background.stop.is_set():
                return
            golden.night(store, self._shelf(), self._reading(), [model])

    def _turn(self, store: Store, name: str, every_s: float, work: Callable[[], object]) -> bool:
        if time.time() - watching.done_at(store, name) < every_s:
            return False
        last = watching.take_turn(store, name, self._name, LEASE_S)
        if last is None or time.time() - last < every_s:
            return False
        work()
        watching.done(store, name, self._name)
        return True

    def _work(self) -> None:
        while not self._background.stop.wait(LOOKED_S):
            try:
                self.step()
            except Exception as error:  # the next minute tries again
                log.error("watching failed: %s", where(error))


def _start(day: date, zone: tzinfo | None) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
