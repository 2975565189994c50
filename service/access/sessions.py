"""Sessions: who is logged in from which browser, known by a cookie of 256 random bits of which only the hash is kept."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.access.caller import Caller, from_json, to_json
from service.ehr_house import House
from service.store import sessions as kept
from service.store.review_tables import LoginSession

SEEN_EVERY_S = 60.0  # how often it is written down that a session is used
_RULES = "rules"  # in what is kept of a caller: a hash of the grants of the site file that gave them their roles
_SEALED = "sealed"  # in what is kept of a caller: the provider's id_token, readable with the cookie alone


@dataclass(frozen=True)
class Login:
    """A session that holds: whose, and the token that its forms must bring back."""

    caller: Caller
    csrf: str
    created_at: float
    seen_at: float
    expires_at: float
    sealed: str = ""


class Sessions:
    """The sessions of a house; its methods block, and may be called from any thread of any process."""

    def __init__(self, house: House, clock: Callable[[], float] = time.time) -> None:
        access = house.site.access
        self._house, self._clock = house, clock
        self._idle_s, self._longest_s = access.session_idle_minutes * 60, access.session_hours * 3600
        self._seen_every_s = min(SEEN_EVERY_S, self._idle_s / 4)
        ways = [[one.name, one.issuer, one.client_id, one.acr] for one in access.providers]  # none: by a link, as the owner
        told = json.dumps([ways, [one.model_dump(mode="json") for one in access.grants]], sort_keys=True)
        self._rules = hashlib.sha256(told.encode()).hexdigest()[:16]  # who loses a role, or the way in, logs in again

    def begin(self, caller: Caller, *, id_token: str = "", login_at: float | None = None) -> str:
        """Begin a session and return the value of its cookie. Always a new one: whatever cookie came along is not used again.

        ``login_at`` is when they showed who they are, where that was before.
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        told = {**to_json(caller), _RULES: self._rules}
        if id_token:
            told[_SEALED] = _seal(token, id_token)
        row = LoginSession(id=hash_of(token), subject=caller.subject, caller=told, csrf=secrets.token_urlsafe(32),
                           created_at=now, login_at=min(now, login_at or now), seen_at=now, expires_at=now + self._longest_s,
                           ended_at=None)
        with self._house.store.session() as session:
            kept.begin_session(session, row)
        return token

    def find(self, token: str, *, used: bool = True) -> Login | None:
        """Return the session of a cookie, None when there is none that holds; ``used`` puts its idle end off."""
        return self.named(hash_of(token), used=used)

    def named(self, id_: str, *, used: bool = False) -> Login | None:
        """Return a session by its hash."""
        now = self._clock()
        with self._house.store.reading() as session:
            row = kept.session_of(session, id_, now, self._idle_s)
        if row is None or row.caller.get(_RULES) != self._rules:
            return None
        if used and now - row.seen_at > self._seen_every_s:
            with self._house.store.session() as session:
                kept.see_session(session, id_, now)
        return _login(row)

    def of(self, subject: str) -> list[Login]:
        """Return all sessions of somebody."""
        with self._house.store.reading() as session:
            return [_login(row) for row in kept.sessions_of(session, subject, self._clock(), self._idle_s)]

    def end(self, ids: Sequence[str], subject: str) -> int:
        """End sessions of somebody by their hashes; return how many were going. Another's are left alone."""
        now = self._clock()
        with self._house.store.session() as session:
            theirs = {row.id for row in kept.sessions_of(session, subject, now, self._idle_s)}
            return sum(kept.end_session(session, id_, now) for id_ in dict.fromkeys(ids) if id_ in theirs)

    def end_all(self, subject: str, *, but: str = "") -> int:
        """End every session of somebody, but for one."""
        with self._house.store.session() as session:
            return kept.end_sessions(session, subject, self._clock(), but=but)


def hash_of(token: str) -> str:
    """Return what is kept of a secret of 256 random bits: nobody can guess what it was made of."""
    return hashlib.sha256(token.encode()).hexdigest()


def id_token_of(login: Login, token: str) -> str:
    """Return the provider's id_token of a session, which only its cookie can open; "" where there is none."""
    try:
        content = base64.urlsafe_b64decode(login.sealed)
        return AESGCM(_key(token)).decrypt(content[:12], content[12:], None).decode() if content else ""
    except (ValueError, InvalidTag):
        return ""


def _login(row: LoginSession) -> Login:
    caller = from_json(row.caller, session=row.id, login_at=row.login_at)
    return Login(caller, row.csrf, row.created_at, row.seen_at, row.expires_at, str(row.caller.get(_SEALED, "")))


def _seal(token: str, text: str) -> str:
    nonce = secrets.token_bytes(12)
    return base64.urlsafe_b64encode(nonce + AESGCM(_key(token)).encrypt(nonce, text.encode(), None)).decode()


def _key(token: str) -> bytes:
    return hashlib.sha256(b"diaphane id_token " + token.encode()).digest()
