"""Coded values of a document: what codes.toml says, and what is read of a report for it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cda.xml import Element, element
from service.reporting.validated import ValidatedReport

CODES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("codes.toml").read_text(encoding="utf-8"))
SYSTEMS: dict[str, str] = CODES["systems"]
LOINC = "http://loinc.org"
CCAM = f"urn:oid:{SYSTEMS['ccam']}"


@dataclass(frozen=True)
class Examination:
    """What was done, as codes: LOINC (code, display), or None where neither the images nor our table name it; CCAM likewise."""

    loinc: tuple[str, str] | None
    ccam: tuple[str, str] | None
    modality: tuple[str, str] | None
    region: tuple[str, str] | None
    site: tuple[str, str] | None


def coded(name: str, system: str, code: tuple[str, str] | None, *children: Element) -> Element:
    """Make an element of a code of one of our systems; a code that is not known is said to be unknown."""
    if code is None:
        return element(name, *children, nullFlavor="UNK")
    return element(name, *children, code=code[0], displayName=code[1], codeSystem=SYSTEMS[system],
                   codeSystemName=CODES["names"].get(system))


def examination_of(report: ValidatedReport) -> Examination:
    """Read what was done off a report."""
    by_system = {one.system: (one.code, one.display or one.code) for one in reversed(report.procedures)}
    body_part, modality = report.body_part.upper(), report.modality.upper()
    place = CODES["regions"].get(body_part, {})
    fallback = CODES["procedures"].get(f"{modality} {body_part}")
    name = CODES["modalities"].get(modality)
    return Examination(
        by_system.get(LOINC) or (tuple(fallback) if fallback else None), by_system.get(CCAM), (modality, name) if name else None,
        tuple(place["region"]) if place else None, tuple(place["site"]) if place else None,
    )


def code_of_examination(name: str, what: Examination) -> Element:
    """Make the code of what was done, with modality and region as translations (documentationOf/serviceEvent/code)."""
    translations = [coded("translation", "ccam", what.ccam)] if what.ccam else []
    qualifier = coded("name", "dicom", ("121139", "Modalité d'imagerie"))
    translations.append(coded("translation", "dicom", what.modality, element("qualifier", qualifier)))
    if what.region:
        qualifier = coded("name", "loinc", ("39111-0", "localisation anatomique"))
        translations.append(coded("translation", "snomed", what.region, element("qualifier", qualifier)))
    return coded(name, "loinc", what.loinc, *translations)
