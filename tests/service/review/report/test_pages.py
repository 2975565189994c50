"""The page of a report: who wrote which sentence shows, nothing is lost when two write, and who is logged in signs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.service.review.paper import radiograph
from tests.service.review.paper_house import READER, Paper

CLINICIAN = replace(READER, subject="oidc:test:2", roles=frozenset({"clinician"}), grants=())
UNNAMED = replace(READER, subject="oidc:test:3", rpps="")


def page(key: str) -> str:
    return f"/review/studies/{key}/report"


def test_a_draft_is_marked_and_says_which_sentence_ai_proposed(paper: Paper, study: str) -> None:
    html = paper.get(page(study)).text
    assert 'class="draft-mark"' in html
    assert "AI, to be validated" in html
    assert f'/review/results/{paper.result_of(study)}/about"' in html
    assert "Nobody has changed this draft yet" in html


def test_it_is_in_french_for_who_reads_french(paper: Paper, study: str) -> None:
    assert '<html lang="fr">' in paper.get(page(study), language="fr").text


def test_what_is_written_is_saved_as_a_version_and_the_rest_keeps_its_source(paper: Paper, study: str) -> None:
    form = paper.form(page(study), action="save")
    form["s-conclusion"] = [*form["s-conclusion"], "To be seen again in a week."]
    answer = paper.post(page(study), form)
    assert (303, f"{page(study)}?said=saved") == (answer.status_code, answer.headers["location"])
    html = paper.get(answer.headers["location"]).text
    assert "A new version was saved." in html
    assert html.count('class="line person"') == 1
    assert 'class="line ai"' in html
    assert "To be seen again in a week." in html


def test_saving_what_was_not_changed_makes_no_version(paper: Paper, study: str) -> None:
    answer = paper.post(page(study), paper.form(page(study), action="save"))
    assert answer.headers["location"].endswith("said=nothing")
    assert "Nobody has changed this draft yet" in paper.get(page(study)).text


def test_a_text_of_several_lines_is_several_sentences(paper: Paper, study: str) -> None:
    form = paper.form(page(study), action="save", **{"s-conclusion": ["First.\nSecond.\r\n\n  Third.  "]})
    paper.post(page(study), form)
    assert ["First.", "Second.", "Third."] == [one for one in paper.form(page(study))["s-conclusion"] if one]


def test_who_was_overtaken_keeps_their_text_and_sees_both(paper: Paper, study: str) -> None:
    first = paper.form(page(study), action="save", **{"s-conclusion": ["Theirs."]})
    second = paper.form(page(study), action="save", **{"s-conclusion": ["Mine, in other words."]})
    paper.post(page(study), first)
    answer = paper.post(page(study), second)
    assert 412 == answer.status_code
    assert "Somebody else changed this report" in answer.text
    assert ">Mine, in other words.</textarea>" in answer.text
    assert "<del>Theirs.</del>" in answer.text
    again = paper.post(page(study), {**second, "etag": paper.form(page(study))["etag"]})
    assert 303 == again.status_code


def test_the_one_who_is_logged_in_signs_with_what_they_wrote(paper: Paper, study: str) -> None:
    form = paper.form(page(study), action="sign", **{"s-conclusion": ["Right basal pneumonia."]})
    form["family"], form["rpps"] = "ANOTHER", "99900000009"  # what a form says of a person counts for nothing
    assert paper.post(page(study), form).headers["location"].endswith("said=signed")
    html = paper.get(page(study)).text
    assert "RPPS 99700000001" in html
    assert "ANOTHER" not in html
    assert "draft-mark" not in html
    assert "<textarea" not in html
    assert ("validate", "success") in paper.actions()
    assert ("validated", False) == paper.state(study)
    assert "<textarea" in paper.get(f"{page(study)}?edit=1").text


@pytest.mark.parametrize(("who", "status"), [(CLINICIAN, 404), (UNNAMED, 403)])
def test_without_the_role_or_a_number_nobody_signs(paper: Paper, study: str, who: Any, status: int) -> None:
    form = paper.form(page(study), action="sign")
    assert status == paper.post(page(study), form, as_=who).status_code
    assert "Nobody has changed this draft yet" in paper.get(page(study)).text


def test_a_report_without_a_conclusion_is_not_signed(paper: Paper, study: str) -> None:
    answer = paper.post(page(study), paper.form(page(study), action="sign", **{"s-conclusion": [""]}))
    assert 422 == answer.status_code
    assert "This report was not saved." in answer.text


def test_a_department_that_is_not_theirs_does_not_exist_for_them(paper: Paper, study: str) -> None:
    other = replace(READER, departments=frozenset({"Cardiology"}), grants=())
    for path in (page(study), f"{page(study)}/file/pdf", f"{page(study)}/versions/1"):
        answer = paper.get(path, as_=other)
        assert 404 == answer.status_code
        assert "CANARI" not in answer.text


def test_a_model_that_is_not_theirs_hides_the_report_of_its_results(paper: Paper) -> None:
    key = paper.arrive(radiograph(), models=("tiny_chest-1.0.0",))
    other = replace(READER, models=frozenset({"hippocampus_mr"}), grants=())
    assert 404 == paper.get(page(key), as_=other).status_code
    assert 200 == paper.get(page(key)).status_code


@pytest.mark.parametrize(("kind", "media_type", "start"), [
    ("pdf", "application/pdf", b"%PDF-"), ("html", "text/html; charset=utf-8", b"<!doctype html>"),
    ("dicom", "application/dicom", b"\0" * 128 + b"DICM"),
])
def test_a_file_is_named_for_what_it_is_and_says_that_it_is_a_draft(
    paper: Paper, study: str, kind: str, media_type: str, start: bytes,
) -> None:
    answer = paper.get(f"{page(study)}/file/{kind}")
    assert (200, media_type) == (answer.status_code, answer.headers["content-type"])
    assert answer.content.startswith(start)
    assert "report-v0-draft." in answer.headers["content-disposition"]
    assert "CANARI" not in answer.headers["content-disposition"]
    assert ("export", "success") in paper.actions()


def test_a_draft_is_no_document(paper: Paper, study: str) -> None:
    assert 409 == paper.get(f"{page(study)}/file/cda").status_code
    assert 404 == paper.get(f"{page(study)}/file/docx").status_code


def test_a_version_shows_what_it_changed(paper: Paper, study: str) -> None:
    form = paper.form(page(study), action="save")
    form["s-conclusion"] = ["Left basal pneumonia, to be followed up."]
    paper.post(page(study), form)
    html = paper.get(f"{page(study)}/versions/2").text
    assert "<ins>Left basal pneumonia, to be followed up.</ins>" in html
    assert "<del>" in html
    assert "The words are the same." in paper.get(f"{page(study)}/versions/2?against=2").text
    assert 404 == paper.get(f"{page(study)}/versions/7").status_code


def test_words_of_a_person_are_shown_and_not_run(paper: Paper, study: str) -> None:
    paper.post(page(study), paper.form(page(study), action="save", **{"s-conclusion": ["</textarea><script>alert(1)</script>"]}))
    for path in (page(study), f"{page(study)}/versions/2", f"{page(study)}/file/html"):
        assert "<script>alert" not in paper.get(path).text


@pytest.mark.parametrize("form", [{"action": "erase"}, {}, {"action": "save", "s-results": ["x" * 3000]},
                                  {"action": "save", "s-results": ["x."] * 300}])
def test_what_no_page_sends_is_refused(paper: Paper, study: str, form: dict[str, Any]) -> None:
    assert paper.post(page(study), form).status_code in (400, 422)
    assert "Nobody has changed this draft yet" in paper.get(page(study)).text
