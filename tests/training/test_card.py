"""The card says what the manifest and the figures say, word for word, and refuses figures of another model."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.describe import describe
from models.manifest import read_manifest
from tests.make import tiny_release
from tests.training.test_report import made_figures
from training.card import card, write_card


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_release(tmp_path_factory.mktemp("card"), "image_classification")


def test_the_card_quotes_what_the_program_says_of_itself(release: Path) -> None:
    manifest = read_manifest(release)
    assert describe(manifest).strip() in card(manifest, made_figures(manifest))


def test_the_card_states_what_fell_short_before_anything_else(release: Path) -> None:
    manifest = read_manifest(release)
    text = card(manifest, made_figures(manifest))
    assert "**Fell short of its goal:** AUPRC (0.500; goal >= 0.990)." in text
    assert text.index("Fell short") < text.index("## What it is")


def test_the_card_names_limits_cautions_hashes_and_subgroups(release: Path) -> None:
    manifest = read_manifest(release)
    text = card(manifest, made_figures(manifest))
    for needed in (*manifest.intended_use.must_not, *manifest.training_data.cautions, manifest.files["model.onnx"],
                   manifest.intended_use.regulatory, "| sex | unknown | 4 |", "Not known: sex."):
        assert needed in text


def test_tables_of_the_card_are_whole(release: Path) -> None:
    manifest = read_manifest(release)
    lines = card(manifest, made_figures(manifest)).splitlines()
    for rule in [i for i, line in enumerate(lines) if line.startswith("|---")]:
        columns = lines[rule].count("|")
        end = next(i for i in range(rule, len(lines)) if not lines[i].startswith("|"))
        assert [line.count("|") for line in lines[rule - 1 : end]] == [columns] * (end - rule + 1)
        assert end > rule + 1


def test_figures_of_another_model_make_no_card(release: Path) -> None:
    manifest = read_manifest(release)
    figures = {**made_figures(manifest), "onnx_sha256": "f" * 64}
    with pytest.raises(ValueError, match="Evaluate again"):
        card(manifest, figures)


def test_the_card_is_written_beside_the_model(release: Path) -> None:
    manifest = read_manifest(release)
    write_card(release, manifest, made_figures(manifest))
    assert (release / "CARD.md").read_text(encoding="utf-8").startswith(f"# {manifest.title}")
