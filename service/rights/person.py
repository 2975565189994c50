"""A person as the store knows them: from an identifier that was typed to every row that is about them.

What is found under an identifier is theirs when one of its keys says so; another identifier of theirs leads further only
when it is the first key of something found: an INS, or the number of a hospital. An identifier that two national
identities share is nobody's: then nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset

from models.dicom_pixels import text
from service.persons import identities_of_dataset
from service.persons_keys import keys_of_dicom, keys_of_fhir, keys_typed, known_issuers
from service.rights.errors import RightsError
from service.site import Site
from service.store import persons
from service.store.entries import folded
from service.store.store import Store

SHORTEST_TEXT = 4  # a shorter number stands by chance in too much
_INS_DIGITS = 13
_TAGS = ("00100010", "00100020", "00100021", "00100024", "00101002")
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Person:
    """Whom it is about. ``texts`` are their identifiers and ``names`` their folded names, which never leave this process."""

    keys: tuple[str, ...]
    studies: tuple[str, ...] = ()
    subjects: tuple[str, ...] = field(default=(), repr=False)
    risks: tuple[int, ...] = ()
    texts: frozenset[str] = field(default=frozenset(), repr=False)
    names: frozenset[tuple[str, ...]] = field(default=frozenset(), repr=False)

    @property
    def is_held_here(self) -> bool:
        """Tell whether anything is held of them."""
        return bool(self.studies or self.subjects or self.risks)


def find(store: Store, site: Site, identifier: str, issuer: str | None = None) -> Person:
    """Return the person of an identifier that was typed. Raises RightsError ``nobody`` (no identifier), ``ambiguous``."""
    typed = keys_typed(store, site, identifier, issuer or None)
    if not typed:
        raise RightsError("nobody")
    search = _Search(store, site, typed, _forms(identifier))
    search.run()
    return search.found()


def issuers_of(store: Store, site: Site, identifier: str) -> tuple[str, ...]:
    """List under which other issuers an identifier is held here: names in images that no site file knows, an INS nobody checked."""
    plain = identifier.strip()
    found: dict[str, None] = {}
    for _, attributes in persons.studies_saying(store, {plain}, ()) if plain and "|" not in plain else ():
        for one in identities_of_dataset(dataset_of(attributes)):
            if one.kind == "local" and one.matricule == plain and one.authority:
                found[one.authority] = None
    for issuer in known_issuers(site):
        if keys_typed(store, site, plain, issuer) and find(store, site, plain, issuer).is_held_here:
            found[issuer] = None
    return tuple(found)


def find_study(store: Store, uid: str) -> Person:
    """Return what is known of one study alone. Raises RightsError ``nobody``."""
    attributes = persons.study_attributes(store, uid.strip())
    if attributes is None:
        raise RightsError("nobody")
    dataset = dataset_of(attributes)
    return Person((), (uid.strip(),), (), (), frozenset(_texts(dataset)), frozenset(_names([text(dataset, "PatientName")])))


def dataset_of(attributes: Json) -> Dataset:
    """Return who a study is of, from its attributes in DICOM JSON; what is malformed is not known."""
    made = Dataset()
    for tag in _TAGS:
        try:
            made.update(Dataset.from_json({tag: attributes[tag]} if tag in attributes else {}))
        except Exception:  # noqa: S112  pydicom raises any class for JSON that is not DICOM's
            continue
    return made


class _Search:
    """One search, widened until nothing new is found."""

    def __init__(self, store: Store, site: Site, typed: tuple[str, ...], texts: set[str]) -> None:
        self.store, self.site, self.typed, self.texts = store, site, typed, texts
        self.keys = dict.fromkeys(typed)
        self.firsts: set[str] = set()
        self.studies: dict[str, None] = {}
        self.subjects: dict[str, None] = {}
        self.risks: dict[int, None] = {}
        self.names: set[tuple[str, ...]] = set()

    def run(self) -> None:
        """Look, and look again while more is known than before."""
        before = -1
        while before != (before := len(self.keys) + len(self.texts)):
            self._look_at_studies()
            self._look_at_records()

    def found(self) -> Person:
        """Return what was found. Raises RightsError ``ambiguous``."""
        if len(self.firsts - set(self.typed)) > 1:
            raise RightsError("ambiguous")
        return Person(tuple(self.keys), tuple(self.studies), tuple(self.subjects), tuple(self.risks),
                      frozenset(self.texts), frozenset(self.names))

    def _look_at_studies(self) -> None:
        for uid, attributes in persons.studies_saying(self.store, self.texts, self.keys):
            dataset = dataset_of(attributes)
            said = keys_of_dicom(self.store, self.site, dataset)
            if uid in self.studies or not self.keys.keys() & set(said):
                continue
            self.studies[uid] = None
            self._widen(said[:1])
            self.texts |= _texts(dataset)
            self.names |= set(_names([text(dataset, "PatientName")]))

    def _look_at_records(self) -> None:
        for subject in persons.subjects(self.store):
            if self.keys.keys() & set(keys_of_fhir(self.store, self.site, None, subject)):
                self.subjects[subject] = None
        for risk in persons.risks_of(self.store, self.keys, self.subjects):
            self.risks[risk.id] = None
            if risk.subject:
                self.subjects[risk.subject] = None
            self._widen([risk.person], keys_of_fhir(self.store, self.site, None, risk.subject))
            name = " ".join(str(risk.patient.get(part) or "") for part in ("name", "family", "given"))
            self.names |= set(_names([name]))
            self.texts |= {one for one in [str(risk.patient.get("id") or "")] if len(one) >= SHORTEST_TEXT}

    def _widen(self, firsts: Iterable[str], others: Iterable[str] = ()) -> None:
        """Take over the first key of something found, and the reference of a record: weaker ones may be shared."""
        known = [one for one in firsts if one]
        references = set(others)
        self.firsts |= set(known) - references
        self.keys |= dict.fromkeys([*known, *references])


def _forms(identifier: str) -> set[str]:
    """Return how an identifier may be written in attributes; of an INS the digits that the key is made of."""
    plain = identifier.rpartition("|")[2].strip()
    close = "".join(plain.split())
    digits = {close[:_INS_DIGITS]} if len(close) in (_INS_DIGITS, _INS_DIGITS + 2) else set()
    return {one for one in {plain, close, close.upper(), *digits} if one}


def _texts(dataset: Dataset) -> set[str]:
    return {one.matricule for one in identities_of_dataset(dataset) if len(one.matricule) >= SHORTEST_TEXT}


def _names(names: Iterable[str]) -> Iterable[tuple[str, ...]]:
    """Yield the words of names, folded; a name of one word tells too little to be looked for."""
    for name in names:
        words = tuple(sorted(set(folded(name).split())))
        if len(words) > 1:
            yield words
