"""Identity: the French national health identity (INS), its control key, and whether an image and a record are one person's.

A matricule (NIR or NIA, 13 characters and a key of 2) means nothing without the OID of who issued it. It is matched on only
when its key is right, its identity is qualified and its OID belongs to the environment of the site; a local identifier only
when the same issuer gave it. Names never match anybody. Readers of FHIR, DICOM and HL7 v2 are in service/persons.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from service.facts import fold
from service.words import Language, marked, say

Environment = Literal["production", "test"]
Kind = Literal["INS-NIR", "INS-NIA", "INS-NIR-TEST", "INS-NIR-DEMO", "INS-C"]
# Who issues what (FR Core 2.2.0, profile fr-core-patient-ins; CI-SIS). INS-C was calculated from the card, and is history.
INS: dict[str, Kind] = {
    "1.2.250.1.213.1.4.8": "INS-NIR",
    "1.2.250.1.213.1.4.9": "INS-NIA",
    "1.2.250.1.213.1.4.10": "INS-NIR-TEST",
    "1.2.250.1.213.1.4.11": "INS-NIR-DEMO",
    "1.2.250.1.213.1.4.2": "INS-C",
}
ENVIRONMENTS: dict[Environment, tuple[Kind, ...]] = {
    "production": ("INS-NIR", "INS-NIA"),
    "test": ("INS-NIR-TEST", "INS-NIR-DEMO"),
}
# Sex 1 or 2, year, month (also 20-42 and 50-99: not known, INSEE), department (2A and 2B: Corsica), commune, rank
_REST = r"[0-9]{2}(?:0[1-9]|1[0-2]|[23][0-9]|4[0-2]|[5-9][0-9])(?:[0-9]{2}|2[AB])[0-9]{6}"
_NIR = re.compile(f"[12]{_REST}")
_NIA = re.compile(f"[1-478]{_REST}")  # made like a NIR; 3, 4, 7 and 8 for people born abroad whose registration is under way
_FORMS: dict[Kind, re.Pattern[str]] = {"INS-NIR": _NIR, "INS-NIA": _NIA, "INS-NIR-TEST": _NIA, "INS-NIR-DEMO": _NIA}
_BLANKS = re.compile(r"[\s\u00a0\u202f]+")

Reason = Literal[
    "", "local", "obsolete", "wrong_form", "wrong_key", "not_qualified", "status_not_stated", "several_official",
]
Why = Literal[
    "other_sex", "other_birth_date", "other_ins", "other_identifier", "replaced", "wrong_key", "not_qualified",
    "wrong_environment", "no_common_identifier",
]


@dataclass(frozen=True)
class Identity:
    """One identifier of a person. ``qualified`` is said of an INS only: checked against a document and against INSi.

    ``reason`` says why an INS is not. A local identifier has its issuer: an OID in ``oid``, else a name or URI in ``issuer``.
    """

    matricule: str
    oid: str
    qualified: bool
    reason: Reason = ""
    issuer: str = ""

    @property
    def kind(self) -> Kind | Literal["local"]:
        """What it is, by its OID."""
        return INS.get(self.oid, "local")

    @property
    def authority(self) -> str:
        """Who issued it, "" when nobody is named."""
        return self.oid or self.issuer


@dataclass(frozen=True)
class Traits:
    """What a person is known by. ``birth_date`` is YYYYMMDD, or less when less is known; "" and () are not known.

    ``birth_place`` is the code of the commune or country of birth in INSEE's official geographic code, five characters.
    """

    birth_name: str = ""
    given: str = ""  # the first given name of the birth certificate
    given_names: str = ""  # all of them, in their order
    usual_name: str = ""
    birth_date: str = ""
    sex: Literal["M", "F", "O", ""] = ""
    birth_place: str = ""


@dataclass(frozen=True)
class Person:
    """Traits and identifiers as one source states them; ``replaced`` when it says that another record took its place."""

    traits: Traits
    identities: tuple[Identity, ...] = ()
    replaced: bool = False

    @classmethod
    def nobody(cls) -> Person:
        """Return a person of whom nothing is known."""
        return cls(Traits())

    def ins(self, accept: Environment) -> Identity | None:
        """Return the one INS that may be matched on and sent, None when there is none, or more than one."""
        usable = {(one.oid, one.matricule): one for one in self.identities if one.qualified and one.kind in ENVIRONMENTS[accept]}
        return next(iter(usable.values())) if len(usable) == 1 else None


@dataclass(frozen=True)
class Match:
    """One person. ``by`` is what told so; ``remarks`` are what a reader should look at all the same."""

    by: Literal["ins", "local"]
    remarks: tuple[Literal["name_differs"], ...] = ()


@dataclass(frozen=True)
class Mismatch:
    """Not one person, or not to be told: nothing may be shown of one with the other."""

    reason: Why


def ins_key(nir13: str) -> str:
    """Return the control key of 13 characters: 97 less the remainder by 97, 2A counted as 19 and 2B as 18.

    >>> ins_key("2790351215189")
    '89'
    """
    digits = nir13[:5] + {"2A": "19", "2B": "18"}.get(nir13[5:7], nir13[5:7]) + nir13[7:]
    return f"{97 - int(digits) % 97:02d}"


def ins_identity(matricule: str, oid: str, *, status: str | None) -> Identity:
    """Return an INS, judged. ``status`` is that of the identity (VALI is qualified), None when the source states none."""
    value = _BLANKS.sub("", matricule).upper()
    kind = INS[oid]
    reason: Reason = ""
    if kind == "INS-C":
        reason = "obsolete"
    elif len(value) != 15 or not _FORMS[kind].fullmatch(value[:13]) or not re.fullmatch("[0-9]{2}", value[13:]):
        reason = "wrong_form"
    elif value[13:] != ins_key(value[:13]):
        reason = "wrong_key"
    elif status is None:
        reason = "status_not_stated"
    elif status != "VALI":
        reason = "not_qualified"
    return Identity(value, oid, qualified=not reason, reason=reason)


def local_identity(value: str, authority: str) -> Identity:
    """Return an identifier of a hospital; ``authority`` is an OID, a URI or a name."""
    oid = authority if re.fullmatch(r"[0-2](\.(0|[1-9][0-9]*))+", authority) else ""
    return Identity(value.strip(), oid, qualified=False, reason="local", issuer="" if oid else authority.strip())


def same_person(
    image: Person, record: Person, *, accept: Environment = "production", issuers: Mapping[str, str] | None = None
) -> Match | Mismatch:
    """Tell whether an image and a record are of one person.

    ``issuers`` says which authority of the images is which of the records, where they are named differently ("CHU" and a
    URI). A conflict of sex, date of birth or INS is a mismatch whatever identifier is shared.
    """
    if image.replaced or record.replaced:
        return Mismatch("replaced")
    if _differ(image.traits.sex, record.traits.sex, "MF"):
        return Mismatch("other_sex")
    if _other_date(image.traits.birth_date, record.traits.birth_date):
        return Mismatch("other_birth_date")
    here, there = _nationals(image, accept), _nationals(record, accept)
    if any(here[oid] != there[oid] for oid in here.keys() & there.keys()):
        return Mismatch("other_ins")
    if image.ins(accept) and image.ins(accept) == record.ins(accept):
        return Match("ins", _remarks(image, record))
    mine = _local(image.identities, issuers or {})
    theirs = _local(record.identities, {})
    if mine & theirs:
        return Match("local", _remarks(image, record))
    if {authority for authority, _ in mine} & {authority for authority, _ in theirs}:
        return Mismatch("other_identifier")
    return Mismatch(_why_not(image, record, accept))


_MISMATCHES: dict[Why, str] = {
    "other_sex": marked("The image and the record state different sexes."),
    "other_birth_date": marked("The image and the record state different dates of birth."),
    "other_ins": marked("The image and the record carry different national health identities (INS)."),
    "other_identifier": marked("The image and the record carry different identifiers of the same hospital."),
    "replaced": marked("The record says that another record has taken its place."),
    "wrong_key": marked("A national health identity (INS) has a wrong control key."),
    "not_qualified": marked("A national health identity (INS) is not qualified."),
    "wrong_environment": marked("A national health identity (INS) is of another environment than this site's (production or test)."),
    "no_common_identifier": marked("The image and the record share no identifier of the same issuer."),
}

_REMARKS: dict[Literal["name_differs"], str] = {
    "name_differs": marked("The names of the images and of the record differ: check that they are of one person."),
}


def mismatch_text(mismatch: Mismatch, language: Language) -> str:
    """Say why two are not taken for one person, and what to do; never who."""
    why = say(language, _MISMATCHES[mismatch.reason])
    return why + " " + say(language, "Nothing is shown. Have the identity checked before the images are used with this record.")


def remark_text(remark: Literal["name_differs"], language: Language) -> str:
    """Say what a reader should look at though two are one person; never who."""
    return say(language, _REMARKS[remark])


def _nationals(person: Person, accept: Environment) -> dict[str, set[str]]:
    """Return the INS that may be matched on, by who issued them: one that has two is not told from either."""
    found: dict[str, set[str]] = {}
    for one in person.identities:
        if one.qualified and one.kind in ENVIRONMENTS[accept]:
            found.setdefault(one.oid, set()).add(one.matricule)
    return found


def _local(identities: Iterable[Identity], issuers: Mapping[str, str]) -> set[tuple[str, str]]:
    return {
        (_plain(issuers.get(one.authority, one.authority)), one.matricule)
        for one in identities
        if one.kind == "local" and one.authority and one.matricule
    }


def _plain(authority: str) -> str:
    return authority[8:] if authority.lower().startswith("urn:oid:") else authority


def _why_not(image: Person, record: Person, accept: Environment) -> Why:
    """Say what hinders most: an INS is on both sides, and one of them cannot be used."""
    nationals = [[one for one in person.identities if one.kind != "local"] for person in (image, record)]
    if all(nationals):
        for one in (*nationals[0], *nationals[1]):
            if one.reason in ("wrong_key", "wrong_form"):
                return "wrong_key"
            if one.reason:
                return "not_qualified"
        if any(one.kind not in ENVIRONMENTS[accept] for one in (*nationals[0], *nationals[1])):
            return "wrong_environment"
    return "no_common_identifier"


def _differ(one: str, other: str, known: str) -> bool:
    return one != other and bool(one) and bool(other) and one in known and other in known


def _other_date(one: str, other: str) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] != other[:shared]


def _remarks(image: Person, record: Person) -> tuple[Literal["name_differs"], ...]:
    """Names are spelled in many ways and change: a difference is worth a look, no more."""
    mine = {_letters(name) for name in (image.traits.birth_name, image.traits.usual_name) if name}
    theirs = {_letters(name) for name in (record.traits.birth_name, record.traits.usual_name) if name}
    return ("name_differs",) if mine and theirs and not mine & theirs else ()


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]+", " ", fold(name)).strip()
