"""The description of a model says what it takes, gives and must not be used for, and the card quotes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.describe import describe, main_reason
from models.manifest import read_manifest
from models.model import Model
from models.shelf import RELEASED
from models.volume import Header, Volume
from tests.make import icu_record, mr_voxels, radiograph_pixels, tiny_release

RELEASES = sorted(path for path in RELEASED.glob("*-*") if (path / "manifest.json").is_file())


@pytest.mark.parametrize("task", ["image_classification", "volume_segmentation", "risk"])
def test_everything_a_reader_must_know_is_said(tmp_path: Path, task: str) -> None:
    manifest = read_manifest(tiny_release(tmp_path, task))
    text = describe(manifest)
    for words in (
        manifest.title,
        manifest.id,
        *manifest.intended_use.must_not,
        *manifest.intended_use.limits,
        manifest.explains.note,
        manifest.intended_use.regulatory,
        *(o.label_fr for o in manifest.outputs),
        *(rule.meaning for rule in manifest.refuses.ood),
        *manifest.training_data.cautions,
    ):
        assert words in text


def test_a_risk_model_names_its_measurements_and_its_moment(tmp_path: Path) -> None:
    text = describe(read_manifest(tiny_release(tmp_path, "risk")))
    assert "Measurements (4), each optional: Creatinine, GCS, HR, age_years" in text
    assert "up to 48 h after the start of the record" in text
    assert "Age: 16 or more years" in text


def test_limits_read_as_a_person_would_say_them(tmp_path: Path) -> None:
    text = describe(
        read_manifest(
            tiny_release(
                tmp_path,
                "volume_segmentation",
                accepts={
                    "slices": {"low": 5, "high": 5},
                    "age_years": {"high": 90},
                    "spacing_mm": {"low": 0.5, "high": 2},
                },
            )
        )
    )
    assert "Slices: 5\n" in text
    assert "Age: up to 90 years" in text
    assert "Voxel spacing: 0.5 to 2 mm" in text


def test_the_card_of_every_release_quotes_the_description() -> None:
    silent = [
        folder.name
        for folder in RELEASES
        if describe(read_manifest(folder)).strip() not in (folder / "CARD.md").read_text("utf-8")
    ]
    assert silent == []


def test_main_reason_is_a_few_words(tmp_path: Path) -> None:
    child = Header(modality="DX", body_part="CHEST", view="AP", age_years=3.0)
    images = [
        Volume(radiograph_pixels(pneumonia=ill).astype("float32")[None], units="display", header=child)
        for ill in (True, False)
    ]
    chest, risk = (Model(tiny_release(tmp_path, task)) for task in ("image_classification", "risk"))
    brain = Model(tiny_release(tmp_path, "volume_segmentation"))
    volume = Volume(mr_voxels().astype("float32"), header=Header(modality="MR"), spacing_known=True)
    assert [
        main_reason(chest.predict(images[0])),
        main_reason(chest.predict(images[1])),
        main_reason(brain.predict(volume)),
        main_reason(risk.predict(icu_record(gcs=3))),
    ] == [
        "heat map of pneumonia",
        "below the threshold: no map",
        "mask of anterior, posterior",
        "Glasgow score, lowest: odds x 9.3",
    ]
