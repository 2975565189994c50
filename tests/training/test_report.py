"""The report is one page that needs no other file, shows every bar, and escapes what it is given."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.manifest import Manifest, read_manifest
from tests.make import tiny_release
from training import binary_outcome, report
from training.findings import Picture, bar

RNG = np.random.default_rng(2)


def made_figures(manifest: Manifest) -> dict[str, Any]:
    """Make the figures of an evaluation from synthetic scores."""
    p = RNG.random(200)
    truth = (RNG.random(200) < p).astype(float)
    patients = [f"p{i // 2}" for i in range(200)]
    found = binary_outcome.figures(truth, p, 0.5, patients, resamples=50)
    main = binary_outcome.row("population", "test", "all <b>test</b> cases", truth=truth, found=found,
                              patients=patients)
    small = binary_outcome.row("sex", "unknown", "fewer than 10 events: no figures", truth=truth[:4], found={},
                               patients=patients[:4])
    return {
        "schema_version": "1", "model": manifest.id, "title": "Test", "task": manifest.task, "quick": False,
        "created": "2026-11-21", "onnx_sha256": manifest.files["model.onnx"],
        "ran_on": {"backend": "onnxruntime", "precision": "fp32", "machine": "none", "versions": {"python": "3"}},
        "data": {"name": "none", "split": "test", "licence": "none", "sha256": "0" * 64},
        "method": {"interval": "bootstrap", "unit": "patient", "resamples": 50, "seed": 1, "ece": "15 bins",
                   "bars": "a bar is met when the value keeps it"},
        "rows": [main, small],
        "bars": [bar("AUROC", ">=", 0.5, found["auroc"]), bar("AUPRC", ">=", 0.99, {"value": 0.5})],
        "curves": binary_outcome.curves(truth, p, patients, resamples=20),
        "confusion": binary_outcome.confusion(truth, p, 0.5),
        "refusals": [{"set": name, "what": "x", "gross": True, "reasons": {"blank": 9},
                      "refused": {"value": 1.0, "low": 0.9, "high": 1.0, "n": 9}} for name in ("children", "blank")],
        "audits": {"completeness_max_error": 1e-7, "deletion": {"map": found["brier"], "met": True}},
        "references": [{"name": "older score", "n": 5, "auroc": found["auroc"]}], "rejected": [], "unknown": ["sex"],
    }


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_release(tmp_path_factory.mktemp("report"), "image_classification")


@pytest.fixture(scope="module")
def page(release: Path) -> str:
    manifest = read_manifest(release)
    image = RNG.random((40, 50)) * 255
    pictures = [Picture("Missed", "labelled <script>", image, overlay=RNG.random((40, 50))),
                Picture("Outlined", "two masks", image, outlines=(image > 200, image > 190))]
    return report.page(manifest, made_figures(manifest), pictures)


def test_the_page_loads_nothing_from_anywhere(page: str) -> None:
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)""", page) == []
    assert "@import" not in page
    assert "<script" not in page


def test_every_tag_is_closed(page: str) -> None:
    class Checker(HTMLParser):
        open_tags: list[str] = []  # noqa: RUF012  one page, one checker

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in {"meta", "br", "img"}:
                self.open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open_tags.pop() == tag

    checker = Checker()
    checker.feed(page[: page.index("<svg")])
    assert checker.open_tags[:2] == ["html", "body"]


def test_a_bar_that_was_missed_is_shown_as_missed(page: str) -> None:
    assert page.count("✗ missed") == 1
    assert page.count("✓ met") == 1


def test_charts_and_pictures_are_inside(page: str) -> None:
    assert page.count("<svg") == 6  # ROC, precision, calibration, decision, forest, refusals
    assert page.count('src="data:image/png;base64,') == 2


def test_texts_are_escaped(page: str) -> None:
    assert "labelled &lt;script&gt;" in page
    assert "<b>test</b>" not in page


def test_the_page_says_that_it_holds_real_images_only_when_it_does(release: Path) -> None:
    manifest = read_manifest(release)
    assert "real images" not in report.page(manifest, made_figures(manifest), [])


@pytest.mark.parametrize(("value", "text"), [
    (0.9654, "0.965"), (None, "–"), (0.0, "0.000"), (1e-7, "1e-07"), (12345, "12\u202f345"), (True, "True"),
    ([0.9, 1.1], "0.900 to 1.100"),
])
def test_numbers_are_written_for_a_reader(value: Any, text: str) -> None:
    assert report.number(value) == text
