"""Public keys of the clients we trust: JSON Web Key Sets (RFC 7517) from a file or from the one address agreed with a client.

Where keys are looked for is the site's decision, never the token's: a token may only choose among the addresses that the site
file allows its issuer. Keys are kept, and looked up again when a token names one that is not known, but not at every call.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from service.logs import where
from service.outbound.wire import Wire

log = logging.getLogger("diaphane")
FRESH_S = 3600.0  # after so long a set is read again before it is used
STALE_S = 24 * 3600.0  # a set that cannot be read again is used for so long
PAUSE_S = 30.0  # a set is read at most so often, whoever asks for unknown keys
TIMEOUT_S = 5.0
MAX_SET_BYTES = 256 * 1024
MAX_KEYS = 100
LEAST_RSA_BITS = 2048
# alg (RFC 7518, 3.1; RFC 8037) → kty, crv. Only signatures with a private key: never none, never HMAC.
ALGORITHMS: Mapping[str, tuple[str, str]] = {
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"),
    "RS256": ("RSA", ""), "RS384": ("RSA", ""), "RS512": ("RSA", ""),
    "PS256": ("RSA", ""), "PS384": ("RSA", ""), "PS512": ("RSA", ""),
    "EdDSA": ("OKP", "Ed25519"),
}
Fetch = Callable[[str], Any]  # an address → the parsed JSON of its answer


class NoKey(Exception):
    """There is no key of that name that fits. The message is a rule and holds nothing that a caller sent."""


@dataclass(frozen=True)
class Client:
    """A record system that may call. ``jku``: addresses of its key sets, exactly; ``jwks``: a file with its keys."""

    iss: str
    jku: tuple[str, ...] = ()
    jwks: Path | None = None
    tenants: tuple[str, ...] = ()  # empty: any

    def source(self, jku: str | None) -> str | Path:
        """Return where the key of a token is looked for. Raises NoKey when its jku is not one agreed with this client."""
        if jku is not None and jku not in self.jku:
            raise NoKey("jku must be exactly an address that the site file allows this iss, found another.")
        if jku is not None:
            return jku
        if self.jwks is not None:
            return self.jwks
        if len(self.jku) == 1:
            return self.jku[0]
        raise NoKey("jku must be given: the site file has several addresses, or none, for this iss.")


@dataclass
class _Set:
    """One key set: kid → JWK, when it was read and when that was last tried."""

    keys: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    read_at: float = float("-inf")
    tried_at: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


class Keys:
    """The key sets of all clients. ``fetch`` reads an address that the site file names, and follows nothing."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._sets: dict[str | Path, _Set] = {}
        self._lock = threading.Lock()

    def of(self, client: Client, *, kid: str, alg: str, jku: str | None) -> Any:
        """Return the public key a token must verify with. Raises NoKey."""
        source = client.source(jku)
        with self._lock:
            found = self._sets.setdefault(source, _Set())
        key = self._look_up(found, source, kid)
        if key is None:
            raise NoKey("kid must name one key of the client's key set, found none or several.")
        return _public_key(key, alg)

    def _look_up(self, found: _Set, source: str | Path, kid: str) -> Mapping[str, Any] | None:
        key = found.keys.get(kid)
        if key is not None and self._clock() - found.read_at <= FRESH_S:
            return key  # nobody who shows a known key waits while another's is looked for
        with found.lock:  # one reads; the others wait for what it finds
            now = self._clock()
            wanted = now - found.read_at > FRESH_S or kid not in found.keys
            if wanted and now - found.tried_at > PAUSE_S:
                found.tried_at = now
                self._renew(found, source, now)
            if now - found.read_at > STALE_S:
                found.keys = {}
            return found.keys.get(kid)

    def _renew(self, found: _Set, source: str | Path, now: float) -> None:
        try:
            told = _content(source) if isinstance(source, Path) else self._fetch(source)
            found.keys, found.read_at = usable(told), now
        except Exception as error:  # whatever a network or a file does: the keys that are known stay
            log.warning("a client's key set cannot be read: %s", where(error))


def fetch(url: str) -> Any:
    """Read the key set at an address of the site file. Raises WireError, ValueError."""
    with Wire(url, timeout_s=TIMEOUT_S, max_bytes=MAX_SET_BYTES) as wire:
        answer = wire.ask("GET", headers=[("Accept", "application/json")])
    if answer.status != 200:
        raise ValueError("A key set must be answered with status 200.")
    return answer.json


def usable(told: object) -> dict[str, Mapping[str, Any]]:
    """Return the usable public keys of a set by their kid. A kid that stands twice means no key. Raises ValueError."""
    keys = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError(f"A key set must be an object with a list of at most {MAX_KEYS} keys (RFC 7517, 5).")
    found: dict[str, Mapping[str, Any]] = {}
    twice = set()
    for key in keys:
        kid = key.get("kid") if isinstance(key, dict) else None
        if isinstance(kid, str) and kid:
            twice |= {kid} & found.keys()
            found[kid] = key
    return {kid: key for kid, key in found.items() if kid not in twice and _is_public(key)}


def _is_public(key: Mapping[str, Any]) -> bool:
    """Tell whether a key may verify: asymmetric, its private part not published, and not meant for encryption."""
    uses = key.get("key_ops")
    return (key.get("kty") in ("EC", "RSA", "OKP") and "d" not in key and key.get("use", "sig") == "sig"
            and (uses is None or (isinstance(uses, list) and "verify" in uses)))


def _public_key(key: Mapping[str, Any], alg: str) -> Any:
    kty, crv = ALGORITHMS[alg]
    if key.get("kty") != kty or (crv and key.get("crv") != crv) or key.get("alg", alg) != alg:
        raise NoKey("alg must be the algorithm of the key that kid names, found another.")
    try:
        public = jwt.PyJWK(dict(key), algorithm=alg).key
    except (PyJWTError, ValueError, TypeError):
        raise NoKey("The client's key must be a sound public key (RFC 7518, 6), found another.") from None
    if kty == "RSA" and public.key_size < LEAST_RSA_BITS:
        raise NoKey(f"An RSA key must have at least {LEAST_RSA_BITS} bits (RFC 7518, 3.3), found fewer.")
    return public


def _content(path: Path) -> Any:
    with path.open("rb") as file:
        return json.loads(file.read(MAX_SET_BYTES))
