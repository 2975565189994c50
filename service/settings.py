"""Settings: everything that can be set, with its default and meaning, read once from the environment and one TOML file.

Order, the later wins: default, TOML file named by DIAPHANE_SETTINGS, environment DIAPHANE_<NAME>, command line.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

PREFIX = "DIAPHANE_"
FILE = "DIAPHANE_SETTINGS"
MIB = 1024 * 1024
LEAST_SECRET = 32


class SettingsError(Exception):
    """A setting is unknown or has a value it cannot have. The message names it and says what it may be."""


class Settings(BaseModel):
    """What the service was told. Frozen: read at the start, never again."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="Address to listen on. Anything but loopback needs api_token.")
    port: int = Field(3000, ge=0, le=65535, description="TCP port; 0 takes a free one and prints it.")
    workers: int = Field(1, ge=1, le=64, description="Processes. One uses every core: scoring releases the GIL.")
    scoring_threads: int = Field(0, ge=0, le=256, description="Cases scored at once in a process; 0: cores / workers.")
    session_threads: int = Field(1, ge=1, le=256, description="Threads inside one graph run. 1: most images a second.")
    provider: Literal["auto", "cpu", "cuda", "tensorrt", "openvino"] = Field("auto", description="What runs the graph.")
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto", description="Number format of the graph; auto takes a faster one only when its gate passed."
    )
    released: Path | None = Field(None, description="Folder of releases; none: models/released of this installation.")
    api_token: SecretStr = Field(SecretStr(""), description="Bearer token asked for on /v1; empty asks for none.")
    allow_anonymous: bool = Field(False, description="Listen beyond loopback without api_token (a proxy asks instead).")
    max_image_body_mib: int = Field(256, ge=1, description="Largest body of POST /v1/images.")
    max_record_body_mib: int = Field(16, ge=1, description="Largest body of POST /v1/records.")
    max_bulk_body_mib: int = Field(512, ge=1, description="Largest NDJSON body of an asynchronous $predict.")
    max_bodies_mib: int = Field(1024, ge=1, description="All bodies being held at once; beyond: 503, try again.")
    max_parts: int = Field(2000, ge=1, le=60_000, description="Parts of a multipart body, or members of a zip.")
    max_unpacked_mib: int = Field(512, ge=1, description="Size of a zip's members once unpacked.")
    max_zip_ratio: int = Field(200, ge=2, description="Unpacked over packed size of a zip above 64 MiB unpacked.")
    max_requests: int = Field(64, ge=1, description="Requests being answered at once in a process; beyond: 429.")
    upload_timeout_s: float = Field(30.0, gt=0, description="Time for a body to arrive; beyond: 408.")
    timeout_s: float = Field(60.0, gt=0, description="Time to answer once the body is here; beyond: 504.")
    drain_s: int = Field(30, ge=1, description="Time running requests get to finish after SIGTERM.")
    store: Path = Field(Path("diaphane-data"), description="Folder of the store: received and made objects, database.")
    database: SecretStr = Field(SecretStr(""), description="SQLAlchemy URL; empty: SQLite in store. "
                                                           "postgresql+psycopg://user:password@host/name")
    objects: str = Field("", description="Where files are kept; empty: store/objects. Or s3://bucket/prefix.")
    objects_endpoint: str = Field("", description="Address of an S3-compatible server that is not Amazon's.")
    site: Path | None = Field(None, description="TOML file: who may send, where results go, routing rules.")
    dicomweb: bool = Field(False, description="Answer /dicom-web too (STOW-RS, QIDO-RS, WADO-RS, UPS-RS); opens the store.")
    ehr: bool = Field(False, description="Answer /fhir and /cds-services too; opens the store.")
    review: bool = Field(False, description="Show the clinician's page, /review, too: everybody logs in. Turns ehr on.")
    secret: SecretStr = Field(SecretStr(""), description="What pseudonyms and the audit are keyed with, 32 characters; none: "
                                                         "the file secret in store. Processes on several machines need the same.")
    public_url: str = Field("", description="Address callers know this service by, such as https://ai.example.org; tokens name it.")
    codes: Path | None = Field(None, description="File that maps this hospital's codes and units to ours.")
    cors_origins: str = Field("", description="Web origins that may call /cds-services from a browser, with blanks between.")
    dicom_host: str = Field("127.0.0.1", description="Address the C-STORE receiver listens on. Beyond loopback: [[peers]].")
    dicom_port: int = Field(11112, ge=0, le=65535, description="Its TCP port; 0 takes a free one and prints it.")
    ae_title: str = Field("DIAPHANE", min_length=1, max_length=16, description="Our application entity title.")
    any_called_ae: bool = Field(False, description="Accept associations that call us by another title.")
    tls_cert: Path | None = Field(None, description="DICOM TLS: our certificate chain, PEM. None: no TLS.")
    tls_key: Path | None = Field(None, description="DICOM TLS: our private key, PEM.")
    tls_ca: Path | None = Field(None, description="DICOM TLS: whom to trust; peers must then show a certificate.")
    max_associations: int = Field(64, ge=1, le=1000, description="DIMSE associations at once.")
    max_instance_mib: int = Field(256, ge=1, description="Largest single object received by DIMSE or STOW-RS.")
    quiet_s: float = Field(20.0, ge=0, description="A series with no new image for so long is complete.")
    release_quiet_s: float = Field(3.0, ge=0, description="The same once its association was released.")
    lease_s: float = Field(60.0, gt=0, description="A worker that is silent for so long has lost its job to another.")
    max_attempts: int = Field(5, ge=1, description="Tries at a job before it is quarantined.")
    delivery_attempts: int = Field(0, ge=0, description="Tries at a delivery before it is quarantined; 0: never give up.")
    decode_timeout_s: float = Field(60.0, gt=0, description="Time to read one series in the decoding process.")
    decode_memory_mib: int = Field(2048, ge=256, description="Memory of the decoding process.")
    report_unfit: bool = Field(True, description="Send a result saying so when no model takes an image.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")

    @field_validator("released", "site", "codes", "tls_cert", "tls_key", "tls_ca", mode="before")
    @classmethod
    def _no_folder(cls, value: Any) -> Any:
        return value or None

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not (is_loopback(self.host) or self.api_token.get_secret_value() or self.allow_anonymous):
            raise ValueError(
                "beyond loopback, callers must be asked for a token: set api_token, or allow_anonymous "
                "when a proxy in front does the asking"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_ehr(cls, values: Any) -> Any:
        """The page shows risks and reports: these rooms come with it."""
        if isinstance(values, dict) and str(values.get("review", "")).lower() in ("true", "1", "yes", "on", "t", "y"):
            return {**values, "ehr": True}
        return values

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < LEAST_SECRET:
            raise ValueError(f"secret must have {LEAST_SECRET} characters or more")
        return value

    @property
    def concurrent_scorings(self) -> int:
        """Cases scored at once in this process."""
        return self.scoring_threads or max(1, len(os.sched_getaffinity(0)) // self.workers)


def read_settings(environ: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """Read the settings; ``given`` are those of the command line, None meaning not given.

    Raises SettingsError naming the setting, never its value.
    """
    values: dict[str, Any] = {}
    if path := environ.get(FILE):
        try:
            values |= tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"{FILE} must name a readable TOML file: {type(error).__name__}.") from error
    for name in Settings.model_fields:
        if (text := environ.get(PREFIX + name.upper())) is not None:
            values[name] = text
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "the settings"
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}.") from error


def to_environ(settings: Settings) -> dict[str, str]:
    """Turn settings into the environment that gives them again, for a child process."""
    shown = {name: getattr(settings, name) for name in Settings.model_fields}
    shown |= {name: value.get_secret_value() for name, value in shown.items() if isinstance(value, SecretStr)}
    return {PREFIX + name.upper(): "" if value is None else str(value) for name, value in shown.items()}


def describe(settings: Settings) -> list[tuple[str, str, str, str]]:
    """List every setting as (environment name, value with secrets masked, default, meaning)."""
    rows = []
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        rows.append((PREFIX + name.upper(), _shown(value), _shown(field.default), field.description or ""))
    return rows


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else "(none)"
    return "(none)" if value is None else str(value)
