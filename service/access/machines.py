"""Machines: programs that call the API, with the api_token of the settings or with a signed token of their own."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence

from service.access.attempts import Attempts
from service.access.caller import Caller, Grant
from service.cds_hooks.keys import Client, Fetch, Keys, fetch
from service.cds_hooks.tokens import NotTrusted, Tokens
from service.ehr_house import House
from service.problem import ProblemError
from service.settings import SettingsError
from service.store.hooks import see_token

LONGEST_LIFE_S = 300.0  # from iat to exp of a machine's token
SYSTEM = frozenset({"system"})


class Machines:
    """Knows programs by what they show. Raises SettingsError when they are named and nobody knows by which address they call."""

    def __init__(self, house: House, attempts: Attempts, fetch_keys: Fetch = fetch) -> None:
        self._house, self._attempts = house, attempts
        self._api_token = house.settings.api_token.get_secret_value().encode()
        machines = house.site.access.machines
        self._audience = house.settings.public_url.rstrip("/")
        if machines and not self._audience:
            raise SettingsError("public_url must be set when the site file has [[access.machines]]: it is the aud of their tokens.")
        if len({one.iss for one in machines}) < len(machines):
            raise SettingsError("[[access.machines]]: every iss must stand once: whose keys would count?")
        self._grants = {one.iss: Grant(frozenset(one.roles)) for one in machines}
        clients = [Client(one.iss, (one.jku,) if one.jku else (), one.jwks) for one in machines]
        self._tokens = Tokens(clients, Keys(fetch_keys), self._seen, longest_life_s=LONGEST_LIFE_S) if clients else None

    def caller(self, authorization: Sequence[str], address: str) -> Caller:
        """Return who calls. Raises ProblemError: 401 for what does not hold, 429 once it failed too often."""
        self._attempts.check(address)
        if self._api_token and len(authorization) == 1 and hmac.compare_digest(
                authorization[0].encode(), b"Bearer " + self._api_token):
            return Caller("machine:api_token", kind="machine", name="api_token", roles=SYSTEM)
        try:
            if self._tokens is None:
                raise NotTrusted("no_token", "Send the header 'Authorization: Bearer <token>' with the token you were given.")
            told = self._tokens.check(authorization, self._audience)
        except NotTrusted as refused:
            self._attempts.failed(address)
            raise ProblemError("no_token", str(refused)) from None
        return Caller(f"machine:{told.iss}", kind="machine", name=told.iss, grants=(self._grants[told.iss],))

    def _seen(self, iss: str, jti: str, ends_at: float) -> bool:
        with self._house.store.session() as session:
            return see_token(session, iss, jti, ends_at, time.time())
