"""What every object that a verdict makes says of itself: names, dates, equipment, and which professional stands for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from highdicom.sr import ObserverContext, PersonObserverIdentifyingAttributes
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from models.dicom_pixels import text
from models.model import SOFTWARE
from service.assessment import RPPS_OID, Assessment, Reader
from service.dicom.codes import short
from service.dicom.finish import MANUFACTURER
from service.dicom.inherit import local_time
from service.site import Device

RPPS_SCHEME = "99RPPS"
UNNAMED = "-"  # an organisation must be named (PS3.3 table C.17-2), and none may have been told


def moment_of(assessment: Assessment, device: Device, source: Dataset) -> datetime:
    """Return when the verdict was given, in the zone that the object's times are in."""
    return local_time(datetime.fromtimestamp(assessment.made_at, UTC).astimezone(device.zone), source)


def stamp(dataset: Dataset, device: Device, moment: datetime, *, series_uid: str, sop_uid: str, number: int, series: int,
          description: str) -> None:
    """Give the object its own names and dates: a new document, whatever it was made from."""
    date, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = sop_uid, series_uid
    dataset.SeriesNumber, dataset.InstanceNumber = series, number
    dataset.SeriesDescription = description
    for stem in ("InstanceCreation", "Content", "Series"):
        setattr(dataset, f"{stem}Date", date)
        setattr(dataset, f"{stem}Time", time)
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = short(text(dataset, "ManufacturerModelName") or MANUFACTURER)
    dataset.SoftwareVersions = [SOFTWARE]
    dataset.DeviceSerialNumber = dataset.StationName = device.station
    if device.institution:
        dataset.InstitutionName = device.institution
    if "ContributingEquipmentSequence" in dataset:  # highdicom names itself there, with the time of day
        del dataset.ContributingEquipmentSequence


def verify(dataset: Dataset, assessment: Assessment, device: Device, moment: datetime) -> None:
    """Say who verified the document (SR Document General module, PS3.3 C.17.2): complete, verified and final."""
    dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag = "COMPLETE", "VERIFIED", "FINAL"
    dataset.VerifyingObserverSequence = [_verifier(reader, device, moment) for reader in assessment.readers]
    if any(reader.rpps for reader in assessment.readers):
        schemes = [one for one in dataset.get("CodingSchemeIdentificationSequence", ())
                   if text(one, "CodingSchemeDesignator") != RPPS_SCHEME]
        scheme = Dataset()
        scheme.CodingSchemeDesignator, scheme.CodingSchemeUID, scheme.CodingSchemeName = RPPS_SCHEME, RPPS_OID, "RPPS"
        dataset.CodingSchemeIdentificationSequence = [*schemes, scheme]


def person_name(reader: Reader) -> str:
    """Return a person's name as DICOM writes it, in two parts; separators inside a part would change which part it is."""
    family, given = (part.replace("^", " ").replace("=", " ").replace("\\", " ").strip() for part in (reader.family, reader.given))
    return f"{family or (UNNAMED if not given else '')}^{given}"[:64]


def observers(readers: Sequence[Reader], device: Device) -> list[ObserverContext]:
    """Return the people who looked (PS3.16, TID 1003)."""
    return [
        ObserverContext(codes.DCM.Person, PersonObserverIdentifyingAttributes(
            name=person_name(one), organization_name=_organisation(one, device)))
        for one in readers
    ]


def _verifier(reader: Reader, device: Device, moment: datetime) -> Dataset:
    item = Dataset()
    item.VerifyingObserverName = person_name(reader)
    item.VerifyingOrganization = _organisation(reader, device)
    item.VerificationDateTime = moment.strftime("%Y%m%d%H%M%S%z")
    item.VerifyingObserverIdentificationCodeSequence = []
    if reader.rpps:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = reader.rpps[:16], RPPS_SCHEME
        code.CodeMeaning = short(reader.name)
        item.VerifyingObserverIdentificationCodeSequence = [code]
    return item


def _organisation(reader: Reader, device: Device) -> str:
    return short(reader.structure or device.institution) or UNNAMED
