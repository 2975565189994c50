"""Log somebody in without a provider: a session in the store of a house, and what a browser sends with it.

    someone = login_for(house, roles=["radiologist"], departments=["Radiology"])
    client = TestClient(app, base_url=ORIGIN, cookies=someone.cookies)
    client.get("/review"); client.post("/review/…", headers=someone.headers, data={…})
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from service.access.caller import Caller
from service.access.cookies import Cookies
from service.access.origins import Origins
from service.access.sessions import Sessions
from service.ehr_house import House

ORIGIN = "http://127.0.0.1:3000"  # where tests ask: the Gate answers under names of ours alone


@dataclass(frozen=True)
class LoggedIn:
    """A session: its cookies, and the headers that a page of ours sends when it changes something."""

    caller: Caller
    token: str
    cookies: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    csrf: str = field(repr=False)


def login_for(
    house: House, roles: Iterable[str] = ("radiologist",), *, departments: Iterable[str] | None = None,
    models: Iterable[str] | None = None, subject: str = "oidc:test:1", name: str = "Camille Essai", family: str = "Essai",
    given: str = "Camille", rpps: str = "", login_at: float | None = None, origin: str = ORIGIN,
) -> LoggedIn:
    """Log somebody in who has roles, in some departments (None: all) and for some models (None: all)."""
    caller = Caller(
        subject, name=name, family=family, given=given, rpps=rpps, roles=frozenset(roles),
        departments=None if departments is None else frozenset(departments), models=None if models is None else frozenset(models),
    )
    sessions = Sessions(house)
    token = sessions.begin(caller, login_at=login_at)
    found = sessions.find(token)
    assert found is not None
    headers = {"origin": origin, "sec-fetch-site": "same-origin", "x-csrf-token": found.csrf}
    return LoggedIn(found.caller, token, {Cookies(Origins(house.settings).secure).session: token}, headers, found.csrf)


def cookies_for(house: House, roles: Iterable[str] = ("radiologist",), departments: Iterable[str] | None = None) -> dict[str, str]:
    """Return the cookies of somebody who has roles in some departments."""
    return login_for(house, roles, departments=departments).cookies
