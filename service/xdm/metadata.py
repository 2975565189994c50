"""METADATA.XML: what an archive holds, as an ebRIM 3.0 SubmitObjectsRequest (IHE ITI TF-3, 4.2; French values by the CI-SIS)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from service.cda.coded import CODES, SYSTEMS, examination_of
from service.cda.header import STRUCTURES_OID, structure_id
from service.cda.sendable import Named
from service.cda.xml import Element, document, element
from service.dicom.uids import uid_of
from service.hl7v2.encoding import Encoded, components, subcomponents
from service.reporting.validated import ROLES_OID, RPPS_OID, ValidatedReport

DOCUMENT, SUBMISSION = "Document01", "SubmissionSet01"
STABLE = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
_APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
# classificationScheme and identificationScheme of each attribute (ITI TF-3, tables 4.2.5.1)
_ENTRY = {
    "author": "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d", "classCode": "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a",
    "confidentialityCode": "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f",
    "eventCodeList": "urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4", "formatCode": "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d",
    "healthcareFacilityTypeCode": "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1",
    "practiceSettingCode": "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead",
    "typeCode": "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983",
    "patientId": "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427", "uniqueId": "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab",
}
_SET = {
    "author": "urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d", "contentTypeCode": "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500",
    "node": "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd", "patientId": "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446",
    "sourceId": "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832", "uniqueId": "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8",
}
_NAMESPACES = {"xmlns:lcm": "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0", "xmlns": "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"}


def metadata(report: ValidatedReport, named: Named, cda: bytes, uri: str) -> bytes:
    """Write the metadata of one document that stands at ``uri`` in the archive."""
    objects = element("RegistryObjectList", _entry(report, named, cda, uri), _submission(report, named), _member())
    return document(element("lcm:SubmitObjectsRequest", objects, more=_NAMESPACES))


def _entry(report: ValidatedReport, named: Named, cda: bytes, uri: str) -> Element:
    """Write the document entry. Hash (SHA-1) and size are of the very bytes in the archive."""
    digest = hashlib.sha1(cda, usedforsecurity=False).hexdigest()
    traits, site, own = report.person.traits, report.organisation, CODES["metadata"]
    source = named.others[0] if named.others else named.ids[0]
    slots = {
        "creationTime": _utc(report.validated_at), "hash": digest, "languageCode": "fr-FR", "legalAuthenticator": _person(report),
        "serviceStartTime": _utc(report.studied_at or report.validated_at), "size": str(len(cda)),
        "sourcePatientId": _patient_id(*source, "PI"), "URI": uri,
    }
    info = [f"PID-5|{components(traits.birth_name, traits.given, traits.given_names, '', '', '', 'L')}", f"PID-7|{traits.birth_date}",
            f"PID-8|{traits.sex or 'U'}"]
    what = examination_of(report)
    known = ((what.modality, SYSTEMS["dicom"]), (what.region, SYSTEMS["snomed"]))
    events = [("eventCodeList", code, system) for code, system in known if code]
    kinds = [
        ("classCode", own["class"], SYSTEMS["class"]), ("confidentialityCode", ("N", "Normal"), SYSTEMS["confidentiality"]), *events,
        ("formatCode", own["format"], SYSTEMS["format"]),
        ("healthcareFacilityTypeCode", (site.sector, CODES["sectors"][site.sector]), SYSTEMS["sector"]),
        ("practiceSettingCode", own["setting"], SYSTEMS["setting"]),
        ("typeCode", (CODES["report"]["code"], CODES["report"]["display"]), SYSTEMS["loinc"]),
    ]
    return element(
        "ExtrinsicObject", *(_slot(name, value) for name, value in slots.items()), _slot("sourcePatientInfo", *info),
        _words("Name", report.title), _author(report, _ENTRY["author"], DOCUMENT),
        *(_classified(_ENTRY[name], DOCUMENT, code, system, f"{DOCUMENT}-{place}")
          for place, (name, code, system) in enumerate(kinds, start=1)),
        _identified(_ENTRY["patientId"], DOCUMENT, _owner(named), "XDSDocumentEntry.patientId"),
        _identified(_ENTRY["uniqueId"], DOCUMENT, report.document_uid, "XDSDocumentEntry.uniqueId"),
        id=DOCUMENT, mimeType="text/xml", objectType=STABLE, status=_APPROVED,
    )


def _submission(report: ValidatedReport, named: Named) -> Element:
    node = element("Classification", classificationNode=_SET["node"], classifiedObject=SUBMISSION, id=f"{SUBMISSION}-node")
    return element(
        "RegistryPackage", _slot("submissionTime", _utc(report.validated_at)), _words("Name", report.title),
        _author(report, _SET["author"], SUBMISSION),
        _classified(_SET["contentTypeCode"], SUBMISSION, CODES["metadata"]["activity"], SYSTEMS["activity"], f"{SUBMISSION}-1"), node,
        _identified(_SET["patientId"], SUBMISSION, _owner(named), "XDSSubmissionSet.patientId"),
        _identified(_SET["sourceId"], SUBMISSION, report.organisation.oid, "XDSSubmissionSet.sourceId"),
        _identified(_SET["uniqueId"], SUBMISSION, uid_of("2.25", "xdm", report.document_uid), "XDSSubmissionSet.uniqueId"),
        id=SUBMISSION, status=_APPROVED,
    )


def _member() -> Element:
    return element("Association", _slot("SubmissionSetStatus", "Original"), id="Association01", sourceObject=SUBMISSION,
                   targetObject=DOCUMENT, associationType="urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember")


def _author(report: ValidatedReport, scheme: str, of: str) -> Element:
    site, who = report.organisation, report.professional
    institution = components(site.name, "", "", "", "", subcomponents("", STRUCTURES_OID, "ISO"), "IDNST", "", "", structure_id(site))
    return element(
        "Classification", _slot("authorInstitution", institution), _slot("authorPerson", _person(report)),
        _slot("authorSpecialty", components(who.role, who.role_display, ROLES_OID)),
        classificationScheme=scheme, classifiedObject=of, nodeRepresentation="", id=f"{of}-author",
    )


def _classified(scheme: str, of: str, code: tuple[str, str], system: str, own_id: str) -> Element:
    return element("Classification", _slot("codingScheme", system), _words("Name", code[1]), classificationScheme=scheme,
                   classifiedObject=of, nodeRepresentation=code[0], id=own_id)


def _identified(scheme: str, of: str, value: str, name: str) -> Element:
    return element("ExternalIdentifier", _words("Name", name), identificationScheme=scheme, registryObject=of, value=value,
                   id=f"{of}-{name}")


def _slot(name: str, *values: str) -> Element:
    return element("Slot", element("ValueList", *(element("Value", value) for value in values)), name=name)


def _words(name: str, text: str) -> Element:
    return element(name, element("LocalizedString", value=text, more={"xml:lang": "fr-FR", "charset": "UTF-8"}))


def _owner(named: Named) -> Encoded:
    """Return whose document it is: the INS, and where there is none the hospital's own identifier."""
    return _patient_id(*named.ids[0], "NH" if named.ins else "PI")


def _patient_id(oid: str, value: str, kind: str) -> Encoded:
    return components(value, "", "", subcomponents("", oid, "ISO"), kind)


def _person(report: ValidatedReport) -> Encoded:
    who = report.professional
    issuer = subcomponents("", RPPS_OID, "ISO")
    return components(who.national_id, who.family, who.given, "", "", "", "", "", issuer, "D", "", "", "IDNPS")


def _utc(when: datetime) -> str:
    """Return a time as XDS writes it: UTC, without an offset."""
    return when.astimezone(UTC).strftime("%Y%m%d%H%M%S")
