"""Keys of persons: what lists, the audit and patients' rights know a person by. A key is an HMAC: it names nobody by itself.

A key is made of an identifier and of who issued it, never of one alone: two hospitals give the same number to two people.
A national identity (INS) counts under its OID when it may be matched on; one that may not has a key apart, and so has an
identifier nobody is named for. Names and dates of birth make no key.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from pydicom.dataset import Dataset

from service.identity import ENVIRONMENTS, INS, Identity, Kind, ins_identity, local_identity
from service.persons import identities_of_dataset, identities_of_patient
from service.site import Site
from service.store.store import Store
from service.words import Language, say

BARE = ""  # the issuer of an identifier for which nobody is named
UNQUALIFIED = "unqualified "  # before the OID of an INS: the identity that came with it was not checked, and has a key apart
_TAGS = ("00100020", "00100021", "00100024", "00101002")  # PatientID, its issuer and the issuer's qualifiers, OtherPatientIDs
_SEPARATOR = "|"  # as in a token search of FHIR: system|value
_KINDS: dict[Kind, str] = {kind: oid for oid, kind in INS.items()}
Json = Mapping[str, Any]


def keys_of_dicom(store: Store, site: Site, attributes: Dataset | Json) -> tuple[str, ...]:
    """Return the keys of the patient of a DICOM data set, or of attributes in DICOM JSON; the first is the primary one."""
    dataset = attributes if isinstance(attributes, Dataset) else _dataset_of(attributes)
    return _keys(store, site, identities_of_dataset(dataset), site.identity.issuers)


def keys_of_fhir(store: Store, site: Site, patient: Json | None, subject: str) -> tuple[str, ...]:
    """Return the keys of a FHIR Patient and of the reference that names it, such as Patient/12; the first is the primary one.

    A relative reference is one of the site's FHIR server: it is the last key, and the only one where no Patient is known.
    """
    identities = list(identities_of_patient(patient)) if patient else []
    return (*_keys(store, site, identities, {}), *((_of_reference(store, site, subject),) if subject.strip() else ()))


def keys_typed(store: Store, site: Site, identifier: str, issuer: str | None = None) -> tuple[str, ...]:
    """Return the keys that an identifier typed by a person stands for, all of them of one person; () for nothing.

    ``issuer`` is who gave it: an OID, a URI or a name; without, it may stand before the identifier as in FHIR
    (``urn:oid:1.2.3|12345``). An identifier alone is an INS when it has the form and the key of one, a reference such as
    Patient/12, else one for which nobody is named.
    """
    typed = identifier.strip()
    if issuer is None and _SEPARATOR in typed:
        issuer, _, typed = (part.strip() for part in typed.rpartition(_SEPARATOR))
    if not typed:
        return ()
    if issuer is None:
        national = [ins_identity(typed, _KINDS[kind], status="VALI") for kind in ENVIRONMENTS[site.identity.accept]]
        if usable := [one for one in national if one.qualified]:  # a NIA becomes the NIR of the same digits
            return _keys(store, site, usable, {})
        if re.fullmatch(r"(https?://\S+/)?Patient/[A-Za-z0-9.-]{1,64}", typed):
            return (_of_reference(store, site, typed),)
        issuer = BARE
    if issuer.startswith(UNQUALIFIED):
        stated = _plain(issuer.removeprefix(UNQUALIFIED))
        return _keys(store, site, [ins_identity(typed, stated, status=None)], {}) if stated in INS else ()
    authority = _plain(issuer)
    if authority in INS:
        return _keys(store, site, [ins_identity(typed, authority, status="VALI")], {})
    return _keys(store, site, [local_identity(typed, authority)], site.identity.issuers)


def known_issuers(site: Site) -> tuple[str, ...]:
    """List who gives identifiers at this site, as far as the site file says: systems of records, OID of the hospital, INS
    that was checked and INS that was not (``UNQUALIFIED``).
    """
    local = [*site.identity.issuers.values(), *((f"urn:oid:{site.organisation.oid}",) if site.organisation.oid else ())]
    national = [f"urn:oid:{_KINDS[kind]}" for kind in ENVIRONMENTS[site.identity.accept]]
    return tuple(dict.fromkeys([*local, *national, *(f"{UNQUALIFIED}{one}" for one in national)]))


def called(issuer: str, language: Language) -> str:
    """Return an issuer as a reader knows it: a national identity by its kind too, and whether it is one that nobody checked.

    >>> called("urn:oid:1.2.250.1.213.1.4.8", "en")
    'INS-NIR (urn:oid:1.2.250.1.213.1.4.8)'
    """
    plain = issuer.removeprefix(UNQUALIFIED)
    kind = INS.get(plain.removeprefix("urn:oid:"))
    words = f"{kind} ({plain})" if kind else plain
    return say(language, "{issuer}, identity not qualified", issuer=words) if plain != issuer else words


def _keys(store: Store, site: Site, identities: Iterable[Identity], issuers: Mapping[str, str]) -> tuple[str, ...]:
    """Return keys in the order of what they are worth: INS, identifiers of a hospital, identifiers of nobody's."""
    told: list[tuple[int, str]] = []
    for one in identities:
        value = unicodedata.normalize("NFC", one.matricule)
        if one.kind != "local":
            usable = one.qualified and one.kind in ENVIRONMENTS[site.identity.accept]
            told.append((0, _told("ins", one.oid, value)) if usable else (3, _told("stated", one.oid, value)))
        elif value:
            authority = _plain(issuers.get(one.authority, one.authority))
            told.append((1 if authority else 2, _told("local", authority, value)))
    return tuple(dict.fromkeys(store.pseudonym(text) for _, text in sorted(told, key=lambda pair: pair[0])))


def _of_reference(store: Store, site: Site, subject: str) -> str:
    """Return the key of a reference. One that is relative belongs to the site's own server, however it is reached."""
    plain = subject.strip()
    root = site.fhir_server.url.rstrip("/") + "/" if site.fhir_server else ""
    if root and plain.startswith(root):
        plain = plain[len(root):]
    return store.pseudonym(_told("reference", "", plain.partition("/_history/")[0]))


def _told(kind: str, authority: str, value: str) -> str:
    """Write what a key is made of so that no other three words read the same."""
    return "\x1f".join(("person", kind, authority, value))


def _plain(authority: str) -> str:
    plain = unicodedata.normalize("NFC", authority.strip())
    return plain[8:] if plain.lower().startswith("urn:oid:") else plain


def _dataset_of(attributes: Json) -> Dataset:
    """Read the few attributes that identify; what is malformed is not known."""
    dataset = Dataset()
    for tag in _TAGS:
        with suppress(Exception):  # pydicom raises any class for JSON that is not DICOM's
            dataset.update(Dataset.from_json({tag: attributes[tag]} if tag in attributes else {}))
    return dataset
