"""Login links: for one person on their own machine, a link printed at the start that logs in once, as notebooks do."""

from __future__ import annotations

import secrets
import time

from starlette.requests import Request

from service.access.caller import Caller, from_json, to_json
from service.access.origins import Origins
from service.access.policy import ROLES
from service.access.sessions import hash_of
from service.ehr_house import House
from service.settings import Settings, SettingsError, is_loopback
from service.site import Site
from service.store import sessions as kept
from service.store.review_tables import LoginLink
from service.store.store import Store

LIFETIME_S = 600.0
OWNER = Caller("local:owner", name="Local owner", roles=frozenset(ROLES))


def new_link(store: Store, settings: Settings, site: Site, address: str = "", *, who: Caller = OWNER) -> str:
    """Make a link that logs the owner of this machine in, once and within ten minutes; a link not used before is void.

    Raises SettingsError where people log in with a provider, or where others than this machine can call: there, whoever
    got hold of a link would be everybody at once, and nobody by name.
    """
    if why := _not_here(settings, site):
        raise SettingsError(why)
    token, now = secrets.token_urlsafe(32), time.time()
    with store.session() as session:
        kept.add_link(session, LoginLink(id=hash_of(token), caller=to_json(who), created_at=now, expires_at=now + LIFETIME_S,
                                         used_at=None))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{settings.public_url.rstrip('/') or address or f'http://{host}:{settings.port}'}/review/login?link={token}"


def offered(settings: Settings, site: Site) -> bool:
    """Tell whether links log in here."""
    return not _not_here(settings, site)


def use_link(house: House, request: Request, token: str) -> Caller | None:
    """Use a link up and return whom it logs in; None when it does not hold, or does not come from this machine itself."""
    near = request.client is not None and is_loopback(request.client.host) and "forwarded" not in request.headers \
        and "x-forwarded-for" not in request.headers
    if not near or not offered(house.settings, house.site):
        return None
    with house.store.session() as session:
        told = kept.use_link(session, hash_of(token), time.time())
    return None if told is None else from_json(told)


def _not_here(settings: Settings, site: Site) -> str:
    if site.access.providers:
        return "Login links are for a site file without [[access.providers]]: here people log in by name."
    if not is_loopback(settings.host) or Origins(settings).secure:
        return ("Login links are for one person on loopback: here others can call. "
                "Name an OpenID provider in [[access.providers]] of the site file.")
    return ""
