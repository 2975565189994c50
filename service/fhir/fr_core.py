"""FR Core 2.2.0 on a Patient: INS identifiers with their control key, identity reliability, strict traits.

https://hl7.fr/ig/fhir/core: fr-core-patient-ins with its invariants fr-core-1 to fr-core-3. A Patient that claims
neither that profile nor a validated identity (VALI) is judged for its INS keys alone, and then with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.fhir.outcome import Fault, error, warning
from service.identity import INS, ins_identity

_BASE = "https://hl7.fr/ig/fhir/core/StructureDefinition/"
_PROFILE = f"{_BASE}fr-core-patient-ins"
_RELIABILITY = f"{_BASE}fr-core-identity-reliability"
_BIRTH_NAMES = f"{_BASE}fr-core-patient-birth-list-given-name"
_INSEE = f"{_BASE}fr-core-address-insee-code"
_BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
_UNKNOWN_PLACE = "99999"
INS_SYSTEMS: Mapping[str, str] = {f"urn:oid:{oid}": kind for oid, kind in INS.items() if kind != "INS-C"}
Json = Mapping[str, Any]


def judge_patient(patient: Json, path: str) -> Iterator[Fault]:
    """Judge INS keys always; traits and invariants where the profile or a validated identity is claimed."""
    profiles = _list(_table(patient.get("meta")).get("profile"))
    claims = any(isinstance(one, str) and one.partition("|")[0] == _PROFILE for one in profiles)
    validated = "VALI" in _reliability(patient)
    for i, identifier in enumerate(_table(one) for one in _list(patient.get("identifier"))):
        if str(identifier.get("system")) in INS_SYSTEMS and not _key_ok(identifier.get("value")):
            told = error if claims or validated else warning
            yield told("business-rule", f"{path}.identifier[{i}].value",
                       "An INS must be 13 characters and the key 97 - (number mod 97).")
    if validated:
        yield from _validated(patient, path)
    if claims:
        yield from _traits(patient, path)


def _key_ok(matricule: object) -> bool:
    oid = "1.2.250.1.213.1.4.10"  # any: what is looked at is the form and the key
    return isinstance(matricule, str) and ins_identity(matricule, oid, status="VALI").qualified


def _validated(patient: Json, path: str) -> Iterator[Fault]:
    """Judge fr-core-1 to fr-core-3: what a validated identity needs."""
    identifiers = [_table(one) for one in _list(patient.get("identifier"))]
    official = [one for one in identifiers if one.get("use") == "official"]
    if not any(_is_ins(one) for one in official):
        yield error("invariant", f"{path}.identifier", "fr-core-1: a validated identity needs an official INS.")
    if len(official) != 1:
        yield error("invariant", f"{path}.identifier", "fr-core-2: a validated identity has one official identifier.")
    if _UNKNOWN_PLACE in _birth_places(patient):
        yield warning("invariant", f"{path}.extension", "fr-core-3: a validated identity needs a known place of birth.")


def _traits(patient: Json, path: str) -> Iterator[Fault]:
    """Judge the strict traits: official name with one first birth name, all birth names, sex, date, place."""
    names = [(i, one) for i, one in enumerate(_table(each) for each in _list(patient.get("name")))
             if one.get("use") == "official"]
    if len(names) != 1:
        yield error("structure", f"{path}.name", "fr-core-patient-ins: one name must have use official.")
    for i, name in names:
        where = f"{path}.name[{i}]"
        if "family" not in name:
            yield error("required", f"{where}.family", "fr-core-patient-ins: the official name needs the birth name.")
        if len(_list(name.get("given"))) != 1:
            yield error("structure", f"{where}.given", "fr-core-patient-ins: given must be the first birth name alone.")
        if not any(_table(one).get("url") == _BIRTH_NAMES for one in _list(name.get("extension"))):
            yield error("required", f"{where}.extension", "fr-core-patient-ins: the list of birth names is missing.")
    for element in ("gender", "birthDate", "identifier"):
        if element not in patient:
            yield error("required", f"{path}.{element}", f"fr-core-patient-ins: {element} must be there.")
    if not _birth_places(patient):
        yield error("required", f"{path}.extension",
                    "fr-core-patient-ins: patient-birthPlace with its INSEE code must be there.")


def _is_ins(identifier: Json) -> bool:
    word = INS_SYSTEMS.get(str(identifier.get("system")))
    if word != "INS-NIR":
        return word is not None
    codings = _list(_table(identifier.get("type")).get("coding"))
    return any(_table(coding).get("code") == word for coding in codings)


def _reliability(patient: Json) -> set[str]:
    """Return the codes of identityStatus."""
    told = [one for one in _list(patient.get("extension")) if _table(one).get("url") == _RELIABILITY]
    parts = [_table(part) for one in told for part in _list(_table(one).get("extension"))]
    return {str(_table(part.get("valueCoding")).get("code")) for part in parts if part.get("url") == "identityStatus"}


def _birth_places(patient: Json) -> list[str]:
    """Return the INSEE codes of the place of birth."""
    told = [_table(one) for one in _list(patient.get("extension")) if _table(one).get("url") == _BIRTH_PLACE]
    parts = [_table(part) for one in told for part in _list(_table(one.get("valueAddress")).get("extension"))]
    codes = [_table(part.get("valueCoding")).get("code") for part in parts if part.get("url") == _INSEE]
    return [code for code in codes if isinstance(code, str)]


def _table(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
