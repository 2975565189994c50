"""A validated report: what a named professional has read and taken over. Only this leaves as CDA, HL7 v2 or XDM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from models.manifest import Code
from service.identity import Environment, Person
from service.reporting.report import Section, sha256_of_text
from service.site import Organisation
from service.words import Language

RPPS_OID = "1.2.250.1.71.4.2.1"  # root of the national identifier of a professional: "8" and the RPPS number
ROLES_OID = "1.2.250.1.213.1.1.4.5"  # of Professional.role
_RPPS = re.compile(r"8?([0-9]{11})")


class NotValidated(ValueError):
    """Somebody tried to send what no professional has validated, or what was changed since."""


@dataclass(frozen=True)
class Professional:
    """Who validated. ``rpps`` has 11 digits: its form is checked here, whether it is theirs is the EHR's or the directory's word."""

    rpps: str
    family: str
    given: str
    role: str = "G15_10/SM44"  # physician, radiodiagnosis and medical imaging (CI-SIS, author specialties)
    role_display: str = "Médecin - Radio-diagnostic (SM)"

    def __post_init__(self) -> None:
        found = _RPPS.fullmatch(self.rpps.replace(" ", ""))
        if not found:
            raise NotValidated("An RPPS number must have 11 digits, or 12 that start with 8; found something else. Correct it.")
        object.__setattr__(self, "rpps", found[1])
        if not self.family.strip() or not self.given.strip():
            raise NotValidated("A validation must name a person by family and given name, found an empty one. Fill both in.")

    @property
    def national_id(self) -> str:
        """The identifier as documents carry it (IDNPS): 8 and the RPPS number."""
        return "8" + self.rpps


@dataclass(frozen=True)
class Number:
    """A number of an order or an examination, and who gave it: an OID in ``oid``, else a name in ``issuer``; both may be ""."""

    value: str
    oid: str = ""
    issuer: str = ""


@dataclass(frozen=True)
class ValidatedReport:
    """One validated version of the report of one study, with all that a document about it must state.

    Raises NotValidated when it is made of a text that is not the one that was validated. ``pdf`` is the same text as pages.
    """

    document_uid: str  # an OID, of this version
    set_uid: str  # an OID, the same for all versions of the report of this study
    version: int
    replaces: str  # document_uid of the validated version before, "" for the first
    language: Language
    title: str
    sections: tuple[Section, ...]
    text_sha256: str  # of the text the professional saw and validated
    professional: Professional
    validated_at: datetime
    made_at: datetime  # of the first draft
    person: Person
    accept: Environment
    organisation: Organisation
    study_uid: str
    studied_at: datetime | None
    modality: str  # DICOM code such as DX
    accession: Number | None
    placer_order: Number | None
    procedures: tuple[Code, ...]  # of the examination, LOINC first
    body_part: str  # BodyPartExamined, "" when not stated
    referrer: str  # family and given name of who asked, "" when not stated
    pdf: bytes

    def __post_init__(self) -> None:
        if self.text_sha256 != sha256_of_text(self.sections):
            raise NotValidated("The text of a validated report must be the one that was validated, found another. Validate it again.")
        if self.validated_at.tzinfo is None or self.made_at.tzinfo is None:
            raise NotValidated("Times of a validated report must have a time zone, found one without.")
        if not any(one.sentences for one in self.sections if one.name == "conclusion"):
            raise NotValidated("A validated report must have a conclusion, found none. Write one and validate again.")
        if not self.pdf.startswith(b"%PDF-"):
            raise NotValidated("A validated report must come with its pages as PDF, found none.")


def require_validated(report: object) -> ValidatedReport:
    """Return a validated report as what it is. Raises NotValidated for anything else: a draft never leaves as a document."""
    if not isinstance(report, ValidatedReport):
        raise NotValidated(f"Only a validated report may be sent, found {type(report).__name__}. A professional validates it first.")
    return report
