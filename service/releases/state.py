"""The rule of which release speaks here, as one pure function: what is installed, what people decided, what the site asks for.

    live        it answers; at most one release of a name
    shadow      it scores what comes, and nobody is shown what it says
    off         it was switched off, or another release of its name serves
    unsigned    nobody signed for it here, or its folder is not the one they signed for: it is as good as off
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from models.manifest import Manifest, read_manifest, sha256_of
from models.shelf import Shelf, read_pins, release_folders

What = Literal["live", "shadow", "off", "unsigned"]
SHA256 = "manifest_sha256"  # in the detail of a change: what was put live, in shadow or off


@dataclass(frozen=True)
class Installed:
    """A release that is on the shelf: who it is, by its own words and by the hash of its manifest."""

    manifest: Manifest
    manifest_sha256: str
    folder: Path

    @property
    def id(self) -> str:
        """``name-version``."""
        return self.manifest.id

    @property
    def name(self) -> str:
        """The name that its versions share."""
        return self.manifest.name


class Decided(Protocol):
    """The change that holds of a release; a row of the table standings is one."""

    id: int
    release: str
    state: str
    signoff: int | None
    against_advice: bool
    reason: str
    detail: dict[str, object]
    since: float


@dataclass(frozen=True)
class State:
    """What one release does here. ``barred``: it gives no answer to anybody, whoever asks and however."""

    release: str
    name: str
    state: What
    barred: bool
    since: float | None = None
    signoff: int | None = None
    against_advice: bool = False
    reason: str = ""
    changed: bool = False  # its folder is not the one that was decided on
    implied: bool = False  # nobody decided it: it is the rule of a machine where nobody is asked
    alarms: tuple[str, ...] = ()  # kinds of open alarms, where somebody asked for them


def installed_of(shelf: Shelf) -> list[Installed]:
    """Return what an open shelf holds."""
    return [Installed(one.manifest, one.identity.manifest_sha256, one.folder) for one in shelf.models.values()]


def installed_in(folder: Path) -> tuple[list[Installed], dict[str, str]]:
    """Return what a folder of releases holds without opening their graphs, and the active release of each name."""
    found = [Installed(read_manifest(one), sha256_of(one / "manifest.json"), one) for one in release_folders(folder)]
    active = {one.name: one.id for one in sorted(found, key=_place)}
    return found, active | {name: f"{name}-{version}" for name, version in read_pins(folder).items()}


def states_of(installed: Iterable[Installed], active: Mapping[str, str], decided: Mapping[str, Decided], *,
              required: bool) -> dict[str, State]:
    """Return what each release does. ``active``: name → id of what serves where nobody decides, the highest or the pinned.

    ``required``: a release speaks only after somebody signed for it.
    """
    found = sorted(installed, key=_place)
    states = {one.id: _decided(one, decided[one.id], required=required) if one.id in decided else _undecided(one, required=required)
              for one in found}
    for name in {one.name for one in found}:
        mine = [one.id for one in found if one.name == name]
        live = sorted((one for one in mine if states[one].state == "live"), key=lambda one: states[one].since or 0.0)
        for one in live[:-1]:  # written by no command of ours: the last word counts
            states[one] = State(one, name, "off", barred=True, since=states[one].since)
        if not live and not required and (serves := _implied(mine, active.get(name, ""), states)):
            states[serves] = State(serves, name, "live", barred=False, implied=True)
    return states


def _decided(one: Installed, last: Decided, *, required: bool) -> State:
    what: What = "live" if last.state == "live" else "shadow" if last.state == "shadow" else "off"
    changed = what != "off" and last.detail.get(SHA256) != one.manifest_sha256
    if changed or (what == "live" and required and last.signoff is None):  # the latter was put live while nobody was asked
        what = "unsigned"
    return State(one.id, one.name, what, barred=what != "live", since=last.since, signoff=last.signoff,
                 against_advice=last.against_advice, reason=last.reason, changed=changed)


def _undecided(one: Installed, *, required: bool) -> State:
    """Where nobody is asked, an older version still answers who names it."""
    return State(one.id, one.name, "unsigned" if required else "off", barred=required, implied=True)


def _implied(mine: list[str], active: str, states: Mapping[str, State]) -> str:
    """Return what serves of a name where nobody decided: the active release, or the highest beside one that is in shadow.

    A release that was switched off, or whose folder changed, leaves its place empty: no older one speaks unasked.
    """
    left = [one for one in mine if states[one].state != "shadow"]
    serves = active if active in left else left[-1] if left else ""
    return serves if serves and states[serves].implied else ""


def _place(one: Installed) -> tuple[str, tuple[int, ...]]:
    return one.name, tuple(int(part) for part in one.manifest.version.split("."))
