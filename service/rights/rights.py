"""Rights: what a person may ask for, and what the law holds against it: erasure, opposition, legal hold, and what stands.

Nothing here says who the person is: the audit gets keys, counts and words of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.access.caller import Caller
from service.audit.line import Action
from service.ehr_house import House
from service.persons_keys import keys_of_dicom
from service.rights.bulk_lines import erase_lines
from service.rights.errors import RightsError
from service.rights.mentions import Mentions
from service.rights.person import Person, find, find_study
from service.site import Site
from service.store import erasing, persons, rights
from service.store.audit import Outcome
from service.store.retention import drop_leftovers
from service.store.rights import Scope, Standing, study_key
from service.store.store import Store, Transaction

PATIENCE_S = 20.0
_POLL_S = 0.2
BY_ONES = 500  # messages removed at once
PERSONS_A_LINE = 200


class Notes(Protocol):
    """The audit, as far as it is needed here."""

    def note(self, caller: Caller | None, action: Action, *, kind: str = "", item: str = "", persons: Iterable[str] = (),
             outcome: Outcome = "success", detail: dict[str, Any] | None = None) -> None: ...


@dataclass(frozen=True)
class Erased:
    """What an erasure did. ``copies``: target → results it got or may have got; to be asked there."""

    images: int = 0
    studies: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    settled: bool = True  # no byte is left in the database's files; else it is to be done again later

    @property
    def total(self) -> int:
        """How many rows went."""
        return self.studies + self.images + sum(self.rows.values())


class Rights:
    """The rights of persons at one store."""

    def __init__(self, store: Store, site: Site, audit: Notes) -> None:
        self.store, self.site, self._audit = store, site, audit

    @classmethod
    def of(cls, house: House) -> Rights:
        """Return the rights at a house whose store is open."""
        return cls(house.store, house.site, house.audit)

    def find(self, caller: Caller | None, identifier: str, issuer: str = "", *, study: bool = False) -> Person:
        """Return the person of an identifier, or one study by its UID; that somebody looked is noted. Raises RightsError."""
        person = find_study(self.store, identifier) if study else find(self.store, self.site, identifier, issuer or None)
        self._audit.note(caller, "search", kind="study" if study else "person", item=self._item(person), persons=person.keys,
                         detail={"source": "rights"})
        return person

    def standings(self, person: Person) -> list[Standing]:
        """Return oppositions and holds of a person or of their one study, with those that ended."""
        with self.store.reading() as session:
            found = rights.standings(session, persons=person.keys, ended=True)
            for uid in person.studies:
                found += rights.standings(session, study=study_key(self.store, uid), ended=True)
        return found

    def held(self, person: Person) -> bool:
        """Tell whether a legal hold stands on a person or on any of their studies."""
        with self.store.reading() as session:
            return self._is_held(session, person)

    def oppose(self, caller: Caller | None, person: Person, scope: Scope) -> None:
        """Write down that a person, or one study, is not to be scored, not used for training, or both. What waits is not scored."""
        with self.store.session() as session:
            rights.oppose(session, persons=person.keys, study=self._one_study(person), scope=scope, by=_by(caller))
        self._audit.note(caller, "oppose", kind=self._kind(person), item=self._item(person), persons=person.keys,
                         detail={"scope": scope, "way": "begin"})

    def withdraw(self, caller: Caller | None, person: Person) -> int:
        """End the oppositions of a person or a study."""
        return self._end(caller, person, "opposition", "oppose")

    def hold(self, caller: Caller | None, person: Person, reason: str) -> None:
        """Keep everything about a person or a study until it is released, whatever else is asked."""
        with self.store.session() as session:
            rights.hold(session, persons=person.keys, study=self._one_study(person), reason=reason[:4000], by=_by(caller))
        self._audit.note(caller, "hold", kind=self._kind(person), item=self._item(person), persons=person.keys,
                         detail={"way": "begin"})

    def release(self, caller: Caller | None, person: Person) -> int:
        """End the legal holds on a person or a study."""
        return self._end(caller, person, "hold", "hold")

    def exported(self, caller: Caller | None, person: Person, count: int, *, way: str) -> None:
        """Note that what is held of a person was written out for them."""
        self._audit.note(caller, "export", kind=self._kind(person), item=self._item(person), persons=person.keys,
                         detail={"count": count, "format": "access", "way": way})

    def pruned(self, caller: Caller | None, count: int) -> None:
        """Note that what is old was removed."""
        self._audit.note(caller, "prune", kind="store", detail={"count": count})

    def left(self, caller: Caller | None, keys: Iterable[str], count: int) -> None:
        """Note that data of persons left de-identified, for each of them."""
        known = sorted(keys)
        for at in range(0, max(len(known), 1), PERSONS_A_LINE):
            self._audit.note(caller, "deidentify", kind="set", persons=known[at : at + PERSONS_A_LINE], detail={"count": count})

    def erase(self, caller: Caller | None, person: Person, *, oppose: Scope | None = None, pack: bool = False) -> Erased:
        """Remove everything about a person, or one study, but the lines of the audit; what is gone already is no error.

        ``oppose``: what may not be done with images that come again. Raises RightsError ``held``, ``busy``; what was removed
        until then stays removed, and a second call goes on.
        """
        try:
            erased = self._erase(caller, person, oppose, pack=pack)
        except RightsError as error:
            self._audit.note(caller, "erase", kind=self._kind(person), item=self._item(person), persons=person.keys,
                             outcome="denied", detail={"reason": error.code})
            raise
        self._audit.note(caller, "erase", kind=self._kind(person), item=self._item(person), persons=person.keys,
                         detail={"count": erased.total, "targets": sorted(erased.copies)})
        return erased

    def _erase(self, caller: Caller | None, person: Person, oppose: Scope | None, *, pack: bool) -> Erased:
        def allowed(session: Transaction) -> None:
            if self._is_held(session, person):
                raise RightsError("held")

        if self.held(person):
            raise RightsError("held")
        if oppose is not None:  # first: what comes while this goes on is not scored either
            self.oppose(caller, person, oppose)
        self._wait_for_work(person)
        copies = persons.receivers(self.store, person.studies)
        mentions = Mentions(self.store, self.site, person, persons.files_of_verdicts(self.store, person.studies))
        rows, written = self._erase_messages(mentions)
        steps = {uid for uid, attributes in persons.workitems(self.store, person.texts) if mentions.is_in_dicom(attributes)}
        if person.subjects or person.risks or person.keys:
            rows |= erasing.erase_record(self.store, subjects=person.subjects, risks=person.risks, persons=person.keys,
                                         workitems=steps, allowed=allowed)
        images = [count for uid in person.studies if (count := erasing.erase_study(self.store, uid, allowed)) is not None]
        rows["bulk_lines"] = erase_lines(self.store, mentions)
        rows["words"] = erasing.forget_words(self.store, mentions.is_said)
        drop_leftovers(self.store)
        settled = erasing.settle(self.store, pack=pack)
        for target, count in written.items():
            copies[target] = copies.get(target, 0) + count
        return Erased(sum(images), len(images), {name: count for name, count in rows.items() if count}, copies, settled)

    def _erase_messages(self, mentions: Mentions) -> tuple[dict[str, int], dict[str, int]]:
        """Remove what is in the outbox about the person; return how much, and who got some of it."""
        ids: list[int] = []
        got: dict[str, int] = {}
        for batch in persons.messages_in_batches(self.store):
            for one in batch:
                if mentions.is_in(one.content):
                    ids.append(one.id)
                    if one.state in ("done", "running") or one.attempts:
                        got[one.target] = got.get(one.target, 0) + 1
        removed = sum(erasing.erase_messages(self.store, ids[at : at + BY_ONES]) for at in range(0, len(ids), BY_ONES))
        return {"messages": removed}, got

    def _wait_for_work(self, person: Person) -> None:
        """Wait until nothing of the person's studies is being scored or sent. Raises RightsError ``busy``."""
        until = time.monotonic() + PATIENCE_S
        while person.studies and erasing.stop_work(self.store, person.studies):
            if time.monotonic() > until:
                raise RightsError("busy")
            time.sleep(_POLL_S)

    def _end(self, caller: Caller | None, person: Person, kind: Any, action: Action) -> int:
        with self.store.session() as session:
            ended = rights.end(session, kind, persons=person.keys, study=self._one_study(person))
        self._audit.note(caller, action, kind=self._kind(person), item=self._item(person), persons=person.keys,
                         detail={"way": "end", "count": ended})
        return ended

    def _is_held(self, session: Transaction, person: Person) -> bool:
        studies = [study_key(self.store, uid) for uid in person.studies]
        return rights.is_held(session, persons=person.keys, studies=studies) or (
            not person.keys and self._person_is_held(session, person))

    def _person_is_held(self, session: Transaction, person: Person) -> bool:
        """Tell whether the patient of one study is held, which was named by its UID alone."""
        keys = keys_of_study(self.store, self.site)
        attributes = [persons.study_attributes(self.store, uid) for uid in person.studies]
        return any(rights.is_held(session, persons=keys(one)) for one in attributes if one is not None)

    def _one_study(self, person: Person) -> str:
        return study_key(self.store, person.studies[0]) if not person.keys and person.studies else ""

    def _kind(self, person: Person) -> str:
        return "person" if person.keys else "study"

    def _item(self, person: Person) -> str:
        """Return what the audit calls a study that is gone: its key."""
        return "" if person.keys else self._one_study(person)


def keys_of_study(store: Store, site: Site) -> Callable[[Any], tuple[str, ...]]:
    """Return what gives the keys of a study's patient from its attributes."""
    return lambda attributes: keys_of_dicom(store, site, attributes)


def _by(caller: Caller | None) -> str:
    return caller.subject if caller else "local:command"
