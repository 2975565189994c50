"""Promote: find the candidate of a name, judge it beside what serves, and let it take the place when everything is met."""

from __future__ import annotations

from dataclasses import dataclass

from models.commissioned import Gate
from service.access.caller import Caller
from service.releases.compare import Comparison, compare
from service.releases.errors import ReleaseError
from service.releases.promotion import Rules, detail_of, gates_of
from service.releases.releases import Releases
from service.store import signoffs, standings
from service.store.trust_tables import Standing
from service.words import Language

RULES = Rules()


@dataclass(frozen=True)
class Judgement:
    """A candidate before the gate. ``found`` is None where no live release stands beside it; ``seen`` is the newest change of
    what releases do that it rests on."""

    candidate: str
    live: str
    found: Comparison | None
    gates: tuple[Gate, ...]
    seen: int

    @property
    def met(self) -> bool:
        """Whether everything that is required is met; what could not be judged is not."""
        return all(one.met for one in self.gates)


def judge(releases: Releases, name: str, rules: Rules = RULES, language: Language = "en") -> Judgement:
    """Judge the candidate of a name, or of an id where several are in shadow. Raises ReleaseError."""
    seen, states = standings.newest(releases.store), releases.states()
    candidates = [one for one in states.values() if one.state == "shadow" and name in (one.name, one.release)]
    if len(candidates) != 1:
        raise ReleaseError("not_in_shadow" if not candidates else "several")
    candidate = candidates[0]
    live = next((one.release for one in states.values() if one.name == candidate.name and one.state == "live"), "")
    found = compare(releases.store, candidate.release, live, since=candidate.since or 0.0) if live else None
    signed = signoffs.latest(releases.store, candidate.release, releases.installed[candidate.release].manifest_sha256)
    gates = gates_of(found, signed, standings.open_alarms(releases.store, candidate.release), rules, language)
    return Judgement(candidate.release, live, found, gates, seen)


def promote(releases: Releases, caller: Caller, judged: Judgement, *, against_advice: str = "") -> Standing:
    """Put a candidate live when the gate is met, or against its advice with a reason. Raises ReleaseError."""
    if not judged.met and not against_advice.strip():
        raise ReleaseError("not_met")
    return releases.live(caller, judged.candidate, against_advice=against_advice, action="promote",
                         detail=detail_of(judged.gates, judged.found), seen=judged.seen)
