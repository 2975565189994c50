"""ImagingStudy: the study a result is about, with its accession number and the series of what was made of it.

https://hl7.org/fhir/R4/imagingstudy.html. UIDs are urn:oid: in the system urn:dicom:uid. Names and descriptions stay in the PACS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset

from models.dicom_pixels import text
from service.dicom.inherit import offset_of
from service.dicom.source import first
from service.dicom.told import Told, Written
from service.fhir.datatypes import DICOM_UID, TERMINOLOGY, Json, coding, concept, id_of, instant, made, narrative, paragraph
from service.identity import Environment
from service.persons import person_of_dataset
from service.words import say

DCM = "http://dicom.nema.org/resources/ontology/DCM"
URI = "urn:ietf:rfc:3986"
_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})")
_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_MODALITY = re.compile(r"[A-Z]{2,8}")
_TIME = re.compile(r"(\d{2})(\d{2})(\d{2})?")


def write_study(told: Told, written: Sequence[Written], subject: Json) -> Json:
    """Write the study; its first identifier is StudyInstanceUID, so that a server that has it keeps its own."""
    source, language = first(told), told.device.language
    study = made(
        "ImagingStudy", id_of("ImagingStudy", text(source, "StudyInstanceUID")), language,
        text=narrative(language, paragraph(say(language, "The images of this result, and what was made of them."))),
        identifier=_identifiers(source),
        status="available",
        subject=subject,
        series=[*_received(told), *_made_here(written)],
    )
    when = studied_at(told)
    if when:
        study["started"] = when
    modalities = sorted({one for item in told.sources if _MODALITY.fullmatch(one := text(item, "Modality").upper())})
    if modalities:
        study["modality"] = [coding(DCM, one) for one in modalities]
    return study


def study_reference(told: Told) -> Json:
    """Return a logical reference to the study."""
    return {"type": "ImagingStudy", "identifier": _uid_identifier(text(first(told), "StudyInstanceUID"))}


def subject_of(told: Told, patient: str, accept: Environment) -> Json:
    """Return whose images they are: the reference that is given, else the identifier the images carry, without a name."""
    if patient:
        return {"reference": patient}
    person = person_of_dataset(first(told))
    ins = person.ins(accept)
    if ins is not None:
        return {"type": "Patient", "identifier": {"use": "official", "system": f"urn:oid:{ins.oid}", "value": ins.matricule}}
    local = next((one for one in person.identities if one.kind == "local"), None)
    if local is None:
        return {"type": "Patient", "display": say(told.device.language, "The images name nobody.")}
    named: Json = {"value": local.matricule}
    if _UID.fullmatch(local.oid):
        named["system"] = f"urn:oid:{local.oid}"
    elif local.authority:
        named["assigner"] = {"display": local.authority}
    kind = concept(coding(f"{TERMINOLOGY}/v2-0203", "PI", "Patient internal identifier"))
    return {"type": "Patient", "identifier": {"type": kind, **named}}


def studied_at(told: Told) -> str:
    """Return when the study was made, as a FHIR dateTime: with its time only where a time zone is stated or set."""
    source = first(told)
    day, time = _DAY.fullmatch(text(source, "StudyDate")), _TIME.match(text(source, "StudyTime"))
    if day is None:
        return ""
    offset = offset_of(source)
    zone = timezone(offset) if offset is not None else told.device.zone
    try:
        if time is None or zone is None:
            return datetime(int(day[1]), int(day[2]), int(day[3]), tzinfo=timezone(timedelta())).date().isoformat()
        return instant(datetime(int(day[1]), int(day[2]), int(day[3]), int(time[1]), int(time[2]), int(time[3] or 0), tzinfo=zone))
    except ValueError:
        return ""


def order_of(told: Told) -> Json:
    """Return a logical reference to the order, by its accession number; {} when the images state none."""
    accession = _accession(first(told))
    return {"type": "ServiceRequest", "identifier": accession} if accession else {}


def _identifiers(source: Dataset) -> list[Json]:
    accession = _accession(source)
    return [_uid_identifier(text(source, "StudyInstanceUID")), *([accession] if accession else [])]


def _accession(source: Dataset) -> Json:
    accession = text(source, "AccessionNumber")
    if not accession:
        return {}
    issuers = source.get("IssuerOfAccessionNumberSequence") or []
    issuer = issuers[0] if len(issuers) else Dataset()
    oid, name = text(issuer, "UniversalEntityID"), text(issuer, "LocalNamespaceEntityID")
    named: Json = {"type": concept(coding(f"{TERMINOLOGY}/v2-0203", "ACSN", "Accession ID")), "value": accession}
    if _UID.fullmatch(oid):
        named["system"] = f"urn:oid:{oid}"
    elif name:
        named["assigner"] = {"display": name}
    return named


def _uid_identifier(uid: str) -> Json:
    return {"system": DICOM_UID, "value": f"urn:oid:{uid}"}


def _received(told: Told) -> list[Json]:
    series: dict[str, Json] = {}
    for source in told.sources:
        uid = text(source, "SeriesInstanceUID")
        one = series.setdefault(uid, {"uid": uid, "modality": coding(DCM, _modality(text(source, "Modality"))), "instance": []})
        one["instance"].append({
            "uid": text(source, "SOPInstanceUID"), "sopClass": coding(URI, f"urn:oid:{text(source, 'SOPClassUID')}"),
        })
    return [{**one, "numberOfInstances": len(one["instance"])} for one in series.values()]


def _made_here(written: Sequence[Written]) -> list[Json]:
    series: dict[str, Json] = {}
    for one in written:
        modality = coding(DCM, _modality(one.modality))
        told = series.setdefault(one.series_uid, {"uid": one.series_uid, "modality": modality, "instance": []})
        told["instance"].append({"uid": one.sop_uid, "sopClass": coding(URI, f"urn:oid:{one.sop_class_uid}"), "title": one.kind})
    return [{**one, "numberOfInstances": len(one["instance"])} for one in series.values()]


def _modality(stated: str) -> str:
    return stated.upper() if _MODALITY.fullmatch(stated.upper()) else "OT"
