"""Sides: whose study or risk it is, under which pseudonym they leave, and on which side of the split they are for ever.

Everybody the store holds is put on a side in the order they came, whichever part of them a set holds: so the sides never
depend on what was exported first. A number that stands beside many people's first keys is nobody's and joins nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.deidentify.pseudonym import Pseudonyms
from service.persons_keys import keys_of_dicom, keys_of_fhir
from service.rights.person import dataset_of
from service.site import Site
from service.store import splits
from service.store.rights import study_key
from service.store.splits import NEITHER, Member, Seen
from service.store.store import Store

SPLITS = ((80, "train"), (90, "val"), (100, "test"))
SHARED = 3  # first keys beside which a number may stand and still be one person's
AT_ONCE = 500  # people settled in one transaction


@dataclass(frozen=True)
class Side:
    """``person`` is what pseudonyms are made of, ``group`` is the pseudonym, ``split`` is train, val, test or neither."""

    person: str
    group: str
    split: str


def split_of(group: str) -> str:
    """Return on which side somebody new is, from their pseudonym: 80 : 10 : 10."""
    share = int(hashlib.sha256(group.encode()).hexdigest(), 16) % 100
    return next(name for below, name in SPLITS if share < below)


class Sides:
    """The sides of everybody at one store. ``names`` makes the pseudonyms."""

    def __init__(self, store: Store, site: Site, names: Pseudonyms) -> None:
        self.store, self.site, self.names = store, site, names
        self._known: dict[str, Member] = {}
        self._shared: frozenset[str] = frozenset()

    def settle(self, went: Callable[[], None] = lambda: None) -> None:
        """Put everybody the store holds on a side, or find that they are; a killed run goes on where it was."""
        self._known = splits.members(self.store)
        beside: dict[str, set[str]] = {}
        for seen in splits.everybody(self.store):
            first, *others = self._keys(seen)
            for one in others:
                told = beside.setdefault(one, set())
                if len(told) <= SHARED:
                    told.add(first)
        self._shared = frozenset(key for key, firsts in beside.items() if len(firsts) > SHARED)
        waiting: list[tuple[tuple[str, ...], str]] = []
        for seen in splits.everybody(self.store):
            keys = self._linked(self._keys(seen))
            known = {self._known.get(one) for one in keys}
            if len(known) > 1 or None in known:
                waiting.append((keys, self._new_side(seen, keys)))
            if len(waiting) >= AT_ONCE:
                self._write(waiting)
            went()
        self._write(waiting)
        self._known = splits.members(self.store)

    def of_study(self, uid: str, keys: Sequence[str]) -> Side:
        """Return the side of a study's patient; one without any key is known by the study alone."""
        return self._side((*keys,) or (study_key(self.store, uid),))

    def of_risk(self, person: str, subject: str) -> Side:
        """Return the side of the person a risk is about."""
        return self._side(self._keys(Seen(0.0, person=person, subject=subject)))

    def left(self) -> list[str]:
        """Return every pseudonym under which people who are on neither side now may have left before."""
        return sorted({self.names.person(key) for key, member in self._known.items() if member.split == NEITHER})

    def _side(self, keys: Sequence[str]) -> Side:
        found = self._known.get(keys[0])
        if found is None:  # came while a set was being written
            with self.store.session() as session:
                found = splits.settle(session, self._linked(keys), split_of(self.names.person(keys[0])))
            self._known[keys[0]] = found
        return Side(found.group, self.names.person(found.group), found.split)

    def _write(self, waiting: list[tuple[tuple[str, ...], str]]) -> None:
        with self.store.session() as session:
            for keys, side in waiting:
                splits.settle(session, keys, side)
        waiting.clear()

    def _keys(self, seen: Seen) -> tuple[str, ...]:
        if not seen.uid:
            return tuple(dict.fromkeys([seen.person, *keys_of_fhir(self.store, self.site, None, seen.subject)]))
        return keys_of_dicom(self.store, self.site, dataset_of(seen.attributes)) or (study_key(self.store, seen.uid),)

    def _linked(self, keys: Sequence[str]) -> tuple[str, ...]:
        return (keys[0], *(one for one in keys[1:] if one not in self._shared))

    def _new_side(self, seen: Seen, keys: Sequence[str]) -> str:
        """Return where somebody new belongs: sets of before the sides were kept had them there."""
        nameless = seen.uid and keys[0] == study_key(self.store, seen.uid)
        return split_of(self.names.person(f"study {seen.uid}" if nameless else keys[0]))
