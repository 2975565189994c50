"""A ward for the demonstration of the page: people who plainly do not exist, with the samples as if they had come today.

Every family name says that it is made up. Dates are moved so that the newest of each record is a few minutes old.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from service.identity import ins_key

Json = dict[str, Any]
INS_TEST = "1.2.250.1.213.1.4.10"
ZONE = "Europe/Paris"
HOSPITAL = "HOPITAL ESSAI"  # who issued the local numbers
PAEDIATRICS, NEUROLOGY, WARDS = "Urgences pédiatriques", "Neurologie", ("Urgences", "Réanimation", "Diabétologie", "Cardiologie")
EMERGENCY, INTENSIVE, DIABETES, CARDIOLOGY = WARDS
_FAMILIES = ("ESSAI", "EXEMPLE", "FICTIF", "MODELE", "INVENTE", "SPECIMEN", "TESTEUR", "ANONYME", "DEMONSTRATION", "NULLEPART")
_GIVEN = {
    "F": ("Margot", "Eloise", "Apolline", "Hortense", "Leontine", "Philomene", "Octavie", "Ursule", "Clemence", "Zelie", "Blanche"),
    "M": ("Gaspard", "Augustin", "Firmin", "Achille", "Bastien", "Gilbert", "Anatole", "Leopold", "Honore", "Celestin", "Basile"),
}
# sample → minutes ago, department, whose it is (samples of one number are of one person)
STUDIES: tuple[tuple[str, float, str, int], ...] = (
    ("radiograph/normal-1.dcm", 60 * 24 * 41, PAEDIATRICS, 1),  # an earlier examination of the one below
    ("radiograph/bacterial-1.dcm", 34, PAEDIATRICS, 1),
    ("radiograph/normal-2.dcm", 52, PAEDIATRICS, 2),
    ("radiograph/bacterial-2.dcm", 21, PAEDIATRICS, 3),
    ("radiograph/viral-1.dcm", 12, PAEDIATRICS, 4),
    ("mr/crop-1", 47, NEUROLOGY, 5),
    ("mr/crop-2", 18, NEUROLOGY, 6),
    ("refused/wrong_age.dcm", 9, PAEDIATRICS, 7),
    ("refused/wrong_view.dcm", 26, PAEDIATRICS, 8),
    ("refused/clipped.dcm", 39, PAEDIATRICS, 9),
    ("refused/out_of_distribution_turned.dcm", 15, PAEDIATRICS, 10),
    ("refused/wrong_geometry", 31, NEUROLOGY, 11),
)
# sample → the model that is asked, department, hours before its newest value at which it is asked too: a trend
RISKS: tuple[tuple[str, str, str, tuple[float, ...]], ...] = (
    ("stay/high-risk.json", "icu_mortality", INTENSIVE, (40.0, 30.0, 20.0, 10.0, 0.0)),
    ("stay/low-risk.json", "icu_mortality", INTENSIVE, (40.0, 24.0, 0.0)),
    ("readmission_30d/high-risk.json", "readmission_30d", DIABETES, (0.0,)),
    ("readmission_30d/low-risk.json", "readmission_30d", DIABETES, (0.0,)),
    ("readmission_30d/no-diabetes.json", "readmission_30d", DIABETES, (0.0,)),
    ("warfarin_dose/low-dose.json", "warfarin_dose", CARDIOLOGY, (0.0,)),
    ("warfarin_dose/high-dose.json", "warfarin_dose", CARDIOLOGY, (0.0,)),
    ("warfarin_dose/no-weight.json", "warfarin_dose", CARDIOLOGY, (0.0,)),
    *(("ed_triage/high-risk.json", "ed_triage", EMERGENCY, (0.0,)),) * 4,
    *(("ed_triage/low-risk.json", "ed_triage", EMERGENCY, (0.0,)),) * 5,
)
GLUCOSE_MMOL_L = ((8.1, 8.3, 8.0, 7.8, 7.9, 8.2, 8.0, 7.9, 8.1, 8.0, 7.6, 7.1, 6.6, 6.0, 5.4, 4.8, 4.3),  # falling
                  (8.0, 8.2, 8.1, 7.9, 8.0, 8.3, 8.2, 8.0, 7.9, 8.1, 8.0, 7.8, 8.0, 8.2, 8.1, 8.0, 8.1))  # steady
_WITH_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})")
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Arrival:
    """One study as it comes in."""

    sample: str
    uid: str
    department: str
    files: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Asking:
    """One question to a risk model, as of a moment before the record's last one; None: of all of it."""

    sample: str
    model: str
    moment: datetime | None
    record: Json = field(repr=False)


