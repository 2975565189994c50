"""Releases of this site: who signed for them, and every change of which one serves, each in one transaction with its audit line.

A change takes effect in every process within a second or two, and needs no restart.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.commissioned import Commissioning
from service.access.caller import Caller
from service.audit.audit import Audit
from service.releases.errors import ReleaseError
from service.releases.state import SHA256, Installed, State, installed_of, states_of
from service.site import Site
from service.store import signoffs, standings
from service.store.signoffs import Decision, NewSignoff
from service.store.standings import Does, NewStanding, StandingConflict
from service.store.store import Store, Transaction
from service.store.trust_tables import Signoff, Standing

if TYPE_CHECKING:
    from service.ehr_house import House  # which itself asks what serves

Json = dict[str, Any]
MOST_TYPED = 2000
NO_GO = "no_go"


@dataclass(frozen=True)
class Releases:
    """What may be done. ``active``: name → id of what serves where nobody decides."""

    store: Store
    site: Site
    audit: Audit
    installed: Mapping[str, Installed]
    active: Mapping[str, str]

    @classmethod
    def of(cls, house: House) -> Releases:
        """Return the releases at a house whose store and shelf are open. Raises ProblemError before that."""
        shelf = house.scoring.installed
        return cls(house.store, house.site, house.audit, {one.id: one for one in installed_of(shelf)},
                   {name: one.id for name, one in shelf.active.items()})

    def states(self) -> dict[str, State]:
        """Return what each release does now, as the store has it."""
        decided = standings.latest(self.store)
        return states_of(self.installed.values(), self.active, decided, required=self.site.commissioning.required)

    def sign(self, caller: Caller, release: str, report: Commissioning, *, decision: Decision, statement: str,
             known_by: str) -> Signoff:
        """Bind a named person to what commissioning found. Declining takes a live release off at once. Raises ReleaseError."""
        one = self._one(release)
        mine = one.id, one.manifest_sha256, one.manifest.files["model.onnx"]
        if (report.release, report.manifest_sha256, report.onnx_sha256) != mine:
            raise ReleaseError("other_release")
        if not caller.name.strip() or not statement.strip():
            raise ReleaseError("no_statement")
        text, now = report.model_dump_json(indent=1) + "\n", time.time()
        seen, state = standings.newest(self.store), self.states()[release]
        new = NewSignoff(
            release, one.manifest_sha256, decision, report.decision, hashlib.sha256(text.encode()).hexdigest(),
            report.model_dump(mode="json"), _person(caller, known_by), caller.subject[:255], statement.strip()[:MOST_TYPED], now,
        )
        with _told(), self.store.session() as session:
            row = signoffs.add(session, new)
            if decision == "declined" and state.state == "live":
                self._write(session, caller, seen, [self._new(caller, one, "off", now, reason="", detail={"action": "declined"})])
            self.audit.append(session, caller, "sign_off", kind="release", item=release, detail={
                "decision": decision, "advice": report.decision, "report": new.report_sha256, "model": release})
        return row

    def live(self, caller: Caller, release: str, *, against_advice: str = "", reason: str = "", action: str = "live",
             detail: Json | None = None, seen: int | None = None) -> Standing:
        """Let a release speak here, in place of the one of its name that did. Raises ReleaseError.

        ``seen``: the newest change that whoever decides knew of; None for now.
        """
        one, seen, states = self._one(release), standings.newest(self.store) if seen is None else seen, self.states()
        if states[release].state == "live" and not states[release].implied:
            raise ReleaseError("already")
        signed = signoffs.latest(self.store, release, one.manifest_sha256)
        self._check(signed, against_advice)
        return self._put_live(caller, one, seen, states, signed, against_advice=bool(against_advice.strip()),
                              reason=against_advice.strip() or reason, action=action, detail=detail or {})

    def shadow(self, caller: Caller, release: str, *, reason: str = "") -> Standing:
        """Let a release score what comes, unseen. Raises ReleaseError."""
        one, seen, state = self._one(release), standings.newest(self.store), self.states()[release]
        if one.manifest.task == "department":
            raise ReleaseError("no_cases")
        if state.state == "shadow" or (state.state == "live" and not state.implied):
            raise ReleaseError("already" if state.state == "shadow" else "is_live")
        return self._change(caller, seen, [self._new(caller, one, "shadow", time.time(), reason=reason, detail={"action": "shadow"})])

    def off(self, caller: Caller, release: str, *, reason: str = "") -> Standing:
        """Switch a release off. No other of its name takes its place. Raises ReleaseError."""
        one, seen, state = self._one(release), standings.newest(self.store), self.states()[release]
        if state.state in ("off", "unsigned") and state.barred and not state.changed:
            raise ReleaseError("already")
        return self._change(caller, seen, [self._new(caller, one, "off", time.time(), reason=reason, detail={"action": "off"})])

    def rollback(self, caller: Caller, name: str, *, reason: str = "") -> Standing:
        """Return to the release of a name that was live before the present one. Raises ReleaseError."""
        seen, history = standings.newest(self.store), standings.history(self.store, name)
        before = former(history)
        if not before:
            raise ReleaseError("nothing_before")
        if before not in self.installed:
            raise ReleaseError("gone_before")
        one = self.installed[before]
        last = next((row for row in reversed(history) if row.release == before and row.state == "live"), None)
        if last is not None and last.detail.get(SHA256) != one.manifest_sha256:
            raise ReleaseError("gone_before")
        signed = signoffs.latest(self.store, before, one.manifest_sha256)
        advised = last is not None and last.against_advice
        self._check(signed, last.reason if last is not None and advised else "")
        return self._put_live(caller, one, seen, self.states(), signed, against_advice=advised,
                              reason=last.reason if last is not None and advised else reason, action="rollback", detail={})

    def _check(self, signed: Signoff | None, against_advice: str) -> None:
        """Raise ReleaseError when a release may not go live with its last sign-off, None for none."""
        if signed is not None and signed.decision == "declined":
            raise ReleaseError("declined")
        if signed is None and self.site.commissioning.required:
            raise ReleaseError("not_signed")
        if signed is not None and signed.advice == NO_GO and not against_advice.strip():
            raise ReleaseError("against_advice")

    def _put_live(self, caller: Caller, one: Installed, seen: int, states: Mapping[str, State], signed: Signoff | None, *,
                  against_advice: bool, reason: str, action: str, detail: Json) -> Standing:
        now = time.time()
        before = next((state.release for state in states.values()
                       if state.name == one.name and state.state == "live" and state.release != one.id), "")
        rows = [self._new(caller, one, "live", now, reason=reason, signoff=signed.id if signed else None,
                          against_advice=against_advice, detail={**detail, "action": action, "before": before})]
        if before:
            replaced = {"action": "replaced", "by": one.id}
            rows.insert(0, self._new(caller, self.installed[before], "off", now, reason="", detail=replaced))
        with _told(), self.store.session() as session:
            written = self._write(session, caller, seen, rows)[-1]
            if signoffs.newest_of(session, one.id, one.manifest_sha256) != written.signoff:
                raise StandingConflict  # somebody signed or declined while this was being decided
            return written

    def _change(self, caller: Caller, seen: int, changes: Sequence[NewStanding]) -> Standing:
        with _told(), self.store.session() as session:
            return self._write(session, caller, seen, changes)[-1]

    def _write(self, session: Transaction, caller: Caller, seen: int, changes: Sequence[NewStanding]) -> list[Standing]:
        rows = standings.change(session, changes, seen=seen)
        for one in changes:
            self.audit.append(session, caller, "release", kind="release", item=one.release, detail={
                "model": one.release, "does": one.state, "way": one.detail["action"], "against_advice": one.against_advice})
        return rows

    def _new(self, caller: Caller, one: Installed, state: Does, now: float, *, reason: str, detail: Json, signoff: int | None = None,
             against_advice: bool = False) -> NewStanding:
        return NewStanding(one.name, one.id, state, _person(caller), caller.subject[:255], now, signoff, reason.strip()[:MOST_TYPED],
                           against_advice, {**detail, SHA256: one.manifest_sha256})

    def _one(self, release: str) -> Installed:
        if release not in self.installed:
            raise ReleaseError("unknown")
        return self.installed[release]


def former(history: Sequence[Standing]) -> str:
    """Return the release that was live before the one that is or was last, by its changes from the earliest on; "" for none.

    A rollback is a step back: the next one goes further back, and never forth.
    """
    lived: list[str] = []
    for one in history:
        if one.state != "live":
            continue
        if one.detail.get("action") == "rollback":
            lived = lived[:-1]
        elif one.release != (lived[-1] if lived else ""):
            if not lived and one.detail.get("before"):
                lived.append(str(one.detail["before"]))
            lived.append(one.release)
    return lived[-2] if len(lived) > 1 else ""


def _person(caller: Caller, known_by: str = "") -> Json:
    """Return who did it, as it is kept."""
    told = {name: getattr(caller, name) for name in ("subject", "name", "rpps", "profession", "structure") if getattr(caller, name)}
    return told | ({"known_by": known_by} if known_by else {})


@contextmanager
def _told() -> Iterator[None]:
    """Turn a conflict into words."""
    try:
        yield
    except StandingConflict as error:
        raise ReleaseError("changed_meanwhile") from error
