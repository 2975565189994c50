"""Caller: who asks, what they were granted, and whether it is enough for what they ask."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from starlette.requests import Request

from service.access.policy import PATIENT_ROLES, PERMISSIONS, Permission, Role
from service.problem import ProblemError

Kind = Literal["person", "machine"]
Names = frozenset[str] | None  # None: all there are
_VERSION = re.compile(r"-[0-9][0-9A-Za-z.+-]*$")  # a release is called name-version


@dataclass(frozen=True)
class Grant:
    """Roles that hold in some departments and for some models."""

    roles: frozenset[str]
    departments: Names = None
    models: Names = None

    def gives(self, permission: str, department: str | None, model: str) -> bool:
        """Tell whether this grant alone is enough."""
        return (
            any(permission in PERMISSIONS.get(cast(Role, role), ()) for role in self.roles)
            and (department is None or self.departments is None or department in self.departments)
            and (not model or self.models is None or not self.models.isdisjoint({model, _VERSION.sub("", model)}))
        )


@dataclass(frozen=True)
class Caller:
    """Who asks. ``departments`` and ``models`` are what their grants for patients' data reach, None meaning all; ``may`` decides.

    A caller without ``grants`` has one: the ``roles`` in those ``departments`` and for those ``models``.
    """

    subject: str  # rpps:… | oidc:<provider>:… | machine:… | local:owner
    kind: Kind = "person"
    name: str = ""
    family: str = ""
    given: str = ""
    rpps: str = ""
    profession: str = ""
    structure: str = ""
    roles: frozenset[str] = frozenset()
    departments: Names = None
    models: Names = None
    session: str = ""  # the hash that names their session; empty for machines
    provider: str = ""  # of [[access.providers]], whom they logged in with
    login_at: float = 0.0  # when they showed who they are
    grants: tuple[Grant, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.grants:
            object.__setattr__(self, "grants", (Grant(self.roles, self.departments, self.models),))
            return
        near = [one for one in self.grants if one.roles & PATIENT_ROLES] or list(self.grants)
        object.__setattr__(self, "roles", frozenset[str]().union(*(one.roles for one in self.grants)))
        object.__setattr__(self, "departments", _all_of(one.departments for one in near))
        object.__setattr__(self, "models", _all_of(one.models for one in near))

    def may(self, permission: str, *, department: str | None = None, model: str = "") -> bool:
        """Tell whether the caller has a permission, in a department (None: in any) and for a model ("": for any).

        ``department=""`` is a thing of no known department: only who may see all departments sees it.
        """
        return any(grant.gives(permission, department, model) for grant in self.grants)

    def is_fresh(self, minutes: float) -> bool:
        """Tell whether they showed who they are within so many minutes. A program does so with every call."""
        return self.kind == "machine" or time.time() - self.login_at <= 60 * minutes


def caller_if_any(request: Request) -> Caller | None:
    """Return who asks, None where nobody was asked to say so."""
    found = request.scope.get("state", {}).get("caller")
    return found if isinstance(found, Caller) else None


def caller_of(request: Request) -> Caller:
    """Return who asks. Raises ProblemError (401) when the Gate let nobody in."""
    caller = caller_if_any(request)
    if caller is None:
        raise ProblemError("no_token", "Log in, or send the header 'Authorization: Bearer <token>' with a token that holds.")
    return caller


def need(request: Request, permission: Permission, *, department: str | None = None, model: str = "") -> Caller:
    """Return who asks when they have a permission. Raises ProblemError (403)."""
    caller = caller_of(request)
    if not caller.may(permission, department=department, model=model):
        raise ProblemError("forbidden", "Your roles do not allow this. Ask the people who run this service.")
    return caller


def need_fresh(request: Request, permission: Permission, minutes: float) -> Caller:
    """Return who asks when they have a permission and logged in a short while ago: for what cannot be undone."""
    caller = need(request, permission)
    if not caller.is_fresh(minutes):
        raise ProblemError("login_too_old", "This cannot be undone: log in again first, then repeat it.")
    return caller


def csrf_of(request: Request) -> str:
    """Return the token that forms of this session must bring back, in the field ``csrf`` or the header x-csrf-token."""
    return str(request.scope.get("state", {}).get("csrf", ""))


def to_json(caller: Caller) -> dict[str, Any]:
    """Write a caller as it is kept with a session."""
    words = {name: getattr(caller, name) for name in _WORDS if getattr(caller, name)}
    return {**words, "grants": [
        {"roles": sorted(one.roles), "departments": _listed(one.departments), "models": _listed(one.models)} for one in caller.grants
    ]}


def from_json(told: dict[str, Any], *, session: str = "", login_at: float = 0.0) -> Caller:
    """Read what ``to_json`` wrote."""
    grants = tuple(Grant(frozenset(one["roles"]), _named(one["departments"]), _named(one["models"])) for one in told["grants"])
    return Caller(**{name: told.get(name, "") for name in _WORDS}, grants=grants, session=session, login_at=login_at)


_WORDS = ("subject", "kind", "name", "family", "given", "rpps", "profession", "structure", "provider")


def _all_of(names: Iterable[Names]) -> Names:
    told = list(names)
    return None if None in told else frozenset[str]().union(*(one for one in told if one is not None))


def _listed(names: Names) -> list[str] | None:
    return None if names is None else sorted(names)


def _named(names: list[str] | None) -> Names:
    return None if names is None else frozenset(names)
