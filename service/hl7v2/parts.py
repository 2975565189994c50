"""The segments ORU and MDM share: header, patient, visit, order, the document and what may be done with it.

CI-SIS, transmission d'un document CDA-R2 en HL7v2, volume 2. Only what the guide asks for is written: the document says the rest.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from service.cda.coded import CODES
from service.cda.header import STRUCTURES_OID
from service.cda.sendable import Named
from service.hl7v2.encoding import Encoded, components, repetitions, segment, subcomponents
from service.reporting.validated import RPPS_OID, ValidatedReport
from service.site import Mllp

_NATIONAL = {"INS-NIR": "ASIP-SANTE-INS-NIR", "INS-NIA": "ASIP-SANTE-INS-NIA", "INS-NIR-TEST": "ASIP-SANTE-INS-NIR",
             "INS-NIR-DEMO": "ASIP-SANTE-INS-NIR"}
FLAGS = {  # table MetaDMPMSS, in the order the guide wants
    "MASQUE_PS": "Masqué aux professionnels de Santé",
    "INVISIBLE_PATIENT": "Document Non Visible par le patient",
    "INVISIBLE_REP_LEGAUX": "Non visible par les représentants Légaux du patient",
    "CONNEXION_SECRETE": "Connexion Secrete",
    "MODIF_CONF_CODE": "Modification Confidentiality Code",
    "DESTDMP": "Destinataire DMP",
    "DESTMSSANTEPS": "Destinataire (Professionnel de Santé, organisation ou BAL applicative)",
    "DESTMSSANTEPAT": "Destinataire Patient",
    "ACK_RECEPTION": "Accusé de réception",
    "ACK_LECTURE_MSS": "Accusé de lecture",
}


@dataclass(frozen=True)
class Kind:
    """What differs between the messages: version, the words of its tables, and the event of a first and a replacing document."""

    version: str
    structure: str
    first: str
    replacing: str
    coded: str  # value type of a coded value
    text: str  # type of data of the document


def control_id(report: ValidatedReport, kind: Kind) -> str:
    """Return MSH-10: the same for the same document, so that a receiver can tell a repeat; 20 characters at most (2.5)."""
    return hashlib.sha256(f"{kind.structure}\x1f{report.document_uid}".encode()).hexdigest()[:20]


def event(report: ValidatedReport, kind: Kind) -> str:
    """Return the trigger event."""
    return kind.replacing if report.replaces else kind.first


def header(report: ValidatedReport, kind: Kind, to: Mllp) -> str:
    """Write MSH. Messages of a site that takes identities of tests are marked as such (MSH-11)."""
    return segment("MSH", {
        3: "DIAPHANE", 4: report.organisation.name, 5: to.receiving_application,
        6: to.receiving_facility or report.organisation.name, 7: stamp(report),
        9: components(kind.structure[:3], event(report, kind), kind.structure), 10: control_id(report, kind),
        11: "P" if report.accept == "production" else "T", 12: kind.version, 17: "FRA", 18: "UNICODE UTF-8",
        21: components("2.1", "CISIS_CDA_HL7_V2"),
    })


def stamp(report: ValidatedReport) -> str:
    """Return when the report was validated."""
    return report.validated_at.strftime("%Y%m%d%H%M%S%z")


def patient(report: ValidatedReport, named: Named) -> str:
    """Write PID: the identifiers of the document, the traits, and that the identity is qualified when it is (PID-32)."""
    traits = report.person.traits
    ids = [_identifier(value, _NATIONAL[str(named.ins.kind)], oid, "INS") for oid, value in named.ids[:1]] if named.ins else []
    ids += [_identifier(value, report.organisation.name, oid, "PI") for oid, value in named.others]
    names = [components(traits.birth_name, traits.given, traits.given_names, "", "", "", "L")]
    if traits.usual_name:
        names.append(components(traits.usual_name, traits.given, "", "", "", "", "D"))
    fields: dict[int, str] = {3: repetitions(*ids), 5: repetitions(*names), 7: traits.birth_date, 8: traits.sex or "U"}
    if traits.birth_place:
        fields[11] = components("", "", "", "", "", "", "BDL", "", traits.birth_place)
    if named.ins:
        fields[32] = "VALI"
    return segment("PID", fields)


def visit() -> str:
    """Write PV1: which stay it belongs to is not known from images (N: not applicable)."""
    return segment("PV1", {2: "N"})


def order(report: ValidatedReport) -> list[str]:
    """Write what is asked for: a new document, or one that replaces another."""
    return [segment("ORC", {1: "RO" if report.replaces else "NW"}), segment("OBR", {1: "1", 4: document_type()})]


def document_type() -> Encoded:
    """Return the type of the document."""
    known = CODES["report"]
    return components(known["code"], known["display"], "LN")


def observations(report: ValidatedReport, named: Named, kind: Kind, cda: bytes, to: Mllp) -> list[str]:
    """Write the document with who sends it and whom it is for, then the flags."""
    data = Encoded(base64.b64encode(cda).decode("ascii"))
    document = segment("OBX", {
        1: "1", 2: "ED", 3: document_type(), 5: components("", kind.text, "XML", "Base64", data), 11: "C" if report.replaces else "F",
    })
    patient_too = bool(to.patient and named.ins)
    asked = {"DESTDMP": bool(to.dmp and named.ins), "DESTMSSANTEPS": bool(to.recipients), "DESTMSSANTEPAT": patient_too}
    mailboxes = [*to.recipients, *([f"{named.ins.matricule}@patient.mssante.fr"] if patient_too and named.ins else [])]
    flags = [
        segment("OBX", {
            1: str(place), 2: kind.coded, 3: components(code, words, "MetaDMPMSS"),
            5: components("Y" if asked.get(code) else "N", "", "expandedYes-NoIndicator"), 11: "F",
        })
        for place, (code, words) in enumerate(FLAGS.items(), start=2)
    ]
    return [document, _sender(report), *map(_recipient, mailboxes), *flags]


def _identifier(value: str, namespace: str, oid: str, kind: str) -> Encoded:
    return components(value, "", "", subcomponents(namespace, oid, "ISO"), kind)


def _sender(report: ValidatedReport) -> str:
    """Write PRT of who sends (segment of 2.9, taken in advance by the guide): the professional and the hospital."""
    who, site = report.professional, report.organisation
    person = components(who.national_id, who.family, who.given, "", "", "", "", "", subcomponents("ASIP-SANTE-PS", RPPS_OID, "ISO"),
                        "D", "", "", "IDNPS")
    place = components(site.name, "", "", "", "", subcomponents("ASIP-SANTE-ST", STRUCTURES_OID, "ISO"), "FINEJ", "", "", site.finess)
    return segment("PRT", {2: "UC", 4: components("SB", "Send by", "participation"), 5: person, 8: place})


def _recipient(mailbox: str) -> str:
    address = components("", "", "X.400", mailbox)
    return segment("PRT", {2: "UC", 4: components("RCT", "Results Copies To", "participation"), 15: address})