def arrivals(samples: Path, now: datetime) -> Iterator[Arrival]:
    """Dress the samples of studies, the oldest first."""
    births: dict[int, str] = {}
    for sample, minutes, department, person in sorted(STUDIES, key=lambda one: -one[1]):
        paths = sorted((samples / sample).iterdir()) if (samples / sample).is_dir() else [samples / sample]
        datasets = [pydicom.dcmread(path) for path in paths if path.suffix == ".dcm"]
        born = births.setdefault(person, str(datasets[0].PatientBirthDate))
        _dress(datasets, department, person, born, now - timedelta(minutes=minutes))
        yield Arrival(sample, str(datasets[0].StudyInstanceUID), department, tuple(_bytes(one) for one in datasets))


def askings(samples: Path, now: datetime) -> Iterator[Asking]:
    """Dress the samples of records, each as another person's."""
    for place, (sample, model, department, hours) in enumerate(RISKS, start=1):
        bundle = json.loads((samples / sample).read_text(encoding="utf-8"))
        record = renamed(moved(bundle, now - timedelta(minutes=3 + 4 * (place % 7))), place, department)
        if model == "ed_triage":
            _vary(record, random.Random(place))  # noqa: S311  no secret
        newest = max(datetime.fromisoformat(found.group()) for found in _WITH_TIME.finditer(json.dumps(record)))
        for before in hours:
            yield Asking(sample, model, newest - timedelta(hours=before) if before else None, record)


def sensors(now: datetime) -> Iterator[Json]:
    """Return what glucose sensors sent in the last four hours, a Bundle a person."""
    for place, readings in enumerate(GLUCOSE_MMOL_L):
        patient = f"capteur-{place + 1}"
        family, given = _name(30 + place, "F")
        entries: list[Json] = [{"resource": {
            "resourceType": "Patient", "id": patient, "gender": "female", "birthDate": f"{1958 + 9 * place}-03-22",
            "name": [{"use": "official", "family": family, "given": [given]}],
        }}]
        for back, glucose in enumerate(reversed(readings)):
            at = now - timedelta(minutes=1 + 15 * back)
            entries.append({"resource": {
                "resourceType": "Observation", "id": f"cgm-{place}-{back}", "status": "final",
                "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category",
                                          "code": "vital-signs"}]}],
                "code": {"coding": [{"system": "http://loinc.org", "code": "105272-9"}]},
                "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": at.isoformat(timespec="seconds"),
                "valueQuantity": {"value": glucose, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
            }})
        yield {"resourceType": "Bundle", "type": "collection", "entry": entries}


def moved(bundle: Json, newest: datetime) -> Json:
    """Move every time of a Bundle so that the newest is ``newest``. Dates without a time, such as of birth, stay."""
    text = json.dumps(bundle)
    times = [datetime.fromisoformat(found.group()) for found in _WITH_TIME.finditer(text)]
    if not times:
        return bundle
    by = newest - max(times)

    def later(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found.group()) + by).isoformat(timespec="seconds")

    written: Json = json.loads(_WITH_TIME.sub(later, text))
    return written


