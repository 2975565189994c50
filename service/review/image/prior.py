"""The prior study of the same person: nothing is shown unless an identifier of the same issuer says that it is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pydicom.dataset import Dataset

from models.dicom_pixels import text
from service.identity import Environment, Match, same_person
from service.persons import person_of_dataset
from service.reporting.study import TERMS, term
from service.words import Language


@dataclass(frozen=True)
class Candidate:
    """A study that may be of the same person: its key, and the header of one of its images."""

    key: str
    header: Dataset


@dataclass(frozen=True)
class Prior:
    """A study of the same person that was made before."""

    key: str
    made_on: date
    modality: str
    body_part: str
    days_before: int


def priors_of(head: Dataset, candidates: Sequence[Candidate], *, accept: Environment, language: Language) -> tuple[Prior, ...]:
    """Return the studies of the same person made before, those of the same body part first, then the newest.

    One of the same day counts as made before unless both state a time and it is the later one.
    One person by the rules of service/identity.py: the same identifier of the same stated issuer, or the same qualified
    national identity; other sexes, dates of birth or national identities never. Names match nobody.
    """
    mine, part, when = person_of_dataset(head), _part(head), _day(head)
    if when is None:
        return ()
    found = []
    for one in candidates:
        made_on = _day(one.header)
        if made_on is None or _is_later(one.header, made_on, head, when) or not isinstance(
            same_person(mine, person_of_dataset(one.header), accept=accept), Match
        ):
            continue
        modality = text(one.header, "Modality").upper()
        shown = term("body_parts", _part(one.header), language) if _part(one.header) in TERMS["body_parts"] else ""
        alike = (_part(one.header) == part and bool(part)) + (modality == text(head, "Modality").upper())
        found.append((alike, made_on, text(one.header, "StudyTime"), Prior(one.key, made_on, modality, shown, (when - made_on).days)))
    found.sort(key=lambda one: (one[0], one[1], one[2]), reverse=True)
    return tuple(prior for *_, prior in found)


def _is_later(other: Dataset, made_on: date, head: Dataset, when: date) -> bool:
    """Tell whether another study was made after this one; of one day their times say so, where both state one."""
    if made_on != when:
        return made_on > when
    times = text(other, "StudyTime"), text(head, "StudyTime")
    return all(times) and times[0] > times[1]


def _part(header: Dataset) -> str:
    return text(header, "BodyPartExamined").upper()


def _day(header: Dataset) -> date | None:
    try:
        return datetime.strptime(text(header, "StudyDate"), "%Y%m%d").date()
    except ValueError:
        return None
