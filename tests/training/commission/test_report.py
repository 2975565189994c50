"""The report: on one page, in both languages, in HTML and PDF, with the decision in words on top and nobody's name."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pypdf import PdfReader

from models.commissioned import read_commissioning, write_commissioning
from tests.make import ROOT
from tests.training.commission.made import CANARY, CHEST, CHILDREN, found_of
from training.commission import document as documents
from training.commission.document import document
from training.commission.found import Found
from training.commission.page import page
from training.commission.pdf import write_pdf
from training.commission.told import commissioning_of, limits_of
from training.commission.words import count, french, number, percent, say

SOURCES = sorted((ROOT / "training/commission").glob("*.py"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    groups = {"sex": ["F", "M"] * 350, "device": [f"Machine {i % 3}" for i in range(700)]}
    return found_of(tmp_path_factory.mktemp("report"), CHEST, n=700, refused=40, level=1.5, attributes=CHILDREN, groups=groups)


@pytest.fixture(scope="module")
def html(found: Found) -> str:
    return page(document(found, commissioning_of(found), "en", "<b>Test</b> Hospital"))


def test_the_decision_and_its_reasons_stand_on_top(found: Found, html: str) -> None:
    told = commissioning_of(found)
    assert html.index(documents.DECIDED[told.decision]) < html.index("What was required and what was seen")
    assert all(html.index(reason.split(":")[0]) < html.index("What was required") for reason in told.reasons)


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(html: str) -> None:
    assert "<script" not in html
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]+\"", html)
    assert html.count("<svg") >= 5


def test_a_site_name_is_text_and_no_markup(html: str) -> None:
    assert "at &lt;b&gt;Test&lt;/b&gt; Hospital" in html


def test_the_french_report_is_french(found: Found, tmp_path: Path) -> None:
    told = commissioning_of(found, "fr")
    html = page(document(found, told, "fr", "Hôpital d'essai"))
    assert '<html lang="fr">' in html
    assert "Ce qui était exigé et ce qui a été observé" in html
    visible = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", html, flags=re.DOTALL)
    for english in ("What was", "at least", "threshold", "Sensitivity", "refused", "Not scored", "the cases", "interval "):
        assert english not in visible, english


def test_the_pdf_holds_the_same_words(found: Found, tmp_path: Path) -> None:
    told = commissioning_of(found, "fr")
    write_pdf(tmp_path / "report.pdf", document(found, told, "fr"))
    reader = PdfReader(tmp_path / "report.pdf")
    text = " ".join("".join(one.extract_text() for one in reader.pages).split())
    assert documents.DECIDED[told.decision] not in text
    assert say("fr", documents.DECIDED[told.decision]) in text
    assert "Ce que ce rapport ne peut pas dire" in text
    assert reader.metadata is not None
    assert reader.metadata.title == say("fr", "Commissioning: {title}", title=found.manifest.title_fr)


def test_nobody_is_named_in_anything_that_is_written(found: Found, html: str, tmp_path: Path) -> None:
    told = commissioning_of(found)
    write_commissioning(tmp_path / "commissioning.json", told)
    (tmp_path / "report.html").write_text(html, "utf-8")
    hashes = {row.group for row in found.rows} | {row.case for row in found.rows}
    for path in tmp_path.iterdir():
        text = path.read_text("utf-8")
        assert CANARY not in text
        assert not any(one in text for one in hashes)  # not even a pseudonym: figures of groups alone
    assert read_commissioning(tmp_path / "commissioning.json").decision == told.decision


def test_the_finding_holds_the_reference_that_is_watched_from_now_on(found: Found) -> None:
    reference = commissioning_of(found).reference
    assert reference is not None
    assert (reference.n, reference.scored, reference.refused) == (700, 660, 40)
    assert {stream.name for stream in reference.streams} >= {"input.mean", "output.pneumonia"}


@pytest.mark.parametrize("kind", ["codes", "reports", "verdicts"])
def test_what_a_kind_of_truth_cannot_tell_is_said(found: Found, kind: str) -> None:
    other = replace(found, truth=replace(found.truth, kind=kind))  # type: ignore[arg-type]
    assert len(limits_of(other, "fr")) == len(limits_of(found, "fr")) + 1


def test_every_sentence_has_its_french_with_the_same_values_in_it() -> None:
    told = set(documents.DECIDED.values()) | set(documents.MET.values()) | set(documents.LABELS.values())
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say" and len(node.args) > 1:
                argument = node.args[1]
                if isinstance(argument, ast.Constant):
                    told.add(str(argument.value))
    assert not told - set(french())
    for english, other in french().items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", other)), english
        assert not re.search(r" [;:?!%»]|« ", other), other  # a blank that does not break


def test_numbers_are_written_as_readers_write_them() -> None:
    assert number("fr", 0.9534, 2) == "0,95"
    assert number("en", -0.0001, 2) == "0.00"
    assert percent("en", 0.9999) == ">\u202f99\u00a0%"
    assert percent("fr", 0.0004, 1) == "<\u202f0,1\u00a0%"
    assert percent("en", 1.0) == "100\u00a0%"
    assert count(12345) == "12\u202f345"
    assert number("en", None) == "–"


def test_the_words_of_the_table_are_json_that_can_be_read() -> None:
    text = (ROOT / "training/commission/words_fr.json").read_text("utf-8")
    assert len(json.loads(text)) == len(french())
