"""SOURCES: the kind of an archive → the class that lists its cases and opens them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from models.errors import UnusableInput
from training.archive.cases import Found, Json, Opened
from training.archive.plan import Plan
from training.archive.scored import Names

# By name, for a worker that reads files need not import what speaks to servers, or the data sets of recipes.
SOURCES = {
    "folder": ("training.archive.folder", "Folder"),
    "dicomweb": ("training.archive.dicomweb", "DicomWeb"),
    "fhir": ("training.archive.fhir_server", "FhirServer"),
    "data": ("training.archive.data_sets", "DataSet"),
}


class Source(Protocol):
    """Where cases come from. ``left_out`` counts what is no case of this archive, by reason."""

    left_out: Counter[str]

    def find(self, told: Callable[[int], None]) -> Iterator[Found]:
        """Yield every case once; ``told`` hears how much was looked at."""

    def open(self, where: Json) -> Opened:
        """Read one case again, in whatever process. Raises UnusableInput, or ArchiveAway when a server does not answer."""

    def close(self) -> None:
        """Let go of connections and files."""


def source_of(plan: Plan, names: Names) -> Source:
    """Return the source of a plan. Raises UnusableInput when it is not there."""
    module, name = SOURCES[plan.kind]
    source: Source = getattr(import_module(module), name)(plan, names)
    return source


def kind_of_archive(where: str, kind: str = "") -> str:
    """Return the kind of an archive by how it is written. Raises UnusableInput when it cannot be told."""
    if kind:
        if kind in SOURCES:
            return kind
        raise UnusableInput(f"--kind must be one of {', '.join(SOURCES)}, found {kind!r}.", code="no_such_archive")
    if where.startswith("data:"):
        return "data"
    if where.startswith(("https://", "http://")):
        path = urlsplit(where).path.rstrip("/").lower()
        if path.endswith(("dicom-web", "dicomweb", "rs", "wado", "dcmweb")):
            return "dicomweb"
        if "fhir" in path:
            return "fhir"
        raise UnusableInput("The address of an archive must end in /dicom-web or hold /fhir, found neither. "
                            "Say what it is with --kind dicomweb or --kind fhir.", code="no_such_archive")
    if Path(where).exists():
        return "folder"
    raise UnusableInput("An archive must be a folder, a zip, https://…/dicom-web, https://…/fhir or data:NAME, found none of "
                        "these there. Check --archive.", code="no_such_archive")
