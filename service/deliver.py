"""Deliver: empty the outbox, of DICOM results and of messages. One thread a target, so that one that is down holds up no other.

A target that does not answer is left alone for a growing while and its deliveries keep their places: when it is back
after a day, the urgent ones go first. A delivery that fails while its target answers waits by itself, and one that is
refused for good is quarantined after some tries, so that it holds up nobody.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from service.audit.audit import Audit
from service.audit.predicted import append_delivery
from service.dicom.client import Undelivered, deliver, echo
from service.leash import Leash
from service.lives import LONGEST_PAUSE_S, name_of_process, repeat
from service.logs import where
from service.outbound.outlet import Outlet
from service.outbound.senders import outlets_of
from service.settings import Settings
from service.site import Site, Target
from service.store import outbox
from service.store.errors import LostLease, StoreError
from service.store.ledger import counts
from service.store.messages import Letter, claim_letter
from service.store.outbox import Parcel
from service.store.store import Store, Transaction

log = logging.getLogger("diaphane")
IDLE_S = 0.25
FIRST_PAUSE_S = 1.0
BROKEN_OFF = frozenset(("connection_closed", "aborted", "protocol"))  # while it was being sent: perhaps because of it
Send = Callable[[Target, Sequence[bytes]], None]


class Deliverer:
    """Delivers the results and verdicts of one target, or the messages of one outlet, one at a time, the most urgent first."""

    def __init__(self, store: Store, target: Target | Outlet, settings: Settings, *, send: Send = deliver,
                 answers: Callable[[Target], bool] | None = None, audit: Audit | None = None) -> None:
        self.store, self.target, self.settings, self.audit = store, target, settings, audit
        self.name = name_of_process("deliver")
        self.send = send
        self.answers = target.answers if isinstance(target, Outlet) else partial(answers or _answers, target)
        self.down_until = 0.0
        self.pause_s = FIRST_PAUSE_S

    def step(self, now: float | None = None) -> bool:
        """Deliver one result. False when there is nothing to do, or the target is being left alone."""
        now = time.monotonic() if now is None else now
        if now < self.down_until:
            return False
        parcel = self._claim()
        if parcel is None:
            return False
        with Leash(self.store, parcel.table, parcel.claim, self.settings.lease_s):
            try:
                self._deliver(parcel, now)
            except LostLease:
                log.warning("a delivery to target %s was taken over by another process", self.target.name)
        return True

    def _claim(self) -> Parcel | Letter | None:
        """Take what is next. A professional's word on a result goes before further results: it may take one back."""
        letter = claim_letter(self.store, self.target.name, worker=self.name, lease_s=self.settings.lease_s)
        if letter is not None or isinstance(self.target, Outlet):
            return letter
        return outbox.claim_parcel(self.store, self.target.name, worker=self.name, lease_s=self.settings.lease_s)

    def _deliver(self, parcel: Parcel | Letter, now: float) -> None:
        try:
            self._send(parcel)
        except Undelivered as error:
            self._failed(parcel, error, now)
        except Exception as error:
            if isinstance(error, StoreError) and error.code != "damaged":  # the store is away: no try of this delivery
                outbox.put_back(self.store, parcel, f"store_{error.code}")
                raise
            reason = f"store_{error.code}" if isinstance(error, StoreError) else where(error)
            state = outbox.refused(self.store, parcel, reason, max_attempts=self.settings.delivery_attempts)
            log.error("a result could not be sent to target %s (%s); %s", self.target.name, reason, state)
        else:
            outbox.delivered(self.store, parcel, self._noted(parcel))
            self.pause_s = FIRST_PAUSE_S

    def _noted(self, parcel: Parcel | Letter) -> Callable[[Transaction], None] | None:
        """Return what writes a delivery into the audit, with its end."""
        audit = self.audit
        return None if audit is None else lambda session: append_delivery(audit, session, parcel, self.target.name)

    def _send(self, parcel: Parcel | Letter) -> None:
        if isinstance(self.target, Outlet):
            assert isinstance(parcel, Letter)  # what was claimed for an outlet
            self.target.send(parcel.content)
        else:
            files = parcel.sha256s if isinstance(parcel, Parcel) else parcel.content["sha256"]
            self.send(self.target, [self.store.objects.get(sha256) for sha256 in files])

    def _failed(self, parcel: Parcel | Letter, error: Undelivered, now: float) -> None:
        if error.permanent:
            # A PACS may take an object once its study has come; what reads a message says at once whether it can.
            tries = 1 if isinstance(self.target, Outlet) else self.settings.max_attempts
            state = outbox.refused(self.store, parcel, error.reason, max_attempts=tries)
            log.warning("target %s refused a result (%s); %s", self.target.name, error.reason, state)
        elif self.answers():
            state = outbox.refused(self.store, parcel, error.reason, max_attempts=self.settings.delivery_attempts)
            log.warning("a delivery to target %s failed (%s); %s", self.target.name, error.reason, state)
        else:
            # Where the target broke off, others are sent first when it is back: this one may be what ends it.
            outbox.put_back(self.store, parcel, error.reason, pause_s=3 * self.pause_s if error.reason in BROKEN_OFF else 0.0)
            log.warning("target %s does not answer (%s); again in %.0f s", self.target.name, error.reason, self.pause_s)
            self.down_until = now + self.pause_s * random.uniform(0.8, 1.2)  # noqa: S311  so that several do not march in step
            self.pause_s = min(2 * self.pause_s, 10 * LONGEST_PAUSE_S)


def run(store: Store, settings: Settings, site: Site, stop: threading.Event) -> None:
    """Deliver to every target of the site until stopped."""
    threads = []
    for name in _strangers(store, site):
        log.warning("results wait for target %s, which the site file does not name: they stay here until it does", name)
    targets: list[Target | Outlet] = [target for target in site.targets if target.kind != "fhir"]
    for target in (*targets, *outlets_of(site)):
        deliverer = Deliverer(store, target, settings, audit=Audit(store, site, settings) if settings.review else None)
        thread = threading.Thread(target=repeat, args=(deliverer.step, stop), kwargs={"idle_s": IDLE_S},
                                  name=f"deliver-{target.name}")
        thread.start()
        threads.append(thread)
    stop.wait()
    for thread in threads:
        thread.join()


def _strangers(store: Store, site: Site) -> list[str]:
    """Return the targets that results wait for and the site file does not name."""
    named = {target.name for target in site.targets} | {outlet.name for outlet in outlets_of(site)}
    return [name for name, states in counts(store)["deliveries"].items() if name not in named and states.keys() - {"done"}]


def _answers(target: Target) -> bool:
    """Tell whether a target is there. One that does not take the question has answered."""
    try:
        echo(target)
    except Undelivered as error:
        return error.reason.startswith("status_") or error.reason == "http_501"
    return True
