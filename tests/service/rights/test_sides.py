"""Sides of the split: one person under several numbers is one group, and a set says who must leave earlier sets."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from models.deidentify.pseudonym import Pseudonyms
from service.rights.dataset import key_of, write_set
from service.rights.rights import Rights
from service.rights.sides import Sides, split_of
from service.store import splits
from service.store.tables import Study
from tests.service.rights.person_data import DPO, rights_of
from tests.service.rights.test_dataset import FOREVER, come, labels, manifest


@pytest.fixture
def here(tmp_path: Path) -> Rights:
    return rights_of(tmp_path)


def sides(here: Rights) -> Sides:
    made = Sides(here.store, here.site, Pseudonyms(key_of(here.store)))
    made.settle()
    return made


def seen(here: Rights, number: int, *identifiers: str) -> None:
    """Hold a study of somebody with numbers of one hospital."""
    others = [{"00100020": {"vr": "LO", "Value": [one]}, "00100021": {"vr": "LO", "Value": ["CHU"]}} for one in identifiers[1:]]
    attributes = {"00100020": {"vr": "LO", "Value": [identifiers[0]]}, "00100021": {"vr": "LO", "Value": ["CHU"]},
                  **({"00101002": {"vr": "SQ", "Value": others}} if others else {})}
    with here.store.session() as session:
        session.add(Study(uid=f"1.2.3.{number}", patient_id=identifiers[0], patient_name="", study_date="", accession_number="",
                          attributes=attributes, received_at=float(number)))


def test_a_person_known_by_two_numbers_is_one_group_once_they_are_seen_together(here: Rights) -> None:
    seen(here, 1, "A")
    seen(here, 2, "A", "B")
    seen(here, 3, "B")
    found = sides(here)
    of = {number: found.of_study(f"1.2.3.{number}", found._keys(one))
          for number, one in enumerate(splits.everybody(here.store), start=1)}
    assert 1 == len({one.group for one in of.values()})
    assert of[3].split == split_of(of[1].group)


def test_a_number_beside_many_people_joins_nobody(here: Rights) -> None:
    for number in range(6):
        seen(here, number, f"P{number}", "UNKNOWN")
    sides(here)
    assert 6 == sum(splits.counts(here.store).values())


def test_sides_do_not_depend_on_what_was_written_first(here: Rights, tmp_path: Path) -> None:
    for number in range(3):
        seen(here, number, f"A-{number}")
    write_set(here.store, here.site, tmp_path / "none", since=1e12, until=2e12)
    before = splits.members(here.store)
    write_set(here.store, here.site, tmp_path / "all", **FOREVER)
    assert (3, before) == (len(before), splits.members(here.store))


def test_who_was_on_two_sides_leaves_no_more_and_the_set_says_who(here: Rights, tmp_path: Path) -> None:
    come(here, PatientID="A-1000", decision="agree")
    write_set(here.store, here.site, tmp_path / "one", **FOREVER)
    (row,) = manifest(tmp_path / "one")
    with here.store.session() as session:
        (key,) = splits.members(here.store)
        other = "train" if row["split"] != "train" else "test"
        splits.settle(session, ["0" * 32], other)
        splits.settle(session, [key, "0" * 32], other)
    write_set(here.store, here.site, tmp_path / "two", **FOREVER)
    left = [one["group"] for one in csv.DictReader((tmp_path / "two/neither.csv").read_text().splitlines())]
    assert [] == manifest(tmp_path / "two") == labels(tmp_path / "two")
    assert row["group"] in left
    assert f"`neither.csv`: {len(left)} pseudonyms" in (tmp_path / "two/README.md").read_text()


def test_an_erasure_forgets_the_side(here: Rights) -> None:
    seen(here, 1, "A-1000", "B-2000")
    sides(here)
    person = here.find(DPO, "A-1000", "CHU")
    assert {member.group for member in splits.members(here.store).values()} <= set(person.keys)
    here.erase(DPO, person)
    assert {} == splits.members(here.store)


def test_a_label_says_whether_it_is_in_force_and_why_it_was_judged(here: Rights, tmp_path: Path) -> None:
    come(here, PatientID="A-1000", decision="agree")
    write_set(here.store, here.site, tmp_path / "one", **FOREVER)
    (label,) = labels(tmp_path / "one")
    assert (False, "") == (label["in_force"], label["picked"])
    assert "CANARI" not in json.dumps(label)
