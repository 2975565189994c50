"""A record system on the other side of CDS Hooks, for benches and tests: signs its calls, answers prefetch templates."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

Json = dict[str, Any]
_TOKEN = re.compile(r"\{\{context\.(\w+)\}\}")


@dataclass(frozen=True)
class RecordSystem:
    """One client with a P-384 key of its own, made when it is."""

    iss: str = "https://ehr.example.org"
    kid: str = "bench"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()), repr=False)

    def jwks(self) -> Json:
        """Return the key set to give to the service."""
        return {"keys": [{**json.loads(ECAlgorithm.to_jwk(self.key.public_key())), "kid": self.kid, "use": "sig", "alg": "ES384"}]}

    def headers(self, url: str, *, valid_s: int = 300) -> dict[str, str]:
        """Return the headers of one call of ``url``, with a token of its own."""
        now = int(time.time())
        claims = {"iss": self.iss, "aud": url, "iat": now, "exp": now + valid_s, "jti": str(uuid.uuid4())}
        token = jwt.encode(claims, self.key, algorithm="ES384", headers={"kid": self.kid})
        return {"authorization": f"Bearer {token}", "content-type": "application/json"}


def fill(templates: Mapping[str, str], resources: Sequence[Json], place: Mapping[str, Any]) -> Json:
    """Answer prefetch templates from resources, by type, id and code; what a template finds none of is null."""
    told: Json = {}
    for key, template in templates.items():
        if any(name not in place for name in _TOKEN.findall(template)):
            continue  # the context has no such field: the client leaves the key out
        path, _, query = _TOKEN.sub(lambda found: str(place[found[1]]), template).partition("?")
        if not query:
            told[key] = next((one for one in resources if f"{one['resourceType']}/{one.get('id')}" == path), None)
            continue
        wanted = dict(part.split("=", 1) for part in query.split("&"))
        codes = {tuple(one.split("|")) for one in wanted["code"].split(",")} if "code" in wanted else None
        found = [one for one in resources if one["resourceType"] == path and (codes is None or codes & _codes(one))]
        told[key] = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in found]} if found else None
    return told


def call(hook: str, place: Mapping[str, Any], prefetch: Json | None = None, **more: Any) -> Json:
    """Return one call of a hook."""
    told: Json = {"hook": hook, "hookInstance": str(uuid.uuid4()), "context": {"userId": "Practitioner/u1", **place}, **more}
    return told if prefetch is None else {**told, "prefetch": prefetch}


def chart_of(resources: Sequence[Json]) -> Json:
    """Return the context of a chart: its patient, and the encounter under way, else the one that began last."""
    patient = next(str(one["id"]) for one in resources if one["resourceType"] == "Patient")
    stays = [one for one in resources if one["resourceType"] == "Encounter"]
    if not stays:
        return {"patientId": patient}
    last = max(stays, key=lambda one: (one.get("status") == "in-progress", str(one.get("period", {}).get("start", ""))))
    return {"patientId": patient, "encounterId": str(last["id"])}


def _codes(resource: Json) -> set[tuple[str, ...]]:
    coding = resource.get("code", {}).get("coding", ())
    return {(one.get("system", ""), one.get("code", "")) for one in coding}
