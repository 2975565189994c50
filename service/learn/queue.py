"""Queue: what to judge next, picked from the store. Who opposes training is never picked, nor who is on neither side."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from models.deidentify.pseudonym import Pseudonyms
from service.learn.choice import SHARES, Candidate, Picked, Why, choose, uncertainty_of
from service.rights.dataset import key_of
from service.rights.rights import keys_of_study
from service.rights.sides import Sides
from service.site import Site
from service.store import picks, rights, splits
from service.store.picks import RANDOM, NewPick, Waiting
from service.store.splits import NEITHER
from service.store.store import Store

COUNT = 40
SINCE_S = 90 * 86_400.0  # older images are seldom opened again
LOOKED_AT = 3_000  # results, the latest
KNOWN = 1_000  # judged ones that are looked at as known


@dataclass(frozen=True)
class Grown:
    """How far a hospital has come, in counts alone: people by side, picks by reason, verdicts by release."""

    people: dict[str, int]
    picks: dict[str, tuple[int, int]]  # reason → (wait, judged)
    verdicts: dict[str, int]


def pick(store: Store, site: Site, *, count: int = COUNT, now: float | None = None, seed: int | None = None) -> list[Picked]:
    """Pick what to judge next and write it down; return the new picks. ``seed`` draws the same again, for tests."""
    when = time.time() if now is None else now
    sides = Sides(store, site, Pseudonyms(key_of(store)))
    sides.settle()
    every = {f"{one.kind} {one.target}": one for one in picks.waiting(store, when - SINCE_S, LOOKED_AT)}
    candidates = list(_candidates(store, site, sides, every.values()))
    known = list(_candidates(store, site, sides, picks.judged(store, KNOWN)))
    wait = picks.counts(store)
    drawn: dict[Why, int] = {why: wait.get(why, (0, 0))[0] for why in SHARES if why in RANDOM}
    open_random = {f"{one.kind} {one.target}" for one in picks.open_picks(store) if one.why in RANDOM}
    found = choose([one for one in candidates if one.key not in open_random], known, count, np.random.default_rng(seed), drawn)
    picks.replace(store, [_new(every[one.candidate.key], one) for one in found], when)
    return found


def grown(store: Store) -> Grown:
    """Return the counts."""
    return Grown(splits.counts(store), picks.counts(store), picks.verdict_counts(store))


def _candidates(store: Store, site: Site, sides: Sides, waiting: Iterable[Waiting]) -> Iterable[Candidate]:
    keys_of = keys_of_study(store, site)
    nobody = rights.nobody_opposes(store)
    for one in waiting:
        keys = keys_of(one.attributes) if one.uid else (one.person,)
        if not nobody and rights.opposes(store, persons=keys, study_uid=one.uid, purpose="training"):
            continue
        side = sides.of_study(one.uid, keys) if one.uid else sides.of_risk(one.person, one.subject)
        if side.split == NEITHER:
            continue
        numbers = {name: float(value) for name, value in one.statistics.items() if isinstance(value, int | float)}
        numbers |= {f"said.{finding['name']}": float(finding["value"]) for finding in one.findings if "value" in finding}
        numbers |= {f"quality.{name}": float(value) for name, value in one.quality.items() if isinstance(value, int | float)}
        words = {"model": one.release, **{name: str(word) for name, word in one.groups.items()}}
        yield Candidate(f"{one.kind} {one.target}", side.group, side.split, uncertainty_of(one.status, one.findings, one.quality),
                        numbers, words)


def _new(waiting: Waiting, one: Picked) -> NewPick:
    return NewPick(waiting.kind, waiting.target, waiting.entry_key, waiting.release, one.why, one.candidate.uncertainty,
                   min(one.distance, 1e6))


