"""DICOM TLS, both sides: the BCP 195 RFC 9325 TLS secure transport connection profile (PS3.15, B.12)."""

from __future__ import annotations

import ssl
from pathlib import Path

from service.settings import SettingsError

# TLS 1.2; the suites of TLS 1.3 are all of the profile's kind.
CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
)


def server_context(cert: Path | None, key: Path | None, ca: Path | None) -> ssl.SSLContext:
    """Return what a receiver speaks; with ``ca`` only to peers that show a certificate of it. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    _load(context, cert, key, ca)
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return what a sender speaks: the server's certificate and name are checked. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if ca is None:
        context.load_default_certs()
    _load(context, cert, key, ca)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load(context: ssl.SSLContext, cert: Path | None, key: Path | None, ca: Path | None) -> None:
    try:
        if cert:
            context.load_cert_chain(cert, key, password=_no_password)
        if ca:
            context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"tls_cert, tls_key and tls_ca must name readable PEM files that belong together: "
            f"{getattr(error, 'strerror', None) or type(error).__name__}. Check the three settings and who may read the files."
        ) from error


def _no_password() -> str:
    raise ssl.SSLError("encrypted keys are not taken: nobody is there to type a password")
