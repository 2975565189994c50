"""What a line of the audit may say. Who did what to which thing; of the person it is about, keys only.

Actions, kinds and the words of ``detail`` are tables: what is in none of them is left out, so that no name, identifier or
free text can slip in by carelessness. Professionals are named: that is what an audit is for.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

from service.access.caller import Caller
from service.access.policy import Permission
from service.store.audit import NewLine, Outcome

log = logging.getLogger("diaphane")
Action = Literal[
    "login", "logout", "denied", "view", "predict", "verdict", "validate", "export", "print", "search", "configure", "erase",
    "oppose", "hold", "replay", "deliver", "deidentify", "receive", "prune", "sign_off", "release",
]
ACTIONS: tuple[Action, ...] = get_args(Action)
NOBODY = "anonymous"  # who was not let in, and did not say who they are
SERVICE = "service"  # this program itself
# What may fall away when the process is killed at once: frequent, and by a program. Everything else is on disk before the answer.
FREQUENT: frozenset[str] = frozenset({"view", "predict", "search", "deliver", "receive"})

Check = Callable[[Any], bool]
# A UID, a random key, a hash, a UUID, the id of a release: what an address or a file may say is none of these by chance
_ITEM = re.compile(r"[0-2](\.[0-9]+){3,}|[A-Za-z0-9_-]{22,24}|[0-9a-f]{32}|[0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|"
                   r"[a-z0-9_]+-[0-9]+(\.[0-9]+){2}")
_LONGEST_ITEM = 64
_PERSON = re.compile(r"[0-9a-f]{32}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _word(pattern: str) -> Check:
    form = re.compile(pattern)
    return lambda value: isinstance(value, str) and form.fullmatch(value) is not None


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _many(check: Check) -> Check:
    return lambda value: isinstance(value, list) and len(value) <= 200 and all(check(one) for one in value)


def _address(value: Any) -> bool:
    try:
        return bool(ipaddress.ip_address(value))
    except ValueError:
        return False


_CODE = _word(r"[a-z][a-z0-9_-]{0,47}")
_RELEASE = _word(r"[a-z0-9][a-z0-9_.-]{0,119}")
DETAIL: dict[str, Check] = {
    "advice": _one_of("go", "go_with_conditions", "no_go"),  # what commissioning said of a release
    "against_advice": lambda value: isinstance(value, bool),
    "address": _address,  # where the caller's connection came from
    "code": _CODE,  # of a problem
    "count": _number,
    "decision": _one_of("agree", "correct", "reject", "accepted", "declined"),
    "does": _one_of("live", "shadow", "off"),  # of a release, from now on
    "format": _CODE,
    "keys": _many(_word(r"[a-z][a-z0-9_.]{0,63}")),  # names of settings, never their values
    "method": _one_of("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"),
    "model": _RELEASE,
    "models": _many(_RELEASE),
    "number": _number,
    "permission": _one_of(*get_args(Permission)),
    "provider": _word(r"[a-z0-9][a-z0-9_-]{0,63}"),
    "reader": _one_of("first", "second", "third"),
    "reason": _CODE,
    "report": _word(r"[0-9a-f]{64}"),  # hash of what was signed
    "route": _word(r"/[A-Za-z0-9_.$/{}:*-]{0,127}"),  # the template of an address, never the address
    "same": lambda value: isinstance(value, bool),  # a replay gave the same number
    "scope": _one_of("scoring", "training", "both"),
    "source": _word(r"[a-z][a-z0-9:_-]{0,63}"),
    "state": lambda value: isinstance(value, dict) and all(  # a keyed hash of each setting, to see which one changed
        isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_.]{0,63}", name) and isinstance(one, str) and
        re.fullmatch(r"[0-9a-f]{8}", one) for name, one in value.items()),
    "status": _number,
    "target": _word(r"[a-z0-9][a-z0-9_-]{0,63}"),
    "targets": _many(_word(r"[a-z0-9][a-z0-9_-]{0,63}")),
    "version": _number,
    "way": _CODE,
}


def line_of(
    caller: Caller | None, action: Action, *, kind: str = "", item: str = "", persons: Iterable[str] = (),
    outcome: Outcome = "success", detail: Mapping[str, Any] | None = None, pseudonym: Callable[[str], str],
) -> NewLine:
    """Return a line as it may be kept. Raises ValueError for an action or a person that is none: a fault of ours.

    ``item`` is a random key, a UID or the id of a release; what has another form is kept as its pseudonym.
    """
    if action not in ACTIONS:
        raise ValueError(f"There is no action {action!r}; there are {', '.join(ACTIONS)}.")
    keys = tuple(one for one in persons if one)
    if not all(_PERSON.fullmatch(one) for one in keys):
        raise ValueError("A person is a key of service/persons_keys.py, found something else.")
    if item and (len(item) > _LONGEST_ITEM or not _ITEM.fullmatch(item)):
        item = pseudonym(f"item {item}")
    actor = caller.subject if caller else NOBODY if action in ("login", "denied") else SERVICE
    return NewLine(
        at=time.time(), actor=_plain(actor), action=action, actor_name=_plain(caller.name) if caller else "",
        roles=_plain(" ".join(sorted(caller.roles))) if caller else "", kind=kind if _CODE(kind) else "", item=item, persons=keys,
        outcome=outcome, detail=_allowed(detail or {}),
    )


def is_frequent(line: NewLine) -> bool:
    """Tell whether a line may wait a moment for others, so that a program which asks often does not wait for the disk."""
    return line.action in FREQUENT and line.outcome == "success" and (line.actor == SERVICE or line.actor.startswith("machine:"))


def _allowed(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tables allow; what they do not is left out, and the log says under which name of ours."""
    kept = {}
    for name, value in detail.items():
        if name in DETAIL and DETAIL[name](value):
            kept[name] = value
        elif value not in (None, "", [], ()):
            log.warning("audit: detail %s was left out: it is not of a form that may be kept", name if name in DETAIL else "?")
    return kept


def _plain(text: str) -> str:
    """Return a text that every database takes, cut to the width of its column."""
    return _CONTROL.sub("", text)[:255]
