"""UIDs derived from what they name (PS3.5, 9): the same result made again has the same UIDs."""

from __future__ import annotations

import hashlib

_UUID_ROOT = "2.25"  # PS3.5 B.2: a UUID as one decimal number


def uid_of(root: str, *parts: str | int) -> str:
    """Return the UID of what ``parts`` name, under the site's root: always the same, and another for other parts.

    >>> uid_of("2.25", "case", 1) == uid_of("2.25", "case", 1) != uid_of("2.25", "case", 2)
    True
    """
    named = "".join(f"{len(str(part))}:{part}" for part in ("diaphane", *parts))
    digest = hashlib.sha256(named.encode()).digest()
    if root == _UUID_ROOT:
        number = bytearray(digest[:16])
        number[6] = number[6] & 0x0F | 0x80  # RFC 9562, 5.8: version 8, made by a rule of our own
        number[8] = number[8] & 0x3F | 0x80  # its variant
        return f"{root}.{int.from_bytes(number, 'big')}"
    return f"{root}.{int.from_bytes(digest, 'big') % 10 ** (63 - len(root))}"
