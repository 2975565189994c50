"""The patient of the record, asked of the hospital's FHIR server by the identifiers the images carry."""

from __future__ import annotations

from typing import Any, Literal

from service.dicom.steps import is_uid
from service.fhir.client import FhirClient, FhirServerError
from service.identity import Person
from service.site import Site

Found = tuple[dict[str, Any] | None, Literal["found", "none", "several", "no_server", "no_answer"]]


def record_patient(site: Site, person: Person) -> Found:
    """Return the one Patient who has an identifier of the images' patient, and a word for how it went.

    The desk holds what is found against the images by its own rule: a Patient returned here is a candidate, not a match.
    """
    if site.fhir_server is None:
        return None, "no_server"
    found: dict[str, dict[str, Any]] = {}
    try:
        with FhirClient(site.fhir_server) as client:
            for token in _tokens(site, person):
                found |= {str(one.get("id", "")): one for one in client.search("Patient", identifier=token)}
    except FhirServerError:
        return None, "no_answer"
    if len(found) == 1:
        return next(iter(found.values())), "found"
    return None, "several" if found else "none"


def _tokens(site: Site, person: Person) -> list[str]:
    """Write what FHIR searches identifiers by: system|value, national identities first."""
    tokens = []
    national = person.ins(site.identity.accept)
    if national is not None:
        tokens.append(f"urn:oid:{national.oid}|{national.matricule}")
    for one in person.identities:
        system = site.identity.issuers.get(one.authority, one.authority) if one.kind == "local" else ""
        if ":" in system:
            tokens.append(f"{system}|{one.matricule}")
        elif is_uid(system):
            tokens.append(f"urn:oid:{system}|{one.matricule}")
    return tokens
