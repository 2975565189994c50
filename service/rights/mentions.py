"""Mentions: whether something that waits to be sent, or that somebody typed, is about a person."""

from __future__ import annotations

import base64
import binascii
import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from service.persons import person_of_pid
from service.persons_keys import UNQUALIFIED, keys_of_dicom, keys_of_fhir, keys_typed
from service.rights.person import Person
from service.site import Site
from service.store.entries import folded
from service.store.store import Store

LONGEST_WORD = 6  # an identifier as long as that is looked for as it stands, also in documents
_ARCHIVE = "UEsDB"  # how a zip archive begins in base64
_PID = re.compile(r"PID\|[^\r\n]*")


class Mentions:
    """Looks for one person. ``files``: SHA-256 of files that are about them."""

    def __init__(self, store: Store, site: Site, person: Person, files: set[str]) -> None:
        self._store, self._site, self._person, self._files = store, site, person, files
        self._keys = set(person.keys)
        self._needles = [*person.studies, *person.subjects, *(one for one in person.texts if len(one) >= LONGEST_WORD)]
        self._references: dict[str, bool] = {}

    def is_in(self, value: Any) -> bool:
        """Tell whether JSON holds the person: by a reference, an identifier with who gave it, a study, or a document about them."""
        if isinstance(value, Mapping):
            return self._is_named(value) or any(self.is_in(one) for one in value.values())
        if isinstance(value, list):
            return any(self.is_in(one) for one in value)
        return isinstance(value, str) and self._is_in_text(value)

    def is_in_dicom(self, attributes: Mapping[str, Any]) -> bool:
        """Tell whether attributes in DICOM JSON are the person's: by an identifier and who gave it."""
        return bool(self._keys & set(keys_of_dicom(self._store, self._site, attributes)))

    def is_said(self, words: str) -> bool:
        """Tell whether words that somebody typed hold an identifier of theirs, or all words of their name."""
        said = set(folded(words).split())
        return any(one in words for one in self._needles) or any(
            folded(one) in said for one in self._person.texts) or any(set(name) <= said for name in self._person.names)

    def _is_named(self, table: Mapping[str, Any]) -> bool:
        reference, value, system = table.get("reference"), table.get("value"), table.get("system")
        if isinstance(reference, str) and self._refers(reference):
            return True
        if table.get("resourceType") == "Patient" and self._keys & set(
            keys_of_fhir(self._store, self._site, table, f"Patient/{table['id']}" if isinstance(table.get("id"), str) else "")):
            return True
        if not (isinstance(value, str) and isinstance(system, str)):
            return False
        return self._is_of(value, system)

    def _refers(self, reference: str) -> bool:
        if reference not in self._references:
            self._references[reference] = bool(self._keys & set(keys_of_fhir(self._store, self._site, None, reference)))
        return self._references[reference]

    def _is_in_text(self, text: str) -> bool:
        if text in self._files or any(needle in text for needle in self._needles if "/" not in needle):
            return True
        if text.startswith("MSH"):
            return any(self._is_of_pid(segment[0]) for segment in _PID.finditer(text))
        return text.startswith(_ARCHIVE) and self._is_in_archive(text)

    def _is_of_pid(self, segment: str) -> bool:
        return any(
            self._is_of(one.matricule, one.oid or one.issuer) for one in person_of_pid(segment).identities)

    def _is_of(self, value: str, issuer: str) -> bool:
        """Tell whether an identifier is the person's; a national one may stand there unchecked, under a key apart."""
        return any(self._keys & set(keys_typed(self._store, self._site, value, one)) for one in (issuer, f"{UNQUALIFIED}{issuer}"))

    def _is_in_archive(self, encoded: str) -> bool:
        try:
            with zipfile.ZipFile(io.BytesIO(base64.b64decode(encoded))) as archive:
                texts = [archive.read(name).decode("utf-8", "replace") for name in archive.namelist()]
        except (binascii.Error, zipfile.BadZipFile, ValueError):
            return False
        return any(needle in one for one in texts for needle in self._needles)
