"""Targets: what a verdict, a replay or a page "about this result" is about, as an address may name it.

A key says nothing to who has no secret, and is the same each time, so that it may be kept in a bookmark or in the audit.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal, get_args

from service.store.store import Store

Kind = Literal["result", "risk", "alert"]
_LETTERS: dict[str, Kind] = {kind[0] if kind != "risk" else "k": kind for kind in get_args(Kind)}
_OF_KIND = {kind: letter for letter, kind in _LETTERS.items()}
_KEY = re.compile(r"[a-z][A-Za-z0-9_-]{22}")
_MAC, _NUMBER = 8, 8  # bytes


def key_of(store: Store, kind: Kind, number: int) -> str:
    """Return the key of a row: a letter, a keyed hash of what it names, and its number hidden by another."""
    mac = bytes.fromhex(store.pseudonym(f"target:{kind}:{number}"))[:_MAC]
    hidden = _hidden(store, kind, mac, number.to_bytes(_NUMBER, "big"))
    return _OF_KIND[kind] + base64.urlsafe_b64encode(mac + hidden).decode("ascii").rstrip("=")


def target_of(store: Store, key: str) -> tuple[Kind, int] | None:
    """Return what a key names, None when it was not made here."""
    if not _KEY.fullmatch(key) or key[0] not in _LETTERS:
        return None
    kind = _LETTERS[key[0]]
    try:
        packed = base64.urlsafe_b64decode(key[1:] + "==")
    except binascii.Error:
        return None
    number = int.from_bytes(_hidden(store, kind, packed[:_MAC], packed[_MAC:]), "big")
    return (kind, number) if key == key_of(store, kind, number) else None


def _hidden(store: Store, kind: Kind, mac: bytes, number: bytes) -> bytes:
    """Hide a number, or show a hidden one."""
    mask = bytes.fromhex(store.pseudonym(f"target-number:{kind}:{mac.hex()}"))[:_NUMBER]
    return bytes(one ^ other for one, other in zip(number, mask, strict=True))
