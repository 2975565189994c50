"""The site: who may send, where results go and by which rules, in one TOML file named by the setting ``site``.

    [device]        what our objects say of where they were made      [[peers]]  who may send by DIMSE
    [[targets]]     where results are delivered                       [[rules]]  which images a model is given
    [fhir_server]   the hospital's FHIR server                        [[cds_clients]]  which EHR may ask for cards
    [identity] [organisation] [mllp] [xdm]      whose identities count, who we are, where validated reports go
    [access] [review] [retention] [audit]       the clinician's page: service/site_review.py
    [commissioning] [watch]                     which release may speak here, how it is watched: service/site_trust.py
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
import zoneinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from service.outbound.address import BadAddress, read_address
from service.rules import NUMBERS, Condition, Rule, Span
from service.settings import SettingsError
from service.site_review import Access, AuditRules, Grant, Machine, Provider, Retention, ReviewRules
from service.site_trust import CommissioningRules, WatchRules

# PS3.5 table 6.2-1: 16 characters, no backslash, no blank at either end
AETitle = Annotated[str, Field(pattern=r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Mailbox = Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,190}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Device(_Part):
    """How results name the installation (General Equipment module, PS3.3 C.7.5.1)."""

    institution: str = Field("", max_length=64)
    station: str = Field("DIAPHANE", max_length=16)
    language: Literal["en", "fr"] = "en"
    time_zone: str = ""  # for dates and times of results, such as Europe/Paris; empty: this machine's
    uid_root: str = Field("2.25", pattern=r"^[0-2](\.(0|[1-9][0-9]*))+$", max_length=24)


    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name and name not in zoneinfo.available_timezones():
            raise ValueError("time_zone must be a name of the IANA database, such as Europe/Paris")
        return name

    @property
    def zone(self) -> zoneinfo.ZoneInfo | None:
        """The zone of dates and times in results; None: this machine's."""
        return zoneinfo.ZoneInfo(self.time_zone) if self.time_zone else None


class Peer(_Part):
    """An application entity that may open an association, from anywhere or from the named addresses only."""

    ae_title: AETitle
    addresses: list[str] = []  # addresses or networks, 10.1.2.3 or 10.1.0.0/16; empty: any

    @field_validator("addresses")
    @classmethod
    def _are_networks(cls, addresses: list[str]) -> list[str]:
        for place, address in enumerate(addresses, start=1):
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError:
                raise ValueError(f"number {place} must be an address or a network, such as 10.1.2.3 or 10.1.0.0/16") from None
        return addresses


class Target(_Part):
    """Where results go: an application entity (dimse), a DICOMweb server (stow), or the [fhir_server] (fhir)."""

    name: Name
    kind: Literal["dimse", "stow", "fhir"]
    host: str = ""  # dimse
    port: int = Field(104, ge=1, le=65535)
    ae_title: AETitle = "PACS"
    calling_ae_title: AETitle = "DIAPHANE"
    tls: bool = False
    tls_ca: Path | None = None  # dimse and stow: whom to trust; none: the system's
    tls_cert: Path | None = None  # our certificate, when the target asks for one
    tls_key: Path | None = None
    url: str = ""  # stow: the root of the DICOMweb server; /studies is added
    token: SecretStr = SecretStr("")  # stow: bearer token
    timeout_s: float = Field(30.0, gt=0)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.kind == "dimse" and not self.host:
            raise ValueError("a dimse target needs host")
        if self.kind == "stow" and not self.url.startswith(("http://", "https://")):
            raise ValueError("a stow target needs url, starting with http:// or https://")
        return self


