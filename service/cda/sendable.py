"""What must hold before a validated report becomes a French document, and what it may name its patient by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.identity import ENVIRONMENTS, Identity
from service.reporting.validated import Number, ValidatedReport, require_validated
from service.words import marked

Reason = Literal[
    "wrong_key", "not_qualified", "wrong_environment", "several_ins", "traits", "no_identifier", "organisation", "language",
]
REASONS: dict[Reason, str] = {
    "wrong_key": marked("The national health identity (INS) of the patient must have a right control key. "
                        "Have the identity checked."),
    "not_qualified": marked("The national health identity (INS) of the patient must be qualified before a document carries it. "
                            "Have the identity checked."),
    "wrong_environment": marked("The national health identity (INS) must be of this site's environment, production or test. "
                                "Set identity.accept in the site file, or have the identity checked."),
    "several_ins": marked("A patient must have one national health identity (INS), found several. Have the identity checked."),
    "traits": marked("A document with a national health identity (INS) must state its traits: birth name, given names, sex, date and "
                     "place of birth. Validate the report with the patient of the record."),
    "no_identifier": marked("A document must name its patient by an INS or by an identifier of this hospital, found neither."),
    "organisation": marked("A document must name the hospital. Set name, finess and oid of organisation in the site file."),
    "language": marked("The French imaging report must be in French. Write the report in French and validate it."),
}


class NotSendable(ValueError):
    """A validated report that must not leave as a document: ``reason`` is a word of ours, the message says what to do."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


@dataclass(frozen=True)
class Named:
    """By what a document names its patient: the INS, when there is one, and what hospitals gave (the IPP), each with its OID."""

    ins: Identity | None
    others: tuple[tuple[str, str], ...]  # OID, value

    @property
    def ids(self) -> tuple[tuple[str, str], ...]:
        """All of them, the INS first."""
        return ((self.ins.oid, self.ins.matricule), *self.others) if self.ins else self.others


def require_sendable(report: object) -> tuple[ValidatedReport, Named]:
    """Return a report and how its patient is named. Raises NotValidated for what no professional validated, NotSendable.

    An INS that is there and cannot be used stops the document: it would otherwise reach a record under an identity nobody
    has checked. One that was calculated (INS-C) is history, and left out.
    """
    known = require_validated(report)
    site = known.organisation
    if not (site.name and site.finess and site.oid):
        raise NotSendable("organisation")
    if known.language != "fr":
        raise NotSendable("language")
    named = Named(_ins(known), _others(known))
    if not named.ids:
        raise NotSendable("no_identifier")
    traits = known.person.traits
    strict = (traits.birth_name, traits.given, traits.given_names, traits.sex, traits.birth_date, traits.birth_place)
    if named.ins and not all(strict):
        raise NotSendable("traits")
    return known, named


def number_id(number: Number, report: ValidatedReport) -> tuple[str, str]:
    """Return the OID and the value of a number of an order or examination; one without an OID is the hospital's own."""
    return number.oid or report.organisation.oid, number.value


def _ins(report: ValidatedReport) -> Identity | None:
    stated = [one for one in report.person.identities if one.kind not in ("local", "INS-C")]
    for one in stated:
        if one.reason in ("wrong_key", "wrong_form"):
            raise NotSendable("wrong_key")
        if not one.qualified:
            raise NotSendable("not_qualified")
        if one.kind not in ENVIRONMENTS[report.accept]:
            raise NotSendable("wrong_environment")
    found = report.person.ins(report.accept)
    if stated and found is None:
        raise NotSendable("several_ins")
    return found


def _others(report: ValidatedReport) -> tuple[tuple[str, str], ...]:
    """Return identifiers with an OID. One whose issuer is nobody, or this hospital by name, is this hospital's."""
    site = report.organisation
    found = []
    for one in report.person.identities:
        oid = one.oid or (site.oid if one.issuer in ("", site.name) else "")
        if one.kind == "local" and one.matricule and oid:
            found.append((oid, one.matricule))
    return tuple(dict.fromkeys(found))
