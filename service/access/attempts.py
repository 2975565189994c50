"""Attempts: who failed to show who they are too often is not listened to for a while. Addresses are kept as keyed hashes."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable

from starlette.requests import Request

from service.ehr_house import House
from service.problem import ProblemError
from service.store import sessions as kept

SHARED = 20  # an address may stand for many people behind a proxy: it is locked after so many times as many failures
FINE_S, REMEMBERED = 1.0, 4096


class Attempts:
    """Failures are counted for an address, and for an address together with what it claimed to be.

    Never for a claimed name alone: else anybody could lock anybody else out.
    """

    def __init__(self, house: House, clock: Callable[[], float] = time.time) -> None:
        self._house, self._clock = house, clock
        self._fine_until: dict[tuple[str, str], float] = {}
        self._lock_after, self._lock_s = house.site.access.lock_after, house.site.access.lock_minutes * 60

    def check(self, address: str, claimed: str = "") -> None:
        """Raise ProblemError (429) while an address, or what it claims to be, is locked out.

        That it is not is remembered for a second, so that a program which asks often costs no look at the store each time.
        """
        now = self._clock()
        if self._fine_until.get((address, claimed), 0.0) > now:
            return
        with self._house.store.reading() as session:
            until = kept.locked_until(session, [what for what, _ in self._counted(address, claimed)], now)
        if until:
            raise _locked_out(until - now)
        if len(self._fine_until) >= REMEMBERED:
            self._fine_until.clear()
        self._fine_until[address, claimed] = now + FINE_S

    def failed(self, address: str, claimed: str = "") -> bool:
        """Count a failure; tell whether it locked somebody out."""
        now = self._clock()
        with self._house.store.session() as session:
            ends = [kept.add_failure(session, what, now, lock_after=limit, window_s=self._lock_s)
                    for what, limit in self._counted(address, claimed)]
        self._fine_until.clear()
        return any(ends)

    def succeeded(self, address: str, claimed: str) -> None:
        """Forget the failures of one claim from an address; those of the address stay until they are old."""
        with self._house.store.session() as session:
            kept.clear_failures(session, self._counted(address, claimed)[-1][0])

    def _counted(self, address: str, claimed: str) -> list[tuple[str, int]]:
        told = [(self._house.store.pseudonym(f"address {address}"), SHARED * self._lock_after)]
        if claimed:
            told.append((self._house.store.pseudonym(f"address {address} claims {claimed}"), self._lock_after))
        return told


def address_of(request: Request) -> str:
    """Return the address a request came from, of IPv6 the network that one household has; "unknown" when there is none."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _locked_out(seconds: float) -> ProblemError:
    return ProblemError("locked_out", "Too many logins failed from here. Wait, then try again.", retry_after_s=math.ceil(seconds))
