"""The frame of every report (PS3.16, TID 1500), and the parts its findings share: algorithm, certainty, explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    Measurement,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from models.dicom_pixels import text
from models.explain.picture import WORDS as PICTURE_WORDS
from models.prediction import Finding, Prediction
from service.dicom import codes as words
from service.dicom.finish import (
    MANUFACTURER,
    SERIES_NUMBERS,
    device_uid,
    finish,
    model_name,
    series_uid,
    software,
    sop_uid,
)
from service.dicom.inherit import requests
from service.dicom.source import evidence, first
from service.dicom.told import Told, Written

CONTAINS, CONCEPT_MOD = RelationshipTypeValues.CONTAINS, RelationshipTypeValues.HAS_CONCEPT_MOD
EXPLAINING = ("capture", "map", "seg")
MOST_TEXT = 1024  # characters of one TEXT item: no message of ours is longer


def report(
    told: Told, written: Sequence[Written], groups: Sequence[Dataset], remarks: Sequence[ContentItem],
    kind: Literal["sr", "sr-roi"],
) -> Written:
    """Write one Comprehensive 3D SR: preliminary, unverified, with ``groups`` of findings and ``remarks`` on the whole."""
    content = ContentSequence()
    content.extend(LanguageOfContentItemAndDescendants(words.language_concept(told.device.language)))
    content.extend(_observer(told))
    examined = words.procedure(text(first(told), "Modality").upper())
    content.append(CodeContentItem(codes.DCM.ProcedureReported, examined, relationship_type=CONCEPT_MOD))
    content.append(_container(codes.DCM.ImageLibrary, [_container(codes.DCM.ImageLibraryGroup, _images(told))]))
    if groups:
        content.append(_container(codes.DCM.ImagingMeasurements, groups))
    notice = say_text("notice", words.say("notice", language=told.device.language), told)
    content.append(_container(CodedConcept("C0034375", "UMLS", "Qualitative Evaluations"), [notice, *remarks]))
    root = ContainerContentItem(name=codes.DCM.ImagingMeasurementReport, template_id="1500")
    root.ContentSequence = content
    document = Comprehensive3DSR(
        evidence=_evidence(told, written),
        content=root,
        series_instance_uid=series_uid(told, kind),
        series_number=SERIES_NUMBERS[kind],
        sop_instance_uid=sop_uid(told, kind),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        requested_procedures=requests(first(told)) or None,
        coding_schemes=[words.coding_scheme()],
    )
    _name_first_class(document, told)
    return finish(document, told, kind)


def say_text(name: str, value: str, told: Told) -> TextContentItem:
    """Return a sentence under one of our own concepts."""
    return TextContentItem(words.ours(name, told.device.language), value[:MOST_TEXT] or "-", relationship_type=CONTAINS)


def notes(told: Told, result: Prediction) -> list[ContentItem]:
    """Say how the explanation is to be read, and what it cannot tell."""
    french = told.device.language == "fr" and result.explanation.note_fr
    note = result.explanation.note_fr if french else result.explanation.note
    if not result.explanation.heatmaps and result.explanation.mask is None:  # nothing is drawn: why, and that this is not "normal"
        note = str(PICTURE_WORDS["no_map"][told.device.language]).replace("\n", " ")
    limits = told.manifest.explains.known_limits if told.manifest else []
    return [
        *([say_text("explanation-note", note, told)] if note else []),
        *(say_text("explanation-limit", limit, told) for limit in limits),
    ]


def label_of(finding: Finding, told: Told) -> str:
    """Return what a finding is called in the site's language."""
    return finding.label_fr if told.device.language == "fr" and finding.label_fr else finding.label


def certainty(finding: Finding) -> Measurement:
    """Return a calibrated probability as certainty in percent."""
    return Measurement(codes.DCM.CertaintyOfFinding, round(100 * finding.value, 2), codes.UCUM.Percent)


def algorithm(told: Told, result: Prediction, finding: Finding) -> AlgorithmIdentification:
    """Identify what computed a finding so exactly that it can be made again (TID 4019)."""
    identity = result.identity
    parameters = [] if finding.threshold is None else [f"threshold={finding.threshold:.6g}"]
    if told.manifest is not None:
        calibration = next((o.calibration for o in told.manifest.outputs if o.name == finding.name), {})
        parameters += [f"calibration {name}={value:.6g}" for name, value in calibration.items()]
    parameters += [
        f"manifest sha256={identity.manifest_sha256}",
        f"onnx sha256={identity.onnx_sha256}",
        f"input sha256={identity.input_sha256}",
        f"backend={identity.backend}",
        f"precision={identity.precision}",
    ]
    return AlgorithmIdentification(
        name=identity.model, version=identity.version, family=codes.DCM.ArtificialIntelligence, parameters=parameters
    )


def explained_by(finding: Finding, written: Sequence[Written]) -> list[ContentItem]:
    """Bind the explanation of a finding that has a heat map (DCM 130401), and say how it was made (CID 217)."""
    maps = [one for one in written if one.kind == "map" and one.part == finding.name]
    items: list[ContentItem] = []
    for one in [*maps, *(other for other in written if other.kind == "capture")]:
        item = ImageContentItem(codes.DCM.VisualExplanation, one.sop_class_uid, one.sop_uid, relationship_type=CONTAINS)
        method = CodeContentItem(words.method(), codes.DCM.ClassActivation, relationship_type=CONCEPT_MOD)
        item.ContentSequence = ContentSequence([method])
        items.append(item)
    return items


def _container(name: CodedConcept, items: Sequence[Dataset]) -> ContainerContentItem:
    container = ContainerContentItem(name=name, relationship_type=CONTAINS)
    container.ContentSequence = ContentSequence()
    container.ContentSequence.extend(items)
    return container


def _observer(told: Told) -> ObservationContext:
    attributes = DeviceObserverIdentifyingAttributes(
        uid=device_uid(told),
        name=told.device.station,
        manufacturer_name=MANUFACTURER,
        model_name=model_name(told),
        serial_number=software(told)[-1],
    )
    return ObservationContext(ObserverContext(codes.DCM.Device, attributes))


def _images(told: Told) -> list[ImageContentItem]:
    return [
        ImageContentItem(words.source(), one.SOPClassUID, one.SOPInstanceUID, relationship_type=CONTAINS)
        for one in evidence(told)
    ]


def _evidence(told: Told, written: Sequence[Written]) -> list[Dataset]:
    """Return the images and what was made of them, as references; the first with the attributes highdicom copies.

    The first is given a class that highdicom knows: it has no retired ones. ``_name_first_class`` gives its own back.
    """
    made = evidence(told)
    for one in written:
        if one.kind in EXPLAINING:
            reference = Dataset()
            reference.SOPClassUID, reference.SOPInstanceUID = one.sop_class_uid, one.sop_uid
            reference.SeriesInstanceUID, reference.StudyInstanceUID = one.series_uid, one.study_uid
            made.append(reference)
    for keyword in words.WORDS["inherited"]["required"]:
        setattr(made[0], keyword, "")
    made[0].SOPClassUID = SecondaryCaptureImageStorage
    return made


def _name_first_class(document: Dataset, told: Told) -> None:
    one = evidence(told)[0]
    for study in document.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            for item in series.ReferencedSOPSequence:
                if one.SOPInstanceUID == item.ReferencedSOPInstanceUID:
                    item.ReferencedSOPClassUID = one.SOPClassUID
