"""The French imaging report: valid by its schema, with the templates and sections of IMG-CR-IMG, and nothing nobody validated."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from models.manifest import Code
from service.cda.coded import CODES
from service.cda.write_report import write_pages, write_report
from service.identity import Person, Traits, local_identity
from service.reporting.report import Draft, Section, Sentence
from service.reporting.validated import NotValidated, Number
from tests.make import data_root, needs_data
from tests.service.cda.made import INS, PERSON, SECTIONS, SITE, TEST_OID, report

NAMES = {"c": "urn:hl7-org:v3", "d": "urn:dicom-org:ps3-20"}
LOINC, CI_SIS = "2.16.840.1.113883.6.1", "1.2.250.1.213.1.1.2"
BARE: dict[str, Any] = {
    "procedures": (), "accession": None, "placer_order": None, "body_part": "", "modality": "OT", "referrer": "", "studied_at": None,
    "sections": (Section("conclusion", (Sentence("Sans particularité.", "person"),)),),
    "person": Person(Traits(birth_name="A"), (local_identity("7", ""),)),
}


@cache
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(data_root() / "interop/cda/xsd/cda/CDA_extended.xsd"))


def parsed(document: bytes) -> Any:
    return etree.fromstring(document)


def values(document: Any, path: str) -> list[str]:
    return [str(one) for one in document.xpath(path, namespaces=NAMES)]


def checked(document: bytes) -> Any:
    tree = parsed(document)
    assert schema().validate(tree), schema().error_log
    return tree


@needs_data
@pytest.mark.parametrize("write", [write_report, write_pages])
@pytest.mark.parametrize("changes", [{}, {"replaces": "2.25.99"}, BARE, {"person": Person(PERSON.traits, PERSON.identities[:1])}])
def test_a_document_is_valid_by_the_schema(write: Any, changes: dict[str, Any]) -> None:
    checked(write(report(**changes)))


def test_the_header_claims_what_it_conforms_to() -> None:
    tree = parsed(write_report(report()))
    assert ["FR", "POCD_HD000040", "fr-FR", "18748-4"] == [
        *values(tree, "c:realmCode/@code"), *values(tree, "c:typeId/@extension"), *values(tree, "c:languageCode/@code"),
        *values(tree, "c:code/@code")]
    assert ["2.16.840.1.113883.2.8.2.1", "1.2.250.1.213.1.1.1.1", "1.2.840.10008.9.1", "1.2.840.10008.9.20", "1.2.840.10008.9.21",
            "1.2.250.1.213.1.1.1.45"] == values(tree, "c:templateId/@root")
    assert ["2024.01"] == values(tree, "c:templateId[@root='1.2.250.1.213.1.1.1.45']/@extension")
    assert ["36643-5"] == values(tree, f"c:code/c:translation[@codeSystem='{LOINC}']/@code")


def test_the_patient_is_named_by_ins_and_by_the_hospitals_identifier_with_the_traits_of_birth() -> None:
    tree = parsed(write_report(report()))
    role = "c:recordTarget/c:patientRole"
    assert [(TEST_OID, INS), ("1.2.250.1.999.2", "0042")] == list(
        zip(values(tree, f"{role}/c:id/@root"), values(tree, f"{role}/c:id/@extension"), strict=True))
    name = f"{role}/c:patient/c:name"
    assert ["PAT-TROIS"] == values(tree, f"{name}/c:family[@qualifier='BR']/text()")
    assert ["DOMINIQUE"] == values(tree, f"{name}/c:given[@qualifier='BR']/text()")
    assert ["DOMINIQUE MARIE-LOUISE"] == values(tree, f"{name}/c:given[not(@qualifier)]/text()")
    assert ["DURAND"] == values(tree, f"{name}/c:family[@qualifier='CL']/text()")
    assert ["19790328", "F", "51215"] == [
        *values(tree, f"{role}/c:patient/c:birthTime/@value"), *values(tree, f"{role}/c:patient/c:administrativeGenderCode/@code"),
        *values(tree, f"{role}/c:patient//c:county/text()")]


@pytest.mark.parametrize("place", [
    "c:author/c:assignedAuthor", "c:legalAuthenticator/c:assignedEntity",
    "c:documentationOf/c:serviceEvent/c:performer/c:assignedEntity",
])
def test_who_wrote_signed_and_read_is_the_professional_who_validated(place: str) -> None:
    tree = parsed(write_report(report()))
    assert [("1.2.250.1.71.4.2.1", "899700000001")] == list(
        zip(values(tree, f"{place}/c:id/@root"), values(tree, f"{place}/c:id/@extension"), strict=True))
    assert ["G15_10/SM44"] == values(tree, f"{place}/c:code/@code")
    assert [("1.2.250.1.71.4.2.2", "1010000024")] == list(zip(
        values(tree, f"{place}/c:representedOrganization/c:id/@root"),
        values(tree, f"{place}/c:representedOrganization/c:id/@extension"), strict=True))
    assert ["S"] == values(tree, "c:legalAuthenticator/c:signatureCode/@code")


def test_order_accession_and_study_keep_their_numbers_and_who_gave_them() -> None:
    tree = parsed(write_report(report(accession=Number("ACC0001", "1.2.3.4"))))
    order = "c:inFulfillmentOf/c:order"
    assert ["1.2.250.1.999.3", "PLACER1"] == [*values(tree, f"{order}/c:id/@root"), *values(tree, f"{order}/c:id/@extension")]
    assert ["1.2.3.4", "ACC0001"] == [
        *values(tree, f"{order}/d:accessionNumber/@root"), *values(tree, f"{order}/d:accessionNumber/@extension")]
    assert ["RIS"] == values(parsed(write_report(report())), f"{order}/d:accessionNumber/@assigningAuthorityName")
    event = "c:documentationOf/c:serviceEvent"
    assert ["1.2.826.0.1.3680043.8.498.7"] == values(tree, f"{event}/c:id/@root")
    assert ["36643-5"] == values(tree, f"{event}/c:code/@code")
    assert ["DX", "67734004"] == values(tree, f"{event}/c:code/c:translation/@code")
    assert ["121139", "39111-0"] == values(tree, f"{event}/c:code/c:translation/c:qualifier/c:name/@code")


@pytest.mark.parametrize("name", ["procedure", "conclusion", "results", "clinical"])
def test_each_section_has_its_templates_code_and_words(name: str) -> None:
    tree = parsed(write_report(report()))
    known = CODES["sections"][name]
    [section] = tree.xpath(f"c:component/c:structuredBody/c:component/c:section[c:code/@code='{known['code']}']", namespaces=NAMES)
    assert known["templates"] == values(section, "c:templateId/@root")
    assert [known["title"]] == values(section, "c:title/text()")
    assert 1 == len(values(section, "c:id/@root")) == len(section.xpath("c:text", namespaces=NAMES))


def test_the_words_of_a_section_are_the_validated_ones() -> None:
    tree = parsed(write_report(report()))
    for name, code in (("results", "59776-5"), ("conclusion", "19005-8")):
        told = next(one for one in SECTIONS if one.name == name)
        assert [one.text for one in told.sentences] == values(tree, f"//c:section[c:code/@code='{code}']/c:text/c:paragraph/text()")


def test_the_procedure_has_the_entry_and_the_catalogue_the_guide_cannot_do_without() -> None:
    tree = parsed(write_report(report()))
    procedure = f"//c:section[c:templateId/@root='{CI_SIS}.206']"
    assert ["36643-5"] == values(tree, f"{procedure}/c:entry/c:procedure[c:templateId/@root='1.2.250.1.213.1.1.3.153']/c:code/@code")
    assert ["DX", "302551006"] == [
        *values(tree, f"{procedure}/c:entry/c:procedure/c:methodCode/@code"),
        *values(tree, f"{procedure}/c:entry/c:procedure/c:targetSiteCode/@code")]
    assert ["121181"] == values(tree, f"{procedure}/c:component/c:section[c:templateId/@root='{CI_SIS}.217']/c:code/@code")
    clinical = f"//c:section[c:templateId/@root='{CI_SIS}.205']/c:component/c:section"
    assert ["55115-0", "11329-0"] == values(tree, f"{clinical}/c:code/@code")
    assert ["11348-0", "47519-4"] == values(tree, f"{clinical}/c:entry/c:observation/c:code/@code")


def test_every_reference_points_to_words_that_are_there() -> None:
    tree = parsed(write_report(report()))
    places = values(tree, "//c:reference/@value")
    assert 5 <= len(places)
    assert {one.removeprefix("#") for one in places} <= set(values(tree, "//c:text//@ID"))


def test_what_artificial_intelligence_proposed_is_said_to_the_reader() -> None:
    told = "Images analysées avec l'aide d'un traitement algorithmique"
    assert told in write_report(report()).decode()
    assert told not in write_report(report(**BARE)).decode()


def test_sections_without_words_are_left_out_but_the_two_that_must_be_there() -> None:
    assert ["55111-9", "19005-8"] == values(parsed(write_report(report(**BARE))), "c:component/c:structuredBody/c:component/c:section"
                                            "/c:code/@code")


def test_what_is_not_known_is_said_to_be() -> None:
    tree = parsed(write_report(report(**BARE)))
    assert ["UNK", "UNK"] == [*values(tree, "//c:order/c:id/@nullFlavor"), *values(tree, "//d:accessionNumber/@nullFlavor")]
    assert ["UNK"] == values(tree, "//c:serviceEvent/c:code/@nullFlavor")
    assert [] == values(tree, "c:code/c:translation/@code")


def test_a_chest_radiograph_whose_images_name_no_procedure_is_still_coded() -> None:
    assert ["30745-4"] == values(parsed(write_report(report(procedures=()))), "//c:serviceEvent/c:code/@code")
    ccam = Code(system="urn:oid:1.2.250.1.215.300.1", code="ZBQK002", display="Radiographie du thorax")
    assert ["ZBQK002"] == values(parsed(write_report(report(procedures=(ccam,)))),
                                 "//c:serviceEvent/c:code/c:translation[@codeSystem='1.2.250.1.215.300.1']/@code")


def test_a_new_version_replaces_the_one_before() -> None:
    tree = parsed(write_report(report(replaces="2.25.99")))
    assert ["RPLC"] == values(tree, "c:relatedDocument/@typeCode")
    assert ["2.25.99"] == values(tree, "c:relatedDocument/c:parentDocument/c:id/@root")
    assert ["2.25.100", "2"] == [*values(tree, "c:setId/@root"), *values(tree, "c:versionNumber/@value")]
    assert [] == values(parsed(write_report(report())), "c:relatedDocument/@typeCode")


def test_times_have_their_offset() -> None:
    assert ["20260301113000+0100"] == values(parsed(write_report(report())), "c:effectiveTime/@value")


def test_the_pages_travel_as_they_are_under_the_same_header() -> None:
    made = report()
    tree = parsed(write_pages(made))
    assert made.pdf == base64.b64decode(values(tree, "c:component/c:nonXMLBody/c:text/text()")[0])
    assert ["1.3.6.1.4.1.19376.1.2.20"] == values(tree, "c:templateId/@root")[2:]
    assert values(parsed(write_report(made)), "c:recordTarget//@extension") == values(tree, "c:recordTarget//@extension")


def test_the_same_report_is_the_same_bytes() -> None:
    assert write_report(report()) == write_report(report())


@pytest.mark.parametrize("write", [write_report, write_pages])
@pytest.mark.parametrize("draft", [
    None, "a text", Draft("1.2.3", 1, "draft", "fr", SECTIONS, report().made_at),
    Draft("1.2.3", 1, "validated", "fr", SECTIONS, report().made_at),
])
def test_a_draft_is_never_a_document(write: Any, draft: Any) -> None:
    with pytest.raises(NotValidated):
        write(draft)


SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(st.text(min_size=1, max_size=60))
def test_any_words_are_words_and_never_markup(text: str) -> None:
    sections = (Section("conclusion", (Sentence(text, "person"), Sentence("Fin.", "person"))),)
    site = SITE.model_copy(update={"name": f"A{text}"})
    tree = parsed(write_report(report(sections=sections, organisation=site, referrer=text, title=f"T{text}",
                                      person=Person(Traits(text, text, text, text, "19790328", "F", "51215"), PERSON.identities))))
    assert [" ".join(("".join(one if one.isprintable() else " " for one in text)).split()), "Fin."] == [
        one.text or "" for one in tree.xpath("//c:section[c:code/@code='19005-8']/c:text/c:paragraph", namespaces=NAMES)]