class FhirServer(_Part):
    """The hospital's FHIR server: read for records, and written to when ``push``. Nothing else is ever asked for by address."""

    url: str = Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$")
    auth: Literal["none", "token", "backend"] = "none"
    token: SecretStr = SecretStr("")  # auth = "token": a bearer token
    client_id: str = ""  # auth = "backend": SMART backend services, a signed client assertion
    key: Path | None = None  # our private key, PEM; RSA 2048 or more signs RS384, P-384 signs ES384
    key_id: str = ""
    token_url: str = ""
    scope: str = "system/*.read"
    tls_ca: Path | None = None
    timeout_s: float = Field(10.0, gt=0)
    push: bool = False

    @field_validator("url", "token_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        try:
            if url:
                read_address(url)
        except BadAddress:
            raise ValueError("must be an address such as https://fhir.example.org/r4, with a port that exists") from None
        return url

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.auth == "token" and not self.token.get_secret_value():
            raise ValueError('auth = "token" needs token')
        if self.auth == "backend" and not (self.client_id and self.key and self.token_url):
            raise ValueError('auth = "backend" needs client_id, key and token_url')
        return self


class CdsClient(_Part):
    """An EHR that may call our CDS services: its tokens name ``iss``, and are checked with keys from a file or an address."""

    iss: str
    jwks: Path | None = None  # a JWKS file
    jku: str = ""  # or the exact address of one
    tenants: list[str] = []  # empty: any, or none

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if not self.jwks and not self.jku.startswith("https://"):
            raise ValueError("a CDS client needs jwks, a file, or jku, an address that starts with https://")
        return self


class IdentityRules(_Part):
    """Which national identities are taken: those of real people, or those of tests. Never both."""

    accept: Literal["production", "test"] = "test"
    issuers: dict[str, str] = {}  # what the images call an issuer of local identifiers → the system of the same in the record


class Organisation(_Part):
    """The hospital, as validated reports name it."""

    name: str = ""
    finess: str = Field("", pattern=r"^([0-9AB]{9})?$")  # FINESS of the legal entity
    address: str = ""
    telecom: str = ""
    sector: Literal["SA01", "SA02", "SA03", "SA04", "SA07", "SA08"] = "SA01"  # TRE_R02: 01 public, 04 private, 08 practice
    oid: str = Field("", pattern=r"^([0-2](\.(0|[1-9][0-9]*))+)?$")  # root of the ids it gives, its IPP among them


class Mllp(_Part):
    """Where validated reports go by HL7 v2. Off unless it names a host."""

    host: str = ""
    port: int = Field(2575, ge=1, le=65535)
    message: Literal["ORU_R01", "MDM_T02"] = "MDM_T02"
    receiving_application: str = Field("PFI", max_length=180)
    receiving_facility: str = Field("", max_length=180)
    dmp: bool = False  # ask the hospital's platform to put them into the national record (DMP): needs a qualified INS
    patient: bool = False  # and to mail them to the patient's own secure mailbox
    recipients: list[Mailbox] = []  # and to these, of health professionals (MSSanté)
    timeout_s: float = Field(30.0, gt=0)
    tls: bool = False
    tls_ca: Path | None = None


class Xdm(_Part):
    """Where validated reports are put as IHE_XDM.zip, for the hospital's secure mail. Off unless it names a folder."""

    folder: Path | None = None


class Site(_Part):
    """The whole file. Empty: any peer on loopback, nothing delivered, every model takes what its manifest accepts."""

    device: Device = Field(default_factory=lambda: Device.model_validate({}))
    peers: list[Peer] = []
    targets: list[Target] = []
    rules: list[Rule] = []  # read from the top: service/rules.py
    fhir_server: FhirServer | None = None
    cds_clients: list[CdsClient] = []
    identity: IdentityRules = Field(default_factory=lambda: IdentityRules.model_validate({}))
    organisation: Organisation = Field(default_factory=lambda: Organisation.model_validate({}))
    mllp: Mllp = Field(default_factory=lambda: Mllp.model_validate({}))
    xdm: Xdm = Field(default_factory=lambda: Xdm.model_validate({}))
    access: Access = Field(default_factory=lambda: Access.model_validate({}))
    review: ReviewRules = Field(default_factory=lambda: ReviewRules.model_validate({}))
    retention: Retention = Field(default_factory=lambda: Retention.model_validate({}))
    audit: AuditRules = Field(default_factory=lambda: AuditRules.model_validate({}))
    commissioning: CommissioningRules = CommissioningRules(required=False)  # a file asks for it: ``read_site``
    watch: WatchRules = Field(default_factory=lambda: WatchRules.model_validate({}))

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        for kind, names in (("target", [one.name for one in self.targets]), ("rule", [one.name for one in self.rules if one.name])):
            if len(set(names)) < len(names):
                raise ValueError(f"every {kind} needs a name of its own")
        return self

    @model_validator(mode="after")
    def _has_its_server(self) -> Self:
        if any(target.kind == "fhir" for target in self.targets) and self.fhir_server is None:
            raise ValueError("a fhir target needs [fhir_server]: its url is where results go")
        return self

    @model_validator(mode="after")
    def _targets_exist(self) -> Self:
        known = [target.name for target in self.targets]
        for place, rule in enumerate(self.rules, start=1):
            for name in rule.targets or ():
                if name not in known:
                    raise ValueError(f"{_called(rule, place)} names target {name!r}, which is none of [[targets]]: "
                                     f"{', '.join(known) or 'there are none'}")
        return self


def read_site(path: Path | None) -> Site:
    """Read the site file; an empty Site without one. Raises SettingsError naming the place, never its value."""
    if path is None:
        return Site()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        return Site.model_validate({"commissioning": {}, **told})
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line \d+, column \d+|at end of document", str(error))
        raise SettingsError(f"site must be TOML (https://toml.io); it breaks {place[0] if place else 'somewhere'}.") from error
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(f"site must name a readable TOML file: {why}. Correct --site or DIAPHANE_SITE.") from error
    except ValidationError as error:
        raise SettingsError(f"site: {_said(error, told)}.") from error


def _said(error: ValidationError, told: dict[str, Any]) -> str:
    """Say what is wrong first: the place in the words of the file, the rule, and for an unknown key what there may be."""
    errors = error.errors(include_input=False, include_url=False)
    first = errors[0]
    if first["type"] == "missing":  # a key beside it that does not exist is the same one, misspelt
        first = next((one for one in errors if one["type"] == "extra_forbidden" and one["loc"][:-1] == first["loc"][:-1]), first)
    place = list(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _keys_at(place[:-1])
        near = get_close_matches(str(place[-1]), known, n=1)
        message = "there is no such key" + (f"; did you mean {near[0]}? " if near else "; ") + f"There may be {', '.join(known)}"
    where = ""
    if len(place) > 1 and place[0] in ("rules", "targets", "peers") and isinstance(place[1], int):
        part = told[str(place[0])][place[1]]
        name = part.get("name") if isinstance(part, dict) else None
        where = f"{str(place[0])[:-1]} {place[1] + 1}" + (f" {name!r}" if isinstance(name, str) else "") + ": "
        place = place[2:]
    inside = ".".join(str(one + 1) if isinstance(one, int) else one for one in place)
    return f"{where}{inside}: {message}" if inside else f"{where}{message}"


def _called(rule: Rule, place: int) -> str:
    return f"rule {place} {rule.name!r}" if rule.name else f"rule {place}"


def _keys_at(place: list[str | int]) -> list[str]:
    """Return the keys there may be at a place of the file."""
    parts: dict[str | int, type[BaseModel]] = {"device": Device, "peers": Peer, "targets": Target, "rules": Rule,
                                                "fhir_server": FhirServer, "cds_clients": CdsClient, "identity": IdentityRules,
                                                "organisation": Organisation, "mllp": Mllp, "xdm": Xdm, "access": Access,
                                                "review": ReviewRules, "retention": Retention, "audit": AuditRules,
                                                "commissioning": CommissioningRules, "watch": WatchRules}
    if place[:1] == ["access"] and len(place) > 1:
        parts["access"] = _OF_ACCESS[str(place[1])]
    part: type[BaseModel] = parts.get(place[0], Site) if place else Site
    if "when" in place:
        part = Span if place[-1] in NUMBERS else Condition
    return [field.alias or name for name, field in part.model_fields.items()]


_OF_ACCESS: dict[str, type[BaseModel]] = {"providers": Provider, "grants": Grant, "machines": Machine}
