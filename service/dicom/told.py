"""What a writer is told of a result, and what it gives back: one DICOM object, whole, with what a query may ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydicom.dataset import Dataset

from models.manifest import Manifest
from models.prediction import Prediction, Refusal
from models.volume import Volume
from service.site import Device

Kind = Literal["capture", "map", "seg", "sr", "sr-roi", "report", "verified", "verified-roi", "rejection"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Decline:
    """Why one model did not take the case, or why nothing could; ``model`` is a release's id, or "" for none."""

    model: str
    title: str
    reason: str  # a word a program can act on: models.prediction.Reason, or a code of UnusableInput
    message: str  # rule and what was found; never who it is about
    advice: str


@dataclass(frozen=True)
class NotAssessed:
    """No model scored: none fits (unfit), the images cannot be read (unusable), scoring went wrong (failed), or the patient is
    opposed to it (opposed), or what fits is not live here (not_live): of the last two nothing is written or sent."""

    status: Literal["unfit", "unusable", "failed", "opposed", "not_live"]
    reasons: tuple[Decline, ...]


@dataclass(frozen=True)
class Told:
    """Everything a writer may look at: the same Told gives the same bytes.

    ``sources`` are the headers of the revision's instances without their pixels, file_meta present, in the order of
    ``volume.sop_uids`` when there is a volume. ``made_at`` is when the revision was sealed, with its time zone: objects
    carry it in that zone, or in the zone the sources state (TimezoneOffsetFromUTC).
    """

    sources: tuple[Dataset, ...]
    volume: Volume | None  # None when nothing could be read
    manifest: Manifest | None  # None when no model was involved
    result: Prediction | Refusal | NotAssessed
    revision: int
    made_at: datetime
    device: Device

    @property
    def model(self) -> str:
        """The release's id, or "none"."""
        return "none" if isinstance(self.result, NotAssessed) else f"{self.result.identity.model}-{self.result.identity.version}"


@dataclass(frozen=True)
class Written:
    """One DICOM object: ``data`` is the file (PS3.10); the dictionaries are DICOM JSON (PS3.18, annex F) by level."""

    kind: Kind
    sop_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    transfer_syntax: str
    modality: str
    data: bytes
    patient_id: str
    patient_name: str
    study_date: str
    accession_number: str
    study_attributes: Json
    series_attributes: Json
    instance_attributes: Json
    part: str = ""  # which of several of one kind: the finding a map explains
