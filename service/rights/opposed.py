"""Whether a person is opposed to being scored, asked of an image, of a record and of a reference, before anything is scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset

from service.persons_keys import keys_of_dicom, keys_of_fhir
from service.site import Site
from service.store import rights
from service.store.store import Store

REASON = "opposition"
MESSAGE = "This is not assessed: an opposition stands."
ADVICE = "Go on without the score. Who answers for the protection of data knows more."
Json = Mapping[str, Any]


def image_opposed(store: Store, site: Site, header: Dataset, study_uid: str) -> bool:
    """Tell whether a study must not be scored: its patient is opposed, or it was opposed itself."""
    return rights.opposes(store, persons=keys_of_dicom(store, site, header), study_uid=study_uid, purpose="scoring")


def record_opposed(store: Store, site: Site, record: Any) -> bool:
    """Tell whether a record must not be scored: one of its Patients, or whom it is about by reference, is opposed."""
    if rights.nobody_opposes(store):
        return False
    keys: set[str] = set()
    known: set[str] = set()  # a record of a stay says of hundreds of resources that they are about the same person
    for patient, subject in _people(record):
        if patient is not None or subject not in known:
            keys.update(keys_of_fhir(store, site, patient, subject))
        known.add(subject)
    return bool(keys) and rights.opposes(store, persons=keys, purpose="scoring")


def subject_opposed(store: Store, site: Site, subject: str) -> bool:
    """Tell whether whom a reference such as Patient/12 names must not be scored."""
    return rights.opposes(store, persons=keys_of_fhir(store, site, None, subject), purpose="scoring")


def _people(value: Any) -> Iterator[tuple[Json | None, str]]:
    """Yield the Patients of a Bundle, or of prefetched resources, and the references its resources have as subject."""
    if isinstance(value, Mapping):
        if value.get("resourceType") == "Patient":
            name = value.get("id")
            yield value, f"Patient/{name}" if isinstance(name, str) else ""
            return
        about = value.get("subject")
        if isinstance(about, Mapping) and isinstance(about.get("reference"), str):
            yield None, about["reference"]
        for inner in (value.get("entry"), value.get("resource"), *(one for one in value.values() if _is_resource(one))):
            if inner is not None:
                yield from _people(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _people(inner)


def _is_resource(value: Any) -> bool:
    return isinstance(value, Mapping) and "resourceType" in value
