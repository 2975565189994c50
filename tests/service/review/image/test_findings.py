"""What a page says of a result: certainty in words and numbers, what is unsure, what was refused, and never more."""

from __future__ import annotations

from typing import Any

import pytest

from models.manifest import Manifest, read_manifest
from service.review.image.findings import in_a_hundred, is_near, said_by
from service.store.studies import HeldResult
from tests.make import tiny_release


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    folder = tmp_path_factory.mktemp("said")
    made = [read_manifest(tiny_release(folder, task)) for task in ("image_classification", "volume_segmentation")]
    return {one.id: one for one in made}


def finding(value: float, **changes: Any) -> dict[str, Any]:
    return {"name": "pneumonia", "label": "Pneumonia", "label_fr": "Pneumonie", "kind": "probability", "unit": "1", "value": value,
            "threshold": 0.5, "above_threshold": value >= 0.5, **changes}


def result(status: str = "scored", model: str = "tiny_chest-1.0.0", **summary: Any) -> HeldResult:
    return HeldResult(1, model, status, "", summary, 0.0, ())


def test_a_probability_is_said_in_numbers_in_words_and_as_people(manifests: dict[str, Manifest]) -> None:
    (one, *_) = said_by(result(findings=[finding(0.83)]), manifests, "en").scored
    assert (one.shown, one.words, one.above) == ("83%", "likely", True)
    assert one.of_hundred == "Of 100 patients scored like this, about 83 have it."
    assert one.against == "above its threshold of 50%"


@pytest.mark.parametrize(("share", "shown"), [(0.0001, "below 1%"), (0.9999, "above 99%")])
def test_no_figure_pretends_to_certainty(manifests: dict[str, Manifest], share: float, shown: str) -> None:
    (one, *_) = said_by(result(findings=[finding(share)]), manifests, "en").scored
    assert one.shown == shown
    assert in_a_hundred(share, "en").startswith("Of 100 patients scored like this, ")
    assert " 0 " not in in_a_hundred(share, "en")
    assert " 100 have" not in in_a_hundred(share, "en")


def test_two_figures_on_two_sides_of_a_threshold_never_read_alike(manifests: dict[str, Manifest]) -> None:
    (one, *_) = said_by(result(findings=[finding(0.504)]), manifests, "en").scored
    assert (one.shown, one.against) == ("50.4%", "above its threshold of 50.0%")


def test_below_the_threshold_it_is_said_not_to_be_ruled_out(manifests: dict[str, Manifest]) -> None:
    said = said_by(result(findings=[finding(0.05)]), manifests, "en")
    assert "does not rule it out" in said.scored[0].against
    assert said.is_clear


@pytest.mark.parametrize(("value", "near"), [(0.5, True), (0.62, True), (0.4, True), (0.7, False), (0.2, False)])
def test_near_its_threshold_a_score_is_called_unsure(manifests: dict[str, Manifest], value: float, near: bool) -> None:
    assert is_near(value, 0.5) is near
    said = said_by(result(findings=[finding(value)]), manifests, "en").unsure
    assert bool(said) is near


def test_an_image_unlike_what_was_learnt_is_called_unsure(manifests: dict[str, Manifest]) -> None:
    assert not said_by(result(findings=[finding(0.9)], quality={"one": 0.5}), manifests, "en").unsure
    (words,) = said_by(result(findings=[finding(0.9)], quality={"one": 0.5, "other": 0.93}), manifests, "en").unsure
    assert "93%" in words


def test_a_volume_is_said_in_both_units(manifests: dict[str, Manifest]) -> None:
    volume = finding(1.8, name="anterior", label="Anterior", kind="volume", unit="mL", threshold=None, above_threshold=None)
    (one,) = said_by(result(model="tiny_hippocampus-1.0.0", findings=[volume]), manifests, "en").measured
    assert (one.amount, one.other) == ("1.80\u00a0mL", "1,800\u00a0mm³")


def test_what_was_not_given_is_said_with_what_it_depends_on(manifests: dict[str, Manifest]) -> None:
    said = said_by(result(findings=[finding(0.05)]), manifests, "en").absent
    assert any("not given, for pneumonia does not reach its threshold" in one for one in said)


def test_a_refusal_says_why_and_what_to_do(manifests: dict[str, Manifest]) -> None:
    told = {"reason": "wrong_age", "message": "This model takes ages from 0.5 to 10 years, found another.", "advice": "Do not."}
    (one,) = said_by(result("refused", **told), manifests, "en").declined
    assert (one.why, one.advice) == (told["message"], "Do not.")
    (french,) = said_by(result("refused", **told), manifests, "fr").declined
    assert "âge" in french.why


def test_images_that_no_model_takes_are_said_to_be_refused_by_each(manifests: dict[str, Manifest]) -> None:
    reasons = [{"model": name, "title": "", "reason": "wrong_modality", "message": "No.", "advice": ""} for name in manifests]
    said = said_by(result("unfit", "none", reasons=reasons), manifests, "en")
    assert [one.who for one in said.declined] == [one.title for one in manifests.values()]


def test_a_result_of_a_release_that_is_gone_is_still_said(manifests: dict[str, Manifest]) -> None:
    said = said_by(result(model="old_model-0.9.0", findings=[finding(0.9)]), manifests, "fr")
    assert (said.title, said.version, said.scored[0].label) == ("old model", "0.9.0", "Pneumonie")
