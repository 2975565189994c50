"""Which reference a release is watched against here: what commissioning saw, else its validation split, else its first results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from models.manifest import sha256_of
from models.model import Model
from models.reference import Reference, read_reference, shipped_reference
from models.reference_made import reference_of
from service.monitor.observed import seen_of
from service.store import observations, watching
from service.store.store import Store

FIRST = 200  # results here that become the reference of a release that brings none
FILE = "reference.json"  # in a release folder
Source = Literal["commissioning", "release", "first_results", "none"]


@dataclass(frozen=True)
class Referred:
    """The reference and where it is from. ``sha256`` tells days counted by it from days counted by another."""

    reference: Reference | None
    source: Source

    @property
    def sha256(self) -> str:
        """Hash of the reference, "" of none."""
        return "" if self.reference is None else hashlib.sha256(self.reference.model_dump_json().encode()).hexdigest()


def referred(store: Store, model: Model) -> Referred:
    """Return the reference of a release. That of the first results is written down when there are enough, and stays."""
    report = watching.signed_report(store, model.id, sha256_of(model.folder / "manifest.json"))
    if report and report.get("reference"):
        return Referred(Reference.model_validate(report["reference"]), "commissioning")
    path = model.folder / FILE
    brought = read_reference(path) if FILE in model.manifest.files and path.is_file() else shipped_reference(model.id)
    if brought is not None:
        return Referred(brought, "release")
    return _of_first(store, model)


def _of_first(store: Store, model: Model) -> Referred:
    known = watching.states(store).get(model.id)
    if known is not None and known.reference:
        return Referred(Reference.model_validate(known.reference), "first_results")
    rows = [seen_of(row) for row in observations.first(store, model.id, FIRST)]
    if len(rows) < FIRST:
        return Referred(None, "none")
    made = reference_of([(one.status, one.statistics, one.values) for one in rows], model.manifest, "first results here")
    with store.session() as session:
        watching.put_state(session, model.id, reference=made.model_dump(mode="json"))
    return Referred(made, "first_results")
