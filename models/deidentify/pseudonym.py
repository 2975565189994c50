"""Pseudonyms: names, UIDs and a shift of dates made from a secret key, the same for one person in every object."""

from __future__ import annotations

import hashlib
import hmac

MIN_KEY_BYTES = 16
FEWEST_WEEKS, MOST_WEEKS = 52, 520


class Pseudonyms:
    """All that is made from one key. Without the key nothing leads back, and nobody can try out names or UIDs."""

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"The key of pseudonyms must have at least {MIN_KEY_BYTES} bytes, found {len(key)}.")
        self._key = key

    def uid(self, uid: str) -> str:
        """Return a UID under 2.25 (PS3.5, annex B.2) for another."""
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def person(self, person: str) -> str:
        """Return a name for a person: 16 hexadecimal digits."""
        return self._digest("person", person).hex()[:16].upper()

    def shift_days(self, person: str) -> int:
        """Return by how many days a person's dates move back: whole weeks, one to ten years."""
        number = int.from_bytes(self._digest("shift", person)[:8], "big")
        return -7 * (FEWEST_WEEKS + number % (MOST_WEEKS - FEWEST_WEEKS))

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.new(self._key, f"{kind}\x1f{text}".encode(), hashlib.sha256).digest()
