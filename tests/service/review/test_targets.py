"""The key of a result says nothing to who has no secret, is the same each time, and cannot be made up."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.review.targets import Kind, key_of, target_of


@dataclass(frozen=True)
class Secret:
    """What keys need of a store."""

    secret: bytes = b"x" * 32

    def pseudonym(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()[:32]


STORE, OTHER = Secret(), Secret(b"y" * 32)


@given(kind=st.sampled_from(["result", "risk", "alert"]), number=st.integers(0, 2**63 - 1))
def test_a_key_names_what_it_was_made_of_and_nothing_else(kind: Kind, number: int) -> None:
    key = key_of(STORE, kind, number)  # type: ignore[arg-type]
    assert (kind, number) == target_of(STORE, key)  # type: ignore[arg-type]
    assert target_of(OTHER, key) is None  # type: ignore[arg-type]
    assert str(number) not in key or number < 1000


def test_kinds_and_numbers_do_not_share_keys() -> None:
    keys = {key_of(STORE, kind, number) for kind in ("result", "risk", "alert") for number in range(50)}  # type: ignore[arg-type]
    assert 150 == len(keys)


@pytest.mark.parametrize("change", [
    lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), lambda key: "k" + key[1:], lambda key: key + "A", lambda key: key[:-1],
    lambda _: "", lambda _: "r" + "A" * 22, lambda key: key.upper(), lambda key: "x" + key[1:], lambda key: key + "\n",
])
def test_a_key_that_was_made_up_names_nothing(change) -> None:  # type: ignore[no-untyped-def]
    assert target_of(STORE, change(key_of(STORE, "result", 7))) is None  # type: ignore[arg-type]
