"""The pages of models say first what a model must not be used for; those of a result, what made it, and it can be made again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.access.caller import Caller
from service.review.targets import key_of
from service.store import entries
from service.store.reports import cases_of
from tests.service.review.paper_house import READER, Paper

ENGINEER = Caller("oidc:test:4", name="Alix Essai", roles=frozenset({"engineer"}))
ADMINISTRATOR = Caller("oidc:test:5", name="Sacha Essai", roles=frozenset({"administrator"}))


def about(paper: Paper, study: str) -> str:
    return f"/review/results/{paper.result_of(study)}"


def test_a_model_is_shown_with_what_it_must_not_be_used_for_before_its_figures(paper: Paper) -> None:
    html = paper.get("/review/models/tiny_chest-1.0.0").text
    manifest = paper.house.scoring.shelf.get("tiny_chest").manifest
    assert html.index(manifest.intended_use.must_not[0]) < html.index(manifest.intended_use.limits[0])
    assert html.index("Must not be used so") < html.index("What it is for")
    assert "Nobody has given a verdict" in html


def test_who_may_see_one_model_sees_one(paper: Paper) -> None:
    one = replace(ENGINEER, models=frozenset({"tiny_chest"}), grants=())
    assert "tiny_chest-1.0.0" in (html := paper.get("/review/models", as_=one).text)
    assert "tiny_risk" not in html
    assert 404 == paper.get("/review/models/tiny_risk-1.0.0", as_=one).status_code
    assert 404 == paper.get("/review/models/none-such").status_code


def test_a_result_states_every_hash_that_made_it_and_that_they_are_those_installed(paper: Paper, study: str) -> None:
    html = paper.get(f"{about(paper, study)}/about").text
    model = paper.house.scoring.shelf.get("tiny_chest")
    for sha256 in (model.identity.manifest_sha256, model.identity.onnx_sha256):
        assert sha256 in html
    assert 2 == html.count("as installed")
    assert "the image came" in html
    assert "CANARI" not in html


def test_replay_gives_the_same_number_and_is_audited(paper: Paper, study: str) -> None:
    answer = paper.post(f"{about(paper, study)}/replay", {})
    assert "The same number" in answer.text
    assert "both hashes are those of the result" in answer.text
    assert "0.0e+00" in answer.text
    assert ("replay", "success") in paper.actions()
    assert "replayed it" in paper.get(f"{about(paper, study)}/about").text


def test_an_image_that_is_gone_cannot_be_replayed_and_the_page_says_so(paper: Paper, study: str) -> None:
    entry = entries.by_key(paper.house.store, study)
    assert entry is not None
    images, _ = cases_of(paper.house.store, entry.target)
    paper.house.store.objects.delete([images[0].sha256])
    answer = paper.post(f"{about(paper, study)}/replay", {})
    assert (200, True) == (answer.status_code, "The stored input is not here any more" in answer.text)
    assert ("replay", "failed") in paper.actions()


def test_another_number_is_told_as_such(paper: Paper, study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = paper.house.scoring.shelf.get("tiny_chest")
    monkeypatch.setattr(model, "predict", lambda _, predict=model.predict: _moved(predict(_)))
    answer = paper.post(f"{about(paper, study)}/replay", {})
    assert "Not the same" in answer.text


def _moved(result):  # type: ignore[no-untyped-def]
    return replace(result, findings=tuple(replace(one, value=one.value / 2) for one in result.findings))


def test_an_engineer_replays_without_learning_who_looked(paper: Paper, study: str) -> None:
    paper.get(f"{about(paper, study)}/about")
    html = paper.get(f"{about(paper, study)}/about", as_=ENGINEER).text
    assert READER.name not in html
    assert "/review/studies/" not in html
    assert "The same number" in paper.post(f"{about(paper, study)}/replay", {}, as_=ENGINEER).text


def test_who_looked_is_told_to_who_may_open_the_study(paper: Paper, study: str) -> None:
    paper.get(f"/review/studies/{study}/report")
    paper.house.audit.flush()
    assert READER.name in paper.get(f"{about(paper, study)}/about").text


@pytest.mark.parametrize("who", [ADMINISTRATOR, replace(READER, departments=frozenset({"Cardiology"}), grants=())])
def test_a_result_that_is_not_theirs_does_not_exist_for_them(paper: Paper, study: str, who: Caller) -> None:
    assert 404 == paper.get(f"{about(paper, study)}/about", as_=who).status_code
    assert 404 == paper.post(f"{about(paper, study)}/replay", {}, as_=who).status_code


def test_a_key_that_names_nothing_is_not_found(paper: Paper) -> None:
    for key in ("nothing", key_of(paper.house.store, "result", 999_999), key_of(paper.house.store, "risk", 1)):
        assert 404 == paper.get(f"/review/results/{key}/about").status_code