def renamed(bundle: Json, place: int, department: str) -> Json:
    """Give the person of a Bundle another name, another national identity of the test domain, and ids that are theirs alone."""
    text = json.dumps(bundle)
    for kind in ("Patient", "Encounter"):
        for id_ in {entry["resource"]["id"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind}:
            text = text.replace(f'"{kind}/{id_}"', f'"{kind}/demo-{place}-{id_}"')
    bundle = json.loads(text)
    for resource in (entry["resource"] for entry in bundle["entry"]):
        if resource["resourceType"] in ("Patient", "Encounter"):
            resource["id"] = f"demo-{place}-{resource['id']}"
        if resource["resourceType"] == "Patient":
            sex = "F" if resource.get("gender") == "female" else "M"
            family, given = _name(place + 11, sex)
            resource["name"] = [{"use": "official", "family": family, "given": [given]}]
            for one in resource.get("identifier", []):
                if one.get("system") == f"urn:oid:{INS_TEST}":
                    one["value"] = _other(one["value"], place)
        if resource["resourceType"] == "Encounter":
            resource["serviceProvider"] = {"display": department}
    return bundle


def _dress(datasets: Sequence[Dataset], department: str, person: int, born: str, at: datetime) -> None:
    uids: dict[str, str] = {}
    years = at.year - int(born[:4]) - (at.strftime("%m%d") < born[4:])
    for dataset in datasets:
        sex = "F" if dataset.get("PatientSex", "F") == "F" else "M"
        family, given = _name(person, sex)
        dataset.PatientName = f"{family}^{given}"
        dataset.PatientBirthDate, dataset.PatientAge = born, f"{years:03d}Y"
        dataset.PatientID, dataset.IssuerOfPatientID = f"DEMO-{person:04d}", HOSPITAL
        if "OtherPatientIDsSequence" in dataset:
            del dataset.OtherPatientIDsSequence
        dataset.AccessionNumber = f"DEMO{int(at.timestamp()) % 10**7:07d}{person:02d}"
        dataset.InstitutionName, dataset.InstitutionalDepartmentName = HOSPITAL, department
        for keyword in _UIDS:
            if keyword in dataset:
                setattr(dataset, keyword, uids.setdefault(str(dataset[keyword].value), generate_uid()))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for name in ("Study", "Series", "Acquisition", "Content"):
            if f"{name}Date" in dataset or name == "Study":
                setattr(dataset, f"{name}Date", at.strftime("%Y%m%d"))
                setattr(dataset, f"{name}Time", at.strftime("%H%M%S"))


def _vary(record: Json, chance: random.Random) -> None:
    """Let vital signs differ a little from person to person."""
    for resource in (entry["resource"] for entry in record["entry"]):
        quantity = resource.get("valueQuantity")
        if quantity and isinstance(quantity.get("value"), int | float):
            spread = 0.004 if quantity.get("code") == "Cel" else 0.02 if quantity.get("code") == "%" else 0.09
            moved_to = quantity["value"] * (1 + chance.uniform(-spread, 0 if quantity.get("code") == "%" else spread))
            quantity["value"] = round(moved_to, 1) if isinstance(quantity["value"], float) else round(moved_to)


def _name(place: int, sex: str) -> tuple[str, str]:
    given = _GIVEN[sex]
    return _FAMILIES[place % len(_FAMILIES)], given[(place * 7 + place // 10) % len(given)]


def _other(matricule: str, place: int) -> str:
    """Return a national identity of the same form with another number and its right key."""
    body = matricule[:10] + f"{100 + place:03d}"
    return body + ins_key(body)


def _bytes(dataset: Dataset) -> bytes:
    written = io.BytesIO()
    pydicom.dcmwrite(written, dataset, enforce_file_format=True)
    return written.getvalue()


def now() -> datetime:
    """Return the time of the demonstration's site, without fractions of a second."""
    return datetime.now(ZoneInfo(ZONE)).replace(microsecond=0)
