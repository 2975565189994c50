"""Pages: the same report is the same bytes, a draft is marked on every page, nothing a sender wrote is run or breaks a page."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as markup

from models.model import Model
from service.reporting.html import html
from service.reporting.of_told import presented_of
from service.reporting.pdf import pdf
from service.reporting.presented import presented_form, report_fields
from service.reporting.printed import Printed, plain, printed
from service.reporting.report import Draft, Section, Sentence
from service.reporting.study import study_of
from service.reporting.validated import Professional
from tests.make import radiograph_dataset, radiograph_pixels, tiny_release
from tests.service.dicom.tell import hospital, not_assessed, told

WHEN = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
READER = Professional("99700000001", "DOCTEUR-TEST", "CAMILLE")
STUDY = study_of("1.2.3", [hospital(radiograph_dataset())], [1])
SECTIONS = (
    Section("indication", (Sentence("Toux fébrile.", "image", "ReasonForTheRequestedProcedure"),)),
    Section("results", (Sentence("Pneumonie : probabilité estimée 96 %.", "ai", "chest-1.0.0/pneumonia", 7, 0.96),
                        Sentence("Pas d'épanchement.", "person"))),
    Section("conclusion", (Sentence("En faveur de : pneumonie.", "ai", "chest-1.0.0/pneumonia", 7),)),
)


def report(*sections: Section, language: str = "fr", state: str = "draft", number: int = 1) -> Draft:
    return Draft("1.2.3", number, state, language, sections or SECTIONS, WHEN, (7,))  # type: ignore[arg-type]


def pages(draft: Draft | None = None, **more: object) -> Printed:
    return printed(draft or report(), STUDY, institution="CHU Exemple", accept="test", **more)  # type: ignore[arg-type]


def read(data: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(data))


def words(data: bytes) -> list[str]:
    return [" ".join(page.extract_text().replace("\u00a0", " ").split()) for page in read(data).pages]


def test_the_same_report_is_the_same_bytes() -> None:
    assert pdf(pages(), made_at=WHEN) == pdf(pages(), made_at=WHEN)
    assert html(pages()) == html(pages())


def test_the_pdf_states_title_language_date_and_embeds_its_font() -> None:
    made = read(pdf(pages(), made_at=WHEN))
    assert made.metadata is not None
    assert "Compte rendu d'imagerie médicale – PROJET – non validé" == made.metadata.title
    assert WHEN == made.metadata.creation_date
    catalog = made.trailer["/Root"]
    assert "fr" == catalog["/Lang"]
    assert catalog["/ViewerPreferences"]["/DisplayDocTitle"]
    fonts = made.pages[0]["/Resources"]["/Font"].values()
    embedded = [font.get_object() for font in fonts if font.get_object()["/Subtype"] == "/TrueType"]
    assert embedded
    assert all("/FontFile2" in font["/FontDescriptor"].get_object() for font in embedded)
    assert ["Indication", "Technique", "Résultats", "Conclusion", "Sources"] == [one.title for one in made.outline]


def test_accents_signs_and_the_patient_are_on_the_page() -> None:
    [page] = words(pdf(pages(), made_at=WHEN))
    for expected in ("CANARI-NÉ Élodie", "28/02/2023", "279035121518989 (INS-NIR-TEST)", "probabilité estimée 96 %", "Page 1 sur 1",
                     "Version 1 du 01/03/2026 à 9 h 30 (UTC+00:00)", "CHU Exemple", "IA, à valider"):
        assert expected in page


def test_a_draft_is_marked_on_every_page_and_every_ai_sentence() -> None:
    long = report(Section("results", tuple(Sentence(f"Phrase {n}.", "ai", "m-1.0.0/x", 7) for n in range(120))))
    found = words(pdf(pages(long), made_at=WHEN))
    assert len(found) > 2
    assert all(page.count("PROJET – non validé") >= 2 for page in found)
    assert 120 == sum(page.count("[IA, à valider]") for page in found)
    assert all(f"Page {n} sur {len(found)}" in page for n, page in enumerate(found, start=1))


def test_a_validated_report_names_who_validated_and_bears_no_mark() -> None:
    made = pages(report(state="validated"), professional=READER, validated_at=WHEN)
    [page] = words(pdf(made, made_at=WHEN))
    assert "Validé par CAMILLE DOCTEUR-TEST (RPPS 99700000001) le 01/03/2026 à 9 h 30" in page
    assert "PROJET" not in page
    assert "à valider" not in page
    assert "proposées par une intelligence artificielle" in page
    assert "PROJET" not in html(made)


def test_the_page_is_whole_and_says_its_language() -> None:
    document = markup.document_fromstring(html(pages()))
    assert "fr" == document.get("lang")
    assert ["Compte rendu d'imagerie médicale"] == [one.text for one in document.iter("h1")]
    titles = [one.text for one in document.iter("h2")]
    assert ["Indication", "Technique", "Résultats", "Conclusion", "Sources"] == titles
    named = {one.get("id") for one in document.iter() if one.get("id")}
    assert {link.get("href")[1:] for link in document.iter("a")} <= named
    assert {one.get("aria-labelledby") for one in document.iter("section")} <= named
    assert not list(document.iter("script", "img", "link", "iframe", "form"))


def test_an_empty_section_is_said_to_be_empty() -> None:
    assert "est rédigé ici." in html(pages())


HOSTILE = ["<script>alert(1)</script>", "</p><img src=x onerror=alert(1)>", "{{ 7*7 }} {% raise %}", "<b>&amp;</b> & <para>",
           "\x00\x07\x1b[31m", "\ud800", "\u202egnp", "<font size=900>", "a" * 3000, "%s %n {page}"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_sender_wrote_is_shown_as_text(text: str) -> None:
    made = pages(report(Section("conclusion", (Sentence(text, "person"),))))
    page = html(made).encode("utf-8", "replace").decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "49" not in page.split("<main>")[1].split("{{")[0][-200:]
    assert words(pdf(made, made_at=WHEN))


@given(st.text(max_size=300))
@settings(max_examples=40, deadline=None)
def test_any_text_makes_a_page(text: str) -> None:
    made = pages(report(Section("conclusion", (Sentence(text, "ai", text),))))
    assert pdf(made, made_at=WHEN).startswith(b"%PDF-")
    assert markup.document_fromstring(html(made).encode("utf-8", "replace")) is not None


def test_the_plain_text_of_a_draft_marks_every_ai_sentence() -> None:
    assert 2 == plain(report()).count("[IA, à valider]")
    assert "à valider" not in plain(report(state="validated"))


def test_a_fhir_report_carries_pdf_and_html_with_their_hashes() -> None:
    fields = report_fields(pages(), report())
    assert "preliminary" == fields["status"]
    assert "En faveur de : pneumonie. [IA, à valider]" == fields["conclusion"]
    assert ["application/pdf", "text/html"] == [one["contentType"] for one in fields["presentedForm"]]
    for one in fields["presentedForm"]:
        data = base64.b64decode(one["data"])
        assert (len(data), hashlib.sha1(data).digest()) == (one["size"], base64.b64decode(one["hash"]))
        assert "PROJET" in one["title"]


def test_only_a_validated_report_is_final() -> None:
    final = report(state="validated")
    made = pages(final, professional=READER, validated_at=WHEN)
    assert "final" == report_fields(made, final)["status"]
    assert "PROJET" not in presented_form(made, final)[0]["title"]


def test_an_english_report_is_english_throughout() -> None:
    [page] = words(pdf(pages(replace(report(), language="en")), made_at=WHEN))
    for expected in ("DRAFT – not validated", "Imaging report", "Born on 28 Feb 2023", "Page 1 of 1", "AI, to be validated"):
        assert expected in page


def test_the_result_of_a_worker_travels_with_the_pages_of_its_draft(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "image_classification"))
    one = told(model, [hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))])
    first, second = presented_of(one, accept="test"), presented_of(one, accept="test")
    assert first == second
    [page] = words(base64.b64decode(first[0]["data"]))
    assert "Modèle tiny_chest-1.0.0, signe pneumonia, probabilité calibrée" in page
    assert "PROJET – non validé" in page
    assert presented_of(not_assessed(radiograph_dataset()), accept="test")


def test_signs_that_turn_the_direction_of_reading_are_left_out() -> None:
    dataset = hospital(radiograph_dataset(PatientName="A\u202eB^C", StudyDescription="x\u202ey"))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    made = printed(report(), study_of("1.2.3", [dataset], [1]))
    assert "\u202e" not in html(made)
