"""Persons as others state them: from a FHIR Patient, a DICOM data set and an HL7 v2 PID segment; and a FR Core Patient out.

What cannot be read is not known: nothing here raises for a malformed value, whatever its sender meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Literal

from pydicom.dataset import Dataset

from models.dicom_pixels import text
from service.identity import INS, Environment, Identity, Person, Traits, ins_identity, local_identity

FR_CORE = "https://hl7.fr/ig/fhir/core"
INS_PROFILE = f"{FR_CORE}/StructureDefinition/fr-core-patient-ins"
RELIABILITY = f"{FR_CORE}/StructureDefinition/fr-core-identity-reliability"
# Status of an identity, HL7 table 0445 in its French version, under the names it has had
STATUS_SYSTEM = f"{FR_CORE}/CodeSystem/fr-core-cs-v2-0445"
STATUS_SYSTEMS = frozenset((
    STATUS_SYSTEM, "https://interop-sante.fr/fhir/CodeSystem/fr-core-cs-v2-0445", "http://interopsante.org/CodeSystem/fr-v2-0445",
    "http://interopsante.org/fhir/CodeSystem/fr-v2-0445", "urn:oid:2.16.840.1.113883.12.445",
))
TYPE_SYSTEM = f"{FR_CORE}/CodeSystem/fr-core-cs-v2-0203"
BIRTH_GIVEN = f"{FR_CORE}/StructureDefinition/fr-core-patient-birth-list-given-name"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
INSEE = f"{FR_CORE}/StructureDefinition/fr-core-address-insee-code"
COMMUNES = "https://mos.esante.gouv.fr/NOS/TRE_R13-CommuneOM/FHIR/TRE-R13-CommuneOM"
PI_SYSTEM = "http://terminology.hl7.org/CodeSystem/v2-0203"
_SEXES: dict[str, Literal["M", "F", "O"]] = {"male": "M", "female": "F", "other": "O", "M": "M", "F": "F", "O": "O"}
_GENDERS = {"M": "male", "F": "female", "O": "other"}
_COMMUNE = re.compile(r"[0-9][0-9AB][0-9]{3}")
Json = Mapping[str, Any]


def person_of_patient(patient: Json) -> Person:
    """Read a FHIR R4 Patient, by FR Core where it follows it."""
    return Person(traits_of_patient(patient), identities_of_patient(patient), replaced=_is_replaced(patient))


def person_of_dataset(dataset: Dataset) -> Person:
    """Read the Patient module of a DICOM object (PS3.3 C.7.1.1)."""
    return Person(traits_of_dataset(dataset), identities_of_dataset(dataset))


def person_of_pid(segment: str, *, encoding: str = "^~\\&") -> Person:
    """Read a PID segment of HL7 v2. ``encoding`` is MSH-2: component, repetition, escape and subcomponent characters."""
    pid = _Pid(segment, encoding)
    return Person(_traits_of_pid(pid), _identities_of_pid(pid))


def identities_of_patient(patient: Json) -> tuple[Identity, ...]:
    """Return the identifiers of a Patient in their order; those of use "old" are left out: they may belong to another by now.

    An INS is qualified when the identity is (VALI), the identifier is official and no other one is (FR Core, fr-core-2).
    """
    status = _status_of(patient)
    stated = [one for one in _objects(patient.get("identifier")) if one.get("use") != "old"]
    officials = sum(one.get("use") == "official" for one in stated)
    found = []
    for one in stated:
        value, system = _word(one.get("value")), _word(one.get("system"))
        oid = system[8:] if system.lower().startswith("urn:oid:") else system
        if oid in INS:
            known = status if one.get("use") == "official" or status is None else "PROV"
            made = ins_identity(value, oid, status=known)
            several = made.qualified and officials > 1
            found.append(Identity(made.matricule, oid, qualified=False, reason="several_official") if several else made)
        elif value:
            found.append(local_identity(value, oid))
    return tuple(found)


def identities_of_dataset(dataset: Dataset) -> tuple[Identity, ...]:
    """Return PatientID and the items of OtherPatientIDsSequence.

    DICOM has no place for the status of an identity. An INS that stands there with its OID counts as qualified, for none
    other may be sent (référentiel INS); one that is named without its OID does not.
    """
    found = []
    for item in (dataset, *_items(dataset, "OtherPatientIDsSequence")):
        value, issuer = text(item, "PatientID"), text(item, "IssuerOfPatientID")
        oid = next((text(one, "UniversalEntityID") for one in _items(item, "IssuerOfPatientIDQualifiersSequence")
                    if text(one, "UniversalEntityIDType").upper() in ("ISO", "")), "")
        if not value:
            continue
        found.append(ins_identity(value, oid, status="VALI") if oid in INS else local_identity(value, oid or issuer))
    return tuple(found)


def traits_of_patient(patient: Json) -> Traits:
    """Return what a Patient states of the person."""
    names = _objects(patient.get("name"))
    official = next((one for one in names if one.get("use") == "official"), next((one for one in names if not one.get("use")), {}))
    usual = next((one for one in names if one.get("use") == "usual"), {})
    given = [_word(one) for one in _list(official.get("given"))]
    listed = next((_word(one.get("valueString")) for one in _extensions(official, BIRTH_GIVEN)), "")
    place = next((one.get("valueAddress") for one in _extensions(patient, BIRTH_PLACE)), None)
    code = ""
    if isinstance(place, Mapping):
        code = next((_word(_object(one.get("valueCoding")).get("code")) for one in _extensions(place, INSEE)), "")
    return Traits(
        birth_name=_word(official.get("family")), given=given[0] if given else "", given_names=listed or " ".join(given),
        usual_name=_word(usual.get("family")), birth_date=_date(_word(patient.get("birthDate"))),
        sex=_SEXES.get(_word(patient.get("gender")), ""), birth_place=_commune(code),
    )


def traits_of_dataset(dataset: Dataset) -> Traits:
    """Return what the Patient module states; PatientBirthName is the name at birth, PatientName whichever the sender uses."""
    birth, usual = _pn(dataset, "PatientBirthName"), _pn(dataset, "PatientName")
    given = birth[1] or usual[1]
    return Traits(
        birth_name=birth[0] or usual[0], given=given.partition(" ")[0], given_names=given, usual_name=usual[0] if birth[0] else "",
        birth_date=_date(text(dataset, "PatientBirthDate")), sex=_SEXES.get(text(dataset, "PatientSex").upper(), ""),
    )


def write_patient(person: Person, *, accept: Environment = "production") -> dict[str, Any]:
    """Write a FR Core Patient. Only an INS that may be sent is written, and the identity is VALI with it, PROV without.

    The profile fr-core-patient-ins is claimed when all it asks for is known.
    """
    traits, ins = person.traits, person.ins(accept)
    identifiers: list[dict[str, Any]] = []
    if ins:
        coding = {"system": TYPE_SYSTEM, "code": ins.kind}
        identifiers.append({
            "use": "official", "type": {"coding": [coding]}, "system": f"urn:oid:{ins.oid}", "value": ins.matricule,
        })
    for one in person.identities:
        if one.kind == "local" and one.authority:
            system = f"urn:oid:{one.oid}" if one.oid else one.issuer if ":" in one.issuer else ""
            named = {"system": system} if system else {"assigner": {"display": one.issuer}}
            identifiers.append({
                "use": "usual", "type": {"coding": [{"system": PI_SYSTEM, "code": "PI"}]}, **named, "value": one.matricule,
            })
    status = {"url": "identityStatus", "valueCoding": {"system": STATUS_SYSTEM, "code": "VALI" if ins else "PROV"}}
    extensions: list[dict[str, Any]] = [{"url": RELIABILITY, "extension": [status]}]
    if traits.birth_place:
        insee = {"url": INSEE, "valueCoding": {"system": COMMUNES, "code": traits.birth_place}}
        extensions.append({"url": BIRTH_PLACE, "valueAddress": {"extension": [insee]}})
    patient: dict[str, Any] = {"resourceType": "Patient", "extension": extensions}
    if ins and all((traits.birth_name, traits.given, traits.sex, len(traits.birth_date) == 8, traits.birth_place)):
        patient = {"resourceType": "Patient", "meta": {"profile": [INS_PROFILE]}, "extension": extensions}
    if identifiers:
        patient["identifier"] = identifiers
    if traits.birth_name:
        patient["name"] = _names(traits)
    patient["gender"] = _GENDERS.get(traits.sex, "unknown")
    if traits.birth_date:
        patient["birthDate"] = "-".join(filter(None, (traits.birth_date[:4], traits.birth_date[4:6], traits.birth_date[6:])))
    return patient


def _names(traits: Traits) -> list[dict[str, Any]]:
    official: dict[str, Any] = {"use": "official", "family": traits.birth_name}
    if traits.given:
        official["given"] = [traits.given]
        official["extension"] = [{"url": BIRTH_GIVEN, "valueString": traits.given_names or traits.given}]
    usual = {"use": "usual", "family": traits.usual_name, **({"given": [traits.given]} if traits.given else {})}
    return [official, usual] if traits.usual_name and traits.usual_name != traits.birth_name else [official]


# FHIR ---------------------------------------------------------------------------------------------------------------


def _status_of(patient: Json) -> str | None:
    """Return the status of the identity; of several the one that is not VALI, None when none is stated."""
    found = []
    for reliability in _extensions(patient, RELIABILITY):
        for one in _extensions(reliability, "identityStatus"):
            coding = _object(one.get("valueCoding"))
            known = _word(coding.get("system")) in STATUS_SYSTEMS
            found.append(_word(coding.get("code")) if known else "unknown")
    return next((one for one in found if one != "VALI"), found[0] if found else None)


def _is_replaced(patient: Json) -> bool:
    return any(one.get("type") == "replaced-by" for one in _objects(patient.get("link")))


def _extensions(element: Json, url: str) -> Iterator[Json]:
    return (one for one in _objects(element.get("extension")) if one.get("url") == url)


def _objects(value: Any) -> list[Json]:
    return [one for one in _list(value) if isinstance(one, Mapping)]


def _object(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


# DICOM --------------------------------------------------------------------------------------------------------------


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    try:
        return list(dataset.get(keyword) or [])
    except Exception:  # lazily converted by pydicom: any class
        return []


def _pn(dataset: Dataset, keyword: str) -> tuple[str, str]:
    """Return family and given names of the alphabetic group of a person name (PS3.5, 6.2.1)."""
    parts = [*text(dataset, keyword).partition("=")[0].split("^"), "", ""]
    return parts[0].strip(), " ".join(filter(None, (parts[1].strip(), parts[2].strip())))


# HL7 v2 -------------------------------------------------------------------------------------------------------------


class _Pid:
    """A PID segment: repetitions of a field, components of a repetition, unescaped."""

    def __init__(self, segment: str, encoding: str) -> None:
        self._component, self._repetition, self._escape, self._sub = list((encoding + "^~\\&"[len(encoding):])[:4])
        field = segment[3:4] or "|"
        self._fields = segment.strip("\r\n").split(field)
        self._escapes = {"F": field, "S": self._component, "T": self._sub, "R": self._repetition, "E": self._escape}

    def repetitions(self, place: int) -> list[list[list[str]]]:
        """Return repetitions → components → subcomponents of PID-``place``."""
        if place >= len(self._fields) or not self._fields[place]:
            return []
        return [
            [[self._plain(sub) for sub in component.split(self._sub)] for component in one.split(self._component)]
            for one in self._fields[place].split(self._repetition)
        ]

    def _plain(self, value: str) -> str:
        mark = re.escape(self._escape)
        plain = re.sub(f"{mark}([FSTRE]){mark}", lambda found: self._escapes[found[1]], value).strip()
        return "" if plain == '""' else plain  # HL7's null: deleted at the sender


def _at(components: list[list[str]], place: int, sub: int = 1) -> str:
    """Return a component by its number in the standard, which counts from 1."""
    return components[place - 1][sub - 1] if len(components) >= place and len(components[place - 1]) >= sub else ""


def _identities_of_pid(pid: _Pid) -> tuple[Identity, ...]:
    statuses = [_at(one, 1) for one in pid.repetitions(32)]
    status = next((one for one in statuses if one != "VALI"), statuses[0] if statuses else None)
    found = []
    for one in pid.repetitions(3):
        value, name, oid = _at(one, 1), _at(one, 4, 1), _at(one, 4, 2)
        if not value:
            continue
        found.append(ins_identity(value, oid, status=status) if oid in INS else local_identity(value, oid or name))
    return tuple(found)


def _traits_of_pid(pid: _Pid) -> Traits:
    names = pid.repetitions(5)
    legal = next((one for one in names if _at(one, 7) == "L"), names[0] if names else [])
    display = next((one for one in names if _at(one, 7) == "D"), [])
    places = [_at(one, 9) for one in pid.repetitions(11) if _at(one, 7) == "BDL"]
    born, sexes = pid.repetitions(7), pid.repetitions(8)
    return Traits(
        birth_name=_at(legal, 1), given=_at(legal, 2), given_names=_at(legal, 3) or _at(legal, 2), usual_name=_at(display, 1),
        birth_date=_date(_at(born[0], 1)[:8]) if born else "", sex=_SEXES.get(_at(sexes[0], 1).upper(), "") if sexes else "",
        birth_place=_commune(places[0] if places else ""),
    )


def _date(written: str) -> str:
    """Return YYYY, YYYYMM or YYYYMMDD; "" when it is no date."""
    digits = written.replace("-", "")
    if not re.fullmatch(r"[0-9]{4}|[0-9]{6}|[0-9]{8}", digits) or not 1800 <= int(digits[:4]) <= 2200:
        return ""
    try:
        date(int(digits[:4]), int(digits[4:6] or 1), int(digits[6:8] or 1))
    except ValueError:
        return ""
    return digits


def _commune(code: str) -> str:
    return code.upper() if _COMMUNE.fullmatch(code.upper()) else ""
