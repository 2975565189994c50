"""Factories of the store: an open one in a temporary folder, arrivals and written objects without a DICOM file behind them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from service.settings import Settings, read_settings
from service.store.store import Store

ROOT_UID = "1.2.826.0.1.3680043.8.498.2026"
MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88.34"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class MadeArrival:
    """What the store needs to know of a received object; ``data`` is any bytes."""

    data: bytes
    sha256: str
    sop_uid: str
    series_uid: str
    study_uid: str
    kind: Literal["slices", "image"]
    case_key: str
    sop_class_uid: str = MR_STORAGE
    transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN
    modality: str = "MR"
    patient_id: str = "CANARI-0001"
    patient_name: str = "CANARI^TEST"
    study_date: str = "20260301"
    accession_number: str = "A1"
    study_attributes: dict[str, Any] = field(default_factory=dict)
    series_attributes: dict[str, Any] = field(default_factory=dict)
    instance_attributes: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    calling_ae: str = "MODALITY"
    called_ae: str = "DIAPHANE"
    association: str = ""


@dataclass(frozen=True)
class MadeObject:
    """What the store needs to know of an object made here."""

    data: bytes
    sop_uid: str
    series_uid: str
    study_uid: str
    kind: str = "sr"
    sop_class_uid: str = SR_STORAGE
    transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN
    series_attributes: dict[str, Any] = field(default_factory=lambda: {"00080060": {"vr": "CS", "Value": ["SR"]}})
    instance_attributes: dict[str, Any] = field(default_factory=dict)


def store_for(folder: Path, **settings: Any) -> Store:
    """Open a store on SQLite in ``folder``, or with ``database=`` where a URL says; ``settings`` as in Settings."""
    return Store.open(settings_for(folder, **settings))


def settings_for(folder: Path, **settings: Any) -> Settings:
    """Return settings whose store is in ``folder``, whatever the environment says."""
    return read_settings({}, store=folder / "store", **settings)


def slice_of(series: int, number: int, *, study: int = 1, content: str = "", **changes: Any) -> MadeArrival:
    """Make the slice ``number`` of a series; another ``content`` gives other bytes under the same UIDs."""
    data = f"slice {study}.{series}.{number} {content}".encode()
    key = f"{ROOT_UID}.{study}.{series}"
    made = MadeArrival(
        data=data, sha256=hashlib.sha256(data).hexdigest(), sop_uid=f"{key}.{number}", series_uid=key,
        study_uid=f"{ROOT_UID}.{study}", kind="slices", case_key=key, **_attributes(study, series, number),
    )
    return replace(made, **changes)


def image_of(study: int, number: int = 1, *, content: str = "", **changes: Any) -> MadeArrival:
    """Make a radiograph, alone in its case."""
    made = slice_of(9, number, study=study, content=f"image {content}")
    return replace(made, kind="image", case_key=made.sop_uid, modality="DX", **changes)


def object_of(study: int, number: int, *, content: str = "", **changes: Any) -> MadeObject:
    """Make one result object in a series of its own in that study."""
    series = f"{ROOT_UID}.{study}.77"
    made = MadeObject(
        data=f"object {study}.{number} {content}".encode(), sop_uid=f"{series}.{number}", series_uid=series,
        study_uid=f"{ROOT_UID}.{study}",
        instance_attributes={"00080018": {"vr": "UI", "Value": [f"{series}.{number}"]}},
    )
    return replace(made, **changes)


def _attributes(study: int, series: int, number: int) -> dict[str, dict[str, Any]]:
    return {
        "study_attributes": {"0020000D": {"vr": "UI", "Value": [f"{ROOT_UID}.{study}"]}},
        "series_attributes": {"0020000E": {"vr": "UI", "Value": [f"{ROOT_UID}.{study}.{series}"]}},
        "instance_attributes": {
            "00080018": {"vr": "UI", "Value": [f"{ROOT_UID}.{study}.{series}.{number}"]},
            "00200013": {"vr": "IS", "Value": [number]},
        },
    }
