"""The part of the site file that the clinician's page reads: who may log in as what, what a page shows, how long things are kept.

    [access] [[access.providers]] [[access.grants]] [[access.machines]]      [review]      [retention]      [audit]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from service.outbound.address import BadAddress, read_address

Role = Literal["clinician", "radiologist", "engineer", "administrator", "dpo", "steward", "system"]
ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
NATIONAL_LOGIN = ".esante.gouv.fr/"  # issuers of Pro Santé Connect
PROFESSION_CLAIMS = frozenset({
    "SubjectRole", "SubjectRefPro.exercices.codeProfession", "SubjectRefPro.exercices.codeCategorieProfessionnelle",
    "SubjectRefPro.exercices.codeTypeSavoirFaire", "SubjectRefPro.exercices.codeSavoirFaire",
    "SubjectRefPro.exercices.activities.codeModeExercice", "SubjectRefPro.exercices.activities.codeSecteurDactivite",
    "Secteur_Activite",
})
Department = Annotated[str, Field(min_length=1, max_length=64)]


class Part(BaseModel):
    """One table of the site file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Provider(Part):
    """An OpenID provider that people log in with, such as Pro Santé Connect or the hospital's Keycloak."""

    name: ProviderName
    title: str = ""  # on the button
    issuer: str  # exactly as its tokens say
    client_id: str
    client_secret: SecretStr = SecretStr("")
    scope: str = "openid"
    acr: str = ""  # asked for, and demanded of the token: "eidas1" for Pro Santé Connect
    discovery: str = ""  # empty: issuer + /.well-known/openid-configuration
    tls_ca: Path | None = None
    timeout_s: float = Field(10.0, gt=0)

    @field_validator("issuer", "discovery")
    @classmethod
    def _is_address(cls, url: str) -> str:
        try:
            if url:
                read_address(url)
        except BadAddress:
            raise ValueError("must be an address such as https://login.example.org/realms/hospital") from None
        return url


class Grant(Part):
    """Whoever has one of ``values`` in a claim has these roles, in these departments and for these models (none named: all).

    ``also`` names further claims that must each hold one of their values: a profession, and a structure.
    """

    provider: str = ""  # empty: any
    claim: str  # a path with points: realm_access.roles, SubjectRefPro.exercices.codeProfession
    values: list[str] = Field(min_length=1)
    also: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    roles: list[Role] = Field(min_length=1)
    departments: list[Department] = []
    models: list[str] = []


class Machine(Part):
    """A program that calls with a signed token of its own (RFC 7523 style): checked with keys from a file or an address."""

    iss: str
    jwks: Path | None = None
    jku: str = ""
    roles: list[Role] = ["system"]

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if not self.jwks and not self.jku.startswith("https://"):
            raise ValueError("a machine needs jwks, a file, or jku, an address that starts with https://")
        return self


class Access(Part):
    """Who may log in as what."""

    providers: list[Provider] = []
    grants: list[Grant] = []
    machines: list[Machine] = []
    session_idle_minutes: float = Field(20.0, gt=0, le=24 * 60)
    session_hours: float = Field(10.0, gt=0, le=24)
    lock_after: int = Field(5, ge=1)  # failed logins
    lock_minutes: float = Field(15.0, gt=0)
    fresh_login_minutes: float = Field(10.0, gt=0)  # how long ago a login may be for what cannot be undone

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [one.name for one in self.providers]
        if len(set(names)) < len(names):
            raise ValueError("every provider needs a name of its own")
        national = {one.name for one in self.providers if NATIONAL_LOGIN in one.issuer}
        of_all = (one for one in self.grants if national and one.provider in {"", *national})
        if any({one.claim, *one.also} <= PROFESSION_CLAIMS for one in of_all):
            raise ValueError("Pro Santé Connect knows every professional of the country, and a grant names a profession alone: name "
                             "in 'also' what only yours have, such as SubjectRefPro.exercices.activities.numeroFinessSite, or grant "
                             "by SubjectNameID, their national identifiers")
        unknown = {one.provider for one in self.grants} - {"", *names}
        if unknown:
            raise ValueError(f"a grant names a provider that is none of [[access.providers]]: {', '.join(names) or 'there are none'}")
        return self


class ReviewRules(Part):
    """What the page shows."""

    layers: Literal["hidden", "shown"] = "hidden"  # heat maps and contours: only when asked for, or at once
    viewer_url: str = ""  # of the site's full viewer; {study} stands for the StudyInstanceUID
    second_reader: list[str] = []  # models whose verdicts need two readers
    departments: dict[str, Department] = {}  # calling AE title, InstitutionalDepartmentName or service provider → department

    @field_validator("viewer_url")
    @classmethod
    def _is_viewer(cls, url: str) -> str:
        if url and not (url.startswith(("https://", "http://")) and "{study}" in url):
            raise ValueError("must be an address that holds {study}, such as https://viewer.example.org/viewer?StudyInstanceUIDs={study}")
        return url


class Retention(Part):
    """How many days things are kept after they came; 0: until somebody prunes."""

    images_days: float = Field(0.0, ge=0)
    risks_days: float = Field(0.0, ge=0)
    audit_days: float = Field(0.0, ge=0)


class AuditRules(Part):
    """Where lines of the audit are sent besides being kept."""

    syslog: str = Field("", pattern=r"^((udp|tcp|tls)://[A-Za-z0-9.:\[\]-]+:[0-9]{1,5})?$")
    tls_ca: Path | None = None
    source_id: str = Field("", max_length=64)  # how this installation is called there; empty: device.station
