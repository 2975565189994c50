"""What was typed into the search, sealed: so it can stand in an address. Only the session that typed it can have it opened."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.access.caller import Caller
from service.store.store import Store

LONGEST = 100  # characters that are searched for
VALID_S = 12 * 3600.0  # no session is longer
_NONCE = 12
_PADDED = 32  # the length of what is sealed must not tell that of a name


def seal(store: Store, caller: Caller, text: str, *, now: float | None = None) -> str:
    """Return what stands for a text in addresses."""
    until = int((time.time() if now is None else now) + VALID_S)
    plain = f"{until:012d}{text[:LONGEST]}".encode("utf-8", "ignore")
    nonce = secrets.token_bytes(_NONCE)
    sealed = AESGCM(_key(store)).encrypt(nonce, plain.ljust(-(-len(plain) // _PADDED) * _PADDED, b"\0"), _whose(caller))
    return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")


def unseal(store: Store, caller: Caller, sealed: str, *, now: float | None = None) -> str | None:
    """Return what was sealed for this session; None for anything else, and when it is too old."""
    try:
        content = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        plain = AESGCM(_key(store)).decrypt(content[:_NONCE], content[_NONCE:], _whose(caller)).rstrip(b"\0").decode()
    except (ValueError, InvalidTag):
        return None
    return plain[12:] if int(plain[:12]) >= (time.time() if now is None else now) else None


def _key(store: Store) -> bytes:
    return hmac.digest(store.secret, b"search of the worklist", hashlib.sha256)


def _whose(caller: Caller) -> bytes:
    return f"{caller.session}\x1f{caller.subject}".encode()
