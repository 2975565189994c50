"""Run a real OpenID provider (oidc-provider, oidc.mjs) that speaks as Pro Santé Connect and as Keycloak do, and stop it by its pid.

npm install --prefix .cache/peers oidc-provider@9
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from service.lives import end
from tests.make import REQUIRED
from tests.peers.fhir_server import modules

needs_provider = pytest.mark.skipif(
    (shutil.which("node") is None or not (modules() / "oidc-provider").is_dir()) and "peers" not in REQUIRED,
    reason="node or oidc-provider is not installed (DIAPHANE_REQUIRE=peers makes this a failure)",
)
CLIENT, SIGNED_CLIENT, SECRET = "diaphane", "diaphane-signed", "a-secret-of-the-test"
# As the userinfo of Pro Santé Connect looks like: much of it empty. Nobody has this number.
PSC_PERSON: dict[str, Any] = {
    "Secteur_Activite": "SA01^1.2.250.1.71.4.2.4", "email_verified": False, "SubjectOrganization": "HOPITAL ESSAI",
    "Mode_Acces_Raison": "", "preferred_username": "899700000001", "given_name": "CAMILLE", "family_name": "ESSAI",
    "SubjectOrganizationID": "", "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"], "SubjectNameID": "899700000001",
    "SubjectRefPro": {"codeCivilite": "MME", "exercices": [{"codeProfession": "10", "codeSavoirFaire": "SM44", "activities": [
        {"numeroSiretSite": "", "raisonSocialeSite": "HOPITAL ESSAI"}]}]},
}
KEYCLOAK_PERSON: dict[str, Any] = {
    "preferred_username": "essai", "given_name": "Dominique", "family_name": "Essai", "groups": ["/radiology/doctors", "/all"],
    "realm_access": {"roles": ["offline_access", "diaphane-dpo"]},
}
STRANGER: dict[str, Any] = {"preferred_username": "stranger", "given_name": "", "family_name": "", "groups": []}
PEOPLE = {"psc": PSC_PERSON, "keycloak": KEYCLOAK_PERSON, "stranger": STRANGER}


@dataclass
class OpenId:
    """A running provider. ``issuer`` is its name and address."""

    issuer: str
    http: httpx.Client

    def login(self, account: str, acr: str = "eidas1") -> None:
        """Say who logs in next."""
        self.http.post(f"{self.issuer}/$login", json={"account": account, "acr": acr})

    def twist(self, **told: Any) -> None:
        """Falsify every ID token from now on; nothing told: none any more."""
        self.http.post(f"{self.issuer}/$twist", json=told or None)

    def visit(self, url: str) -> str:
        """Go where a browser is sent, log in, and return the address that it is sent back to."""
        with httpx.Client(timeout=30, trust_env=False, follow_redirects=False) as browser:
            for _ in range(8):
                if not url.startswith(self.issuer):
                    return url
                answer = browser.get(url)
                assert answer.status_code in (302, 303), f"the provider answered {answer.status_code}: {answer.text[:500]}"
                url = urljoin(url, answer.headers["location"])
        raise AssertionError("the provider sent the browser round in circles")


@contextmanager
def openid(folder: Path, *origins: str) -> Iterator[OpenId]:
    """Run the provider on a free port of loopback, for services at these origins."""
    people = folder / "people.json"
    people.write_text(json.dumps({"accounts": PEOPLE, "login": "psc"}), encoding="utf-8")
    command = [shutil.which("node") or "node", str(Path(__file__).with_name("oidc.mjs")), str(modules()), str(people), *origins]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        port = process.stdout.readline().strip()  # it says its port once it listens, or ends and says nothing
        assert port.isdigit(), f"the OpenID provider did not start: {process.stderr.read()[:2000]}"
        with httpx.Client(timeout=30, trust_env=False) as http:
            yield OpenId(f"http://127.0.0.1:{port}", http)
    finally:
        end(process, 5)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
