"""A client's side of the tokens: key pairs, key sets, and tokens signed as a record system signs them, or as an attacker would."""

from __future__ import annotations

import base64
import json
import time
import uuid
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISS = "https://ehr.example"
JKU = "https://ehr.example/jwks.json"
BASE = "http://testserver"
URL = f"{BASE}/cds-services"
KID = "key-1"


def key_of(name: str = "client", alg: str = "ES384") -> Any:
    """Return the private key of somebody; the same one each time."""
    return _made(name, alg)


@cache
def _made(name: str, alg: str) -> Any:
    if alg.startswith("ES"):
        return ec.generate_private_key({"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}[alg])
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if name == "short" else 2048)


def jwk_of(key: Any, *, kid: str = KID, **more: Any) -> dict[str, Any]:
    """Return the public half as a JSON Web Key."""
    kinds: dict[type, Any] = {ec.EllipticCurvePrivateKey: ECAlgorithm, rsa.RSAPrivateKey: RSAAlgorithm,
                              ed25519.Ed25519PrivateKey: OKPAlgorithm}
    algorithm = next(one for kind, one in kinds.items() if isinstance(key, kind))
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}


def jwks(*keys: dict[str, Any]) -> bytes:
    """Return a key set."""
    return json.dumps({"keys": list(keys) or [jwk_of(key_of())]}).encode()


def jwks_file(folder: Path, *keys: dict[str, Any]) -> Path:
    """Write a key set."""
    path = folder / "jwks.json"
    path.write_bytes(jwks(*keys))
    return path


def claims(url: str = URL, **changed: Any) -> dict[str, Any]:
    """Return a payload that holds; a claim changed to None is left out."""
    now = int(time.time())
    told = {"iss": ISS, "aud": url, "iat": now, "exp": now + 300, "jti": uuid.uuid4().hex} | changed
    return {name: value for name, value in told.items() if value is not None}


def token(url: str = URL, *, key: Any = None, alg: str = "ES384", header: dict[str, Any] | None = None, **changed: Any) -> str:
    """Sign a token; ``header`` and the other words change what it says."""
    told = {"kid": KID} | (header or {})
    return jwt.encode(claims(url, **changed), key or key_of(alg=alg), algorithm=alg, headers=told)


def raw(header: dict[str, Any] | str, payload: dict[str, Any] | str, *, key: Any = None, signature: bytes | None = None) -> str:
    """Sign any header and payload with ES384, well-formed or not; or put ``signature`` there."""
    parts = [one if isinstance(one, str) else json.dumps(one) for one in (header, payload)]
    signed = b".".join(segment(one.encode()) for one in parts)
    if signature is None:
        signature = ECAlgorithm(ECAlgorithm.SHA384).sign(signed, key or key_of())
    return (signed + b"." + segment(signature)).decode()


def segment(content: bytes) -> bytes:
    """Encode one part of a token."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def pem(key: Any) -> bytes:
    """Return the public half as PEM, which a careless service takes for an HMAC secret."""
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
