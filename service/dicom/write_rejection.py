"""A rejection note (IHE RAD-66, Imaging Object Change Management): what was sent is withdrawn, in a document that says why.

A receiver that knows such notes hides the objects they name; one that does not keeps a note beside them that a person reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from models.dicom_pixels import text
from service.assessment import Assessment
from service.dicom.codes import LONGEST_TEXT, say, short
from service.dicom.finish import MANUFACTURER, SERIES_NUMBERS, encode
from service.dicom.inherit import character_set, inherit, requests
from service.dicom.stamp import moment_of, observers, stamp
from service.dicom.told import Written
from service.dicom.uids import uid_of
from service.site import Device

TITLES = {  # PS3.16, CID 7011
    "quality": codes.DCM.RejectedForQualityReasons,
    "safety": codes.DCM.RejectedForPatientSafetyReasons,
}


def write_rejection(
    withdrawn: Sequence[Dataset], assessment: Assessment, device: Device, *, title: str, reason: str, model: str, number: int,
) -> Written:
    """Write the note on objects of one study, given as headers with their file meta information.

    ``title`` is a key of TITLES, ``reason`` a sentence in the site's language, ``number`` the verdict's.
    """
    source = withdrawn[0]
    moment = moment_of(assessment, device, source)
    key = uid_of(device.uid_root, text(source, "SOPInstanceUID"), "rejection")
    description = f"{reason}. {assessment.comment}" if assessment.comment else reason
    note = KeyObjectSelectionDocument(
        evidence=withdrawn,
        content=KeyObjectSelection(
            TITLES[title], withdrawn, observer_person_context=observers([assessment.reader], device)[0],
            description=description[:1024],
        ),
        series_instance_uid=uid_of(device.uid_root, key, "series"),
        series_number=SERIES_NUMBERS["rejection"],
        sop_instance_uid=uid_of(device.uid_root, key, "instance", number),
        instance_number=number,
        manufacturer=MANUFACTURER,
        requested_procedures=list(source.get("ReferencedRequestSequence") or requests(source)) or None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    heading = say("series", "rejection", language=device.language)
    note.ManufacturerModelName = short(model)
    stamp(note, device, moment, series_uid=str(note.SeriesInstanceUID), sop_uid=str(note.SOPInstanceUID), number=number,
          series=SERIES_NUMBERS["rejection"], description=short(heading + model, most=LONGEST_TEXT))
    inherit(note, source)
    note.SpecificCharacterSet = character_set(note, source)
    return encode(note, "rejection")
