"""UIDs are derived, valid, and tell parts apart."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from service.dicom.uids import uid_of

PARTS = st.lists(st.text(max_size=20) | st.integers(), max_size=5)


@given(st.sampled_from(("2.25", "1.2.250.1.213", "1.2.840.113619.99999999")), PARTS)
def test_every_uid_is_valid_and_stable(root: str, parts: list[str | int]) -> None:
    uid = UID(uid_of(root, *parts))
    assert (True, True, root, str(uid)) == (uid.is_valid, len(uid) <= 64, uid[: len(root)], uid_of(root, *parts))


def test_parts_are_told_apart_where_they_meet() -> None:
    assert uid_of("2.25", "ab", "c") != uid_of("2.25", "a", "bc")


def test_under_the_uuid_root_the_number_is_a_uuid_of_our_own_rule() -> None:
    number = uuid.UUID(int=int(uid_of("2.25", "case").removeprefix("2.25.")))
    assert (8, uuid.RFC_4122) == (number.version, number.variant)
