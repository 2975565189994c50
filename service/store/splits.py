"""On which side of the split a person is, for ever: train, val or test; neither, once two sides turn out to be one person.

A person is every key they were seen under: keys seen together are one person's from then on. The first key that was seen
decides the side. So nobody who tests ever trains, whatever is learnt of them later, and in whatever order sets are written.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.review_tables import Risk
from service.store.store import Store
from service.store.tables import Study
from service.store.trust_tables import SplitMember

Json = dict[str, Any]
NEITHER = "neither"
_BATCH = 500
_UNSYNCHRONISED = {"synchronize_session": False}


@dataclass(frozen=True)
class Member:
    """The group a person is, named by the first key that was seen of them, and its side: train, val, test or neither."""

    group: str
    split: str


@dataclass(frozen=True)
class Seen:
    """Somebody as the store holds them: attributes of a study, or the person and the reference of a risk."""

    at: float
    uid: str = ""
    attributes: Json = field(default_factory=dict, repr=False)
    person: str = ""
    subject: str = field(default="", repr=False)


def settle(session: Session, keys: Sequence[str], side: str, *, now: float | None = None) -> Member:
    """Return the group of keys that were seen together, the primary one first; ``side`` is that of somebody new.

    Groups that turn out to be one person become the oldest of them. Were they on different sides, the person is on neither:
    some of them may have trained already, and some may have tested.
    """
    lock(session)
    asked = list(dict.fromkeys(keys))
    rows = session.scalars(select(SplitMember).where(SplitMember.person.in_(asked))).all()
    if not rows:
        found, since = Member(asked[0], side), time.time() if now is None else now
    else:
        oldest = min(rows, key=lambda row: (row.since, row.group))
        sides = {row.split for row in rows}
        found, since = Member(oldest.group, sides.pop() if len(sides) == 1 else NEITHER), oldest.since
        if changed := {row.group for row in rows if (row.group, row.split) != (found.group, found.split)}:
            session.execute(update(SplitMember).where(SplitMember.group.in_(changed)).values(group=found.group, split=found.split),
                            execution_options=_UNSYNCHRONISED)
    known = {row.person for row in rows}
    session.add_all(SplitMember(person=one, group=found.group, split=found.split, since=since) for one in asked if one not in known)
    session.flush()
    session.expire_all()
    return found


def members(store: Store) -> dict[str, Member]:
    """Return the group of every key that is known."""
    with store.reading() as session:
        rows = session.execute(select(SplitMember.person, SplitMember.group, SplitMember.split))
        return {person: Member(group, split) for person, group, split in rows}


def counts(store: Store) -> dict[str, int]:
    """Return how many people are on each side."""
    with store.reading() as session:
        rows = session.execute(select(SplitMember.split, func.count(SplitMember.group.distinct())).group_by(SplitMember.split))
        return {split: int(count) for split, count in rows}


def erase(session: Session, keys: Collection[str]) -> int:
    """Remove the groups that some keys are of, whole; return how many rows."""
    groups = select(SplitMember.group).where(SplitMember.person.in_(list(keys))).distinct()
    named = list(session.scalars(groups))
    done: Any = session.execute(delete(SplitMember).where(SplitMember.group.in_(named)), execution_options=_UNSYNCHRONISED)
    return int(done.rowcount)


def everybody(store: Store) -> Iterator[Seen]:
    """Yield everybody the store holds a study or a risk of, in the order they came."""
    return heapq.merge(_studies(store), _risks(store), key=lambda one: one.at)


def _studies(store: Store) -> Iterator[Seen]:
    after = (float("-inf"), "")
    while True:
        with store.reading() as session:
            rows = session.execute(
                select(Study.received_at, Study.uid, Study.attributes)
                .where(Study.received_at >= after[0], (Study.received_at > after[0]) | (Study.uid > after[1]))
                .order_by(Study.received_at, Study.uid).limit(_BATCH)).all()
        if not rows:
            return
        after = (rows[-1][0], rows[-1][1])
        yield from (Seen(at, uid=uid, attributes=attributes) for at, uid, attributes in rows)


def _risks(store: Store) -> Iterator[Seen]:
    after = (float("-inf"), 0)
    while True:
        with store.reading() as session:
            rows = session.execute(
                select(Risk.scored_at, Risk.id, Risk.person, Risk.subject)
                .where(Risk.scored_at >= after[0], (Risk.scored_at > after[0]) | (Risk.id > after[1]))
                .order_by(Risk.scored_at, Risk.id).limit(_BATCH)).all()
        if not rows:
            return
        after = (rows[-1][0], rows[-1][1])
        yield from (Seen(at, person=person, subject=subject) for at, _, person, subject in rows)
