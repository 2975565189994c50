"""The header of the French imaging report: patient, author, keeper, signatory, order, examination, stay (CI-SIS).

Elements stand in the order the schema wants. What is not known is said to be (nullFlavor) where the guide needs an element,
and left out where it does not.
"""

from __future__ import annotations

from datetime import datetime

from service.cda.coded import CODES, SYSTEMS, Examination, code_of_examination, coded
from service.cda.sendable import Named, number_id
from service.cda.xml import Element, element, stamp
from service.reporting.validated import ROLES_OID, RPPS_OID, Professional, ValidatedReport
from service.site import Organisation

STRUCTURES_OID = "1.2.250.1.71.4.2.2"  # of hospitals: "1" and the FINESS number
_SEXES = {"M": "Masculin", "F": "Féminin", "O": "Inconnu"}


def header(report: ValidatedReport, named: Named, what: Examination, templates: list[list[str]]) -> list[Element]:
    """Return all elements before the body."""
    return [
        element("realmCode", code="FR"), element("typeId", root="2.16.840.1.113883.1.3", extension="POCD_HD000040"),
        *(element("templateId", root=root, extension=extension or None) for root, extension in templates),
        element("id", root=report.document_uid), _type(what), element("title", report.title),
        element("effectiveTime", value=stamp(report.validated_at)),
        element("confidentialityCode", code="N", displayName="Normal", codeSystem=SYSTEMS["confidentiality"]),
        element("languageCode", code="fr-FR"), element("setId", root=report.set_uid),
        element("versionNumber", value=str(report.version)),
        _patient(report, named), _author(report), _custodian(report.organisation), _signatory(report), *_referrer(report),
        _order(report), _examination(report, what), *_replaced(report), _stay(report),
    ]


def structure_id(organisation: Organisation) -> str:
    """Return the identifier of a hospital as documents carry it (IDNST)."""
    return "1" + organisation.finess


def _type(what: Examination) -> Element:
    report = CODES["report"]
    translations = [coded("translation", "loinc", what.loinc)] if what.loinc else []
    return coded("code", "loinc", (report["code"], report["display"]), *translations)


def _patient(report: ValidatedReport, named: Named) -> Element:
    """Write the identity: names of the birth certificate (BR), its first given name, and the name in use (CL)."""
    traits = report.person.traits
    name = element(
        "name",
        element("family", traits.birth_name or None, qualifier="BR") if traits.birth_name else
        element("family", qualifier="BR", nullFlavor="UNK"),
        element("given", traits.given_names) if traits.given_names else None,
        element("given", traits.given, qualifier="BR") if traits.given else None,
        element("family", traits.usual_name, qualifier="CL") if traits.usual_name else None,
    )
    sex = _SEXES.get(traits.sex)
    gender = {"O": "UN"}.get(traits.sex, traits.sex)
    commune = element("addr", element("county", traits.birth_place))
    place = element("birthplace", element("place", commune)) if traits.birth_place else None
    person = element(
        "patient", name,
        element("administrativeGenderCode", code=gender, displayName=sex, codeSystem=SYSTEMS["gender"]) if sex else
        element("administrativeGenderCode", nullFlavor="UNK"),
        element("birthTime", value=traits.birth_date) if traits.birth_date else element("birthTime", nullFlavor="UNK"),
        place, classCode="PSN",
    )
    ids = [element("id", root=oid, extension=value) for oid, value in named.ids]
    return element("recordTarget", element("patientRole", *ids, person))


def _author(report: ValidatedReport) -> Element:
    return element("author", _time(report.validated_at),
                   element("assignedAuthor", *_professional(report.professional), _employer(report.organisation)))


def _signatory(report: ValidatedReport) -> Element:
    return element("legalAuthenticator", _time(report.validated_at), element("signatureCode", code="S"), _entity(report))


def _entity(report: ValidatedReport) -> Element:
    return element("assignedEntity", *_professional(report.professional), _employer(report.organisation))


def _professional(who: Professional) -> list[Element]:
    name = element("name", element("given", who.given), element("family", who.family))
    return [
        element("id", root=RPPS_OID, extension=who.national_id),
        element("code", code=who.role, displayName=who.role_display, codeSystem=ROLES_OID), element("assignedPerson", name),
    ]


def _employer(site: Organisation) -> Element:
    setting = CODES["metadata"]["setting"]
    return element("representedOrganization", *_organisation(site), element(
        "standardIndustryClassCode", code=setting[0], displayName=setting[1], codeSystem=SYSTEMS["setting"]))


def _custodian(site: Organisation) -> Element:
    return element("custodian", element("assignedCustodian", element("representedCustodianOrganization", *_organisation(site))))


def _organisation(site: Organisation) -> list[Element]:
    return [
        element("id", root=STRUCTURES_OID, extension=structure_id(site)), element("name", site.name),
        *([element("telecom", value=_telecom(site.telecom))] if site.telecom else []),
        *([element("addr", element("streetAddressLine", site.address))] if site.address else []),
    ]


def _telecom(written: str) -> str:
    """Return an address as a URL: what has a scheme keeps it, an e-mail address gets mailto, the rest is a telephone."""
    if ":" in written:
        return written
    return f"mailto:{written}" if "@" in written else "tel:" + "".join(one for one in written if one in "+0123456789")


def _referrer(report: ValidatedReport) -> list[Element]:
    """Name who asked; only the name is known."""
    if not report.referrer:
        return []
    person = element("associatedPerson", element("name", element("family", report.referrer)))
    entity = element("associatedEntity", element("id", nullFlavor="UNK"), person, classCode="PROV")
    return [element("participant", element("time", nullFlavor="NA"), entity, typeCode="REF")]


def _order(report: ValidatedReport) -> Element:
    """Write the numbers of the order and of the examination, each with who gave it; both are needed (IMG-CR-IMG)."""
    numbers = []
    for name, number in (("id", report.placer_order), ("ps3-20:accessionNumber", report.accession)):
        if number is None:
            numbers.append(element(name, nullFlavor="UNK"))
        else:
            root, value = number_id(number, report)
            numbers.append(element(name, root=root, extension=value, assigningAuthorityName=number.issuer or None))
    return element("inFulfillmentOf", element("order", *numbers))


def _examination(report: ValidatedReport, what: Examination) -> Element:
    performer = element("performer", _entity(report), typeCode="PRF")
    return element("documentationOf", element(
        "serviceEvent", element("id", root=report.study_uid), code_of_examination("code", what), _period(report.studied_at),
        performer, classCode="ACT",
    ))


def _replaced(report: ValidatedReport) -> list[Element]:
    if not report.replaces:
        return []
    return [element("relatedDocument", element("parentDocument", element("id", root=report.replaces)), typeCode="RPLC")]


def _stay(report: ValidatedReport) -> Element:
    """Write where it was done; which stay it belongs to the images do not say."""
    site = report.organisation
    facility = element(
        "healthCareFacility", element("id", root=STRUCTURES_OID, extension=structure_id(site)),
        element("code", code=site.sector, displayName=CODES["sectors"][site.sector], codeSystem=SYSTEMS["sector"]),
        element("location", element("name", site.name)),
    )
    return element("componentOf", element("encompassingEncounter", _period(report.studied_at), element("location", facility)))


def _period(start: datetime | None) -> Element:
    if start is None:
        return element("effectiveTime", nullFlavor="UNK")
    return element("effectiveTime", element("low", value=stamp(start)))


def _time(when: datetime) -> Element:
    return element("time", value=stamp(when))
