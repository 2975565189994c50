"""The XDM archive: the files the profile names, metadata that fits the document to the byte, and a folder that holds it whole."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from service.cda.write_report import write_report
from service.dicom.undelivered import Undelivered
from service.identity import Person
from service.reporting.report import Draft
from service.reporting.validated import NotValidated
from service.site import Site, Xdm
from service.xdm.folder import content_of, is_there, put, xdm_outlets
from service.xdm.write_zip import mail_subject, write_zip
from tests.service.cda.made import INS, PERSON, SECTIONS, SITE, TEST_OID, report

RIM = {"r": "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"}
FILES = ["README.TXT", "INDEX.HTM", "IHE_XDM/SUBSET01/METADATA.XML", "IHE_XDM/SUBSET01/DOC0001.XML"]


def files(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


def metadata(**changes: Any) -> Any:
    return etree.fromstring(files(write_zip(report(**changes)))["IHE_XDM/SUBSET01/METADATA.XML"])


def slot(tree: Any, name: str) -> list[str]:
    return [str(one) for one in tree.xpath(f"//r:ExtrinsicObject/r:Slot[@name='{name}']/r:ValueList/r:Value/text()", namespaces=RIM)]


def identified(tree: Any, name: str) -> str:
    [value] = tree.xpath(f"//r:ExternalIdentifier[r:Name/r:LocalizedString/@value='{name}']/@value", namespaces=RIM)
    return str(value)


def test_the_archive_holds_what_the_profile_names() -> None:
    found = files(write_zip(report()))
    assert FILES == list(found)
    assert write_report(report()) == found["IHE_XDM/SUBSET01/DOC0001.XML"]
    assert b'href="IHE_XDM/SUBSET01/DOC0001.XML"' in found["INDEX.HTM"]
    assert b"PAT-TROIS" not in found["INDEX.HTM"] + found["README.TXT"]


def test_hash_and_size_are_those_of_the_document_in_the_archive() -> None:
    found = files(write_zip(report()))
    document, tree = found["IHE_XDM/SUBSET01/DOC0001.XML"], etree.fromstring(found["IHE_XDM/SUBSET01/METADATA.XML"])
    assert [hashlib.sha1(document, usedforsecurity=False).hexdigest()] == slot(tree, "hash")
    assert [str(len(document))] == slot(tree, "size")
    assert ["DOC0001.XML"] == slot(tree, "URI")


def test_metadata_say_whose_document_it_is_by_whom_and_of_what_kind() -> None:
    tree = metadata()
    assert {f"{INS}^^^&{TEST_OID}&ISO^NH"} == {identified(tree, f"XDS{one}.patientId") for one in ("DocumentEntry", "SubmissionSet")}
    assert ["2.25.101", SITE.oid] == [identified(tree, "XDSDocumentEntry.uniqueId"), identified(tree, "XDSSubmissionSet.sourceId")]
    assert ["0042^^^&1.2.250.1.999.2&ISO^PI"] == slot(tree, "sourcePatientId")
    assert ["899700000001^DOCTEUR-TEST^CAMILLE^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"] == slot(tree, "legalAuthenticator")
    assert ["20260301103000", "20260301091500"] == [*slot(tree, "creationTime"), *slot(tree, "serviceStartTime")]  # UTC
    kinds = tree.xpath("//r:ExtrinsicObject/r:Classification/@nodeRepresentation", namespaces=RIM)
    assert ["", "31", "N", "DX", "67734004", "urn:ihe:rad:CDA:ImagingReportStructuredHeadings:2013", "SA01", "ETABLISSEMENT",
            "18748-4"] == kinds


def test_every_object_has_an_id_of_its_own_and_the_set_holds_the_document() -> None:
    tree = metadata()
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids))
    [association] = tree.xpath("//r:Association", namespaces=RIM)
    assert {association.get("sourceObject"), association.get("targetObject")} <= set(ids)
    assert set(tree.xpath("//@classifiedObject | //@registryObject")) <= set(ids)


def test_without_an_ins_the_hospitals_identifier_names_the_patient() -> None:
    tree = metadata(person=Person(PERSON.traits, PERSON.identities[1:]))
    assert "0042^^^&1.2.250.1.999.2&ISO^PI" == identified(tree, "XDSDocumentEntry.patientId")


def test_the_same_report_is_the_same_bytes() -> None:
    assert write_zip(report()) == write_zip(report())


def test_the_subject_of_the_mail_is_the_one_the_space_of_trust_asks_for() -> None:
    assert "XDM/1.0/DDM+Compte rendu d'imagerie PAT-TROIS DOMINIQUE 28/03/1979" == mail_subject(report())
    assert "\n" not in mail_subject(report(title="CR\r\nBcc: x@y"))


def test_words_of_a_report_are_no_markup_of_the_index() -> None:
    assert b"<script>" not in files(write_zip(report(title="<script>alert(1)</script>")))["INDEX.HTM"]


def test_a_draft_is_never_an_archive() -> None:
    with pytest.raises(NotValidated):
        write_zip(Draft("1.2.3", 1, "draft", "fr", SECTIONS, report().made_at))  # type: ignore[arg-type]


# The folder -----------------------------------------------------------------------------------------------------------


def test_a_report_lies_in_a_folder_of_its_own_whose_name_tells_nothing(tmp_path: Path) -> None:
    put(tmp_path, content_of(report()))
    [place] = tmp_path.iterdir()
    assert ["IHE_XDM.zip", "report.pdf", "subject.txt"] == sorted(one.name for one in place.iterdir())
    assert write_zip(report()) == (place / "IHE_XDM.zip").read_bytes()
    assert report().pdf == (place / "report.pdf").read_bytes()
    assert mail_subject(report()) == (place / "subject.txt").read_text("utf-8")
    assert all(one not in place.name for one in (INS, "0042", "PAT"))


def test_a_repeat_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, content_of(report()))
    [place] = tmp_path.iterdir()
    (place / "report.pdf").write_bytes(b"read by the mail already")
    put(tmp_path, content_of(report()))
    assert ([place], b"read by the mail already") == (list(tmp_path.iterdir()), (place / "report.pdf").read_bytes())


def test_what_cannot_be_written_whole_leaves_nothing_behind(tmp_path: Path) -> None:
    content = content_of(report())
    content["files"]["missing/there.txt"] = ""
    with pytest.raises(Undelivered) as caught:
        put(tmp_path, content)
    assert ("folder", False) == (caught.value.reason, caught.value.permanent)
    assert [] == list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_a_matter_of_time(tmp_path: Path) -> None:
    with pytest.raises(Undelivered):
        put(tmp_path / "away", content_of(report()))
    assert (False, True) == (is_there(tmp_path / "away"), is_there(tmp_path))


def test_a_site_that_names_no_folder_writes_nothing(tmp_path: Path) -> None:
    assert [] == xdm_outlets(Site())
    assert ["xdm"] == [outlet.name for outlet in xdm_outlets(Site(xdm=Xdm(folder=tmp_path)))]
