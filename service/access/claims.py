"""Claims: what a provider says of a person, and which roles the site file grants for it. Pro Santé Connect and Keycloak alike."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.access.caller import Caller, Grant
from service.site_review import Grant as Rule

LONGEST = 120  # characters of a name that are shown
MAX_SUBJECT = 255
_NATIONAL = re.compile(r"8[0-9]{11}")  # the national identifier of a professional: 8, then their RPPS number
# Professions of the French directory, TRE_G15-ProfessionSante, as SubjectRefPro names them by code.
PROFESSIONS: Mapping[str, str] = {
    "10": "Médecin", "21": "Pharmacien", "26": "Audioprothésiste", "28": "Opticien-lunetier", "40": "Chirurgien-dentiste",
    "50": "Sage-femme", "60": "Infirmier", "70": "Masseur-kinésithérapeute", "80": "Pédicure-podologue",
    "86": "Technicien de laboratoire médical", "91": "Orthophoniste", "92": "Orthoptiste", "93": "Psychologue",
    "94": "Ergothérapeute", "95": "Diététicien", "96": "Psychomotricien", "98": "Manipulateur ERM",
}
Claims = Mapping[str, Any]


def person_of(claims: Claims, provider: str, rules: Sequence[Rule]) -> Caller:
    """Return who the claims are of, with what is granted to them: without roles when no rule of the site file grants any.

    Fields that are there but empty, as most of Pro Santé Connect's are, say nothing.
    """
    national = _first(claims, "SubjectNameID")
    rpps = national[1:] if _NATIONAL.fullmatch(national) else ""
    given = _first(claims, "given_name", "SubjectRefPro.exercices.prenomDexercice")
    family = _first(claims, "family_name", "SubjectRefPro.exercices.nomDexercice")
    return Caller(
        f"rpps:{rpps}" if rpps else _subject(provider, str(claims["sub"])), "person",
        name=" ".join(one for one in (given, family) if one) or _first(claims, "name", "preferred_username"),
        family=family, given=given, rpps=rpps, profession=_profession(claims),
        structure=_first(claims, "SubjectOrganization", "SubjectRefPro.exercices.activities.raisonSocialeSite"),
        provider=provider, grants=_grants(claims, provider, rules),
    )


def values_at(claims: Claims, path: str) -> Iterator[str]:
    """Give the words at a path with points, through lists; a name that itself holds points is found too.

    >>> list(values_at({"realm_access": {"roles": ["radiologist", ""]}}, "realm_access.roles"))
    ['radiologist']
    """
    yield from _walk(claims, path.split("."))


def _grants(claims: Claims, provider: str, rules: Sequence[Rule]) -> tuple[Grant, ...]:
    return tuple(
        Grant(frozenset(rule.roles), frozenset(rule.departments) or None, frozenset(rule.models) or None)
        for rule in rules
        if rule.provider in ("", provider) and all(
            not set(values).isdisjoint(values_at(claims, path)) for path, values in ((rule.claim, rule.values), *rule.also.items())
        )
    )


def _walk(value: Any, path: list[str]) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _walk(one, path)
    elif not path:
        if isinstance(value, bool | int | str) and (text := str(value).strip()):
            yield text.lower() if isinstance(value, bool) else text
    elif isinstance(value, dict):
        for cut in range(1, len(path) + 1):
            name = ".".join(path[:cut])
            if name in value:
                yield from _walk(value[name], path[cut:])


def _first(claims: Claims, *paths: str) -> str:
    """Return the first word of several places that can be shown."""
    for path in paths:
        for word in values_at(claims, path):
            if word.isprintable():
                return word[:LONGEST]
    return ""


def _profession(claims: Claims) -> str:
    for path in ("SubjectRefPro.exercices.codeProfession", "SubjectRole"):
        for word in values_at(claims, path):
            if name := PROFESSIONS.get(word.partition("^")[0]):
                return name
    return ""


def _subject(provider: str, sub: str) -> str:
    told = f"oidc:{provider}:{sub}"
    return told if len(told) <= MAX_SUBJECT else f"oidc:{provider}:sha256:{hashlib.sha256(sub.encode()).hexdigest()}"
