"""Pictures: every kind of result has one, in both languages, with the title that a professional must confirm it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from models.explain import picture
from models.explain.picture import WORDS, draw, radiograph_png, risk_png, slices_png
from models.model import Model
from models.prediction import Prediction, Reason
from models.read_dicom import read_dicom
from models.volume import Volume
from tests.make import dicom_bytes, icu_record, mr_series, radiograph_dataset, radiograph_pixels, tiny_release


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("releases")
    return {task: Model(tiny_release(folder, task)) for task in ("image_classification", "volume_segmentation", "risk")}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect every text that is drawn."""
    texts: list[str] = []
    finish = picture._png

    def spy(figure: picture.Figure, *, dark: bool = False) -> bytes:
        texts.extend(t.get_text() for t in figure.findobj(lambda artist: isinstance(artist, Text)))
        return finish(figure, dark=dark)

    monkeypatch.setattr(picture, "_png", spy)
    return texts


def radiograph(**changes: object) -> Volume:
    return read_dicom([dicom_bytes(radiograph_dataset(radiograph_pixels(300, 240, pneumonia=True), **changes))])


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def coloured(image: np.ndarray) -> int:
    """Count pixels that are clearly not grey."""
    return int((image.max(axis=2) - image.min(axis=2) > 60).sum())


@pytest.mark.parametrize("language", ["en", "fr"])
def test_radiograph_has_original_map_figures_and_title(
    models: dict[str, Model], written: list[str], language: str
) -> None:
    source = radiograph()
    png = radiograph_png(source, models["image_classification"].predict(source), language=language)
    assert coloured(pixels(png)) > 500
    text = "\n".join(written)
    assert "Aide à la décision — résultat d'IA à confirmer par un professionnel" in text
    assert "Decision support — AI result, to be confirmed by a professional" in text
    assert ("Pneumonie\u00a0: 0,7" if language == "fr" else "Pneumonia: 0.7") in text
    assert models["image_classification"].manifest.explains.note_fr[:20] in text or language == "en"


def test_below_the_threshold_the_picture_says_that_normal_is_not_meant(
    models: dict[str, Model], written: list[str]
) -> None:
    source = read_dicom([dicom_bytes(radiograph_dataset())])
    png = radiograph_png(source, models["image_classification"].predict(source), language="en")
    assert coloured(pixels(png)) == 0
    assert WORDS["no_map"]["en"] in written


def test_slices_show_contours_of_both_labels(models: dict[str, Model], written: list[str]) -> None:
    source = read_dicom([dicom_bytes(dataset) for dataset in mr_series()])
    png = slices_png(source, models["volume_segmentation"].predict(source), language="en")
    assert coloured(pixels(png)) > 200
    assert {"Anterior part: 0.30 mL", "Posterior part: 0.36 mL"} <= set(written)


def test_an_empty_mask_is_said_in_words(models: dict[str, Model], written: list[str]) -> None:
    cube = np.full((12, 24, 20), 40, np.int16)
    cube[0, 0, 0] = 75  # not constant, and still background
    cube[:, ::2] += 5
    source = read_dicom([dicom_bytes(dataset) for dataset in mr_series(cube)])
    slices_png(source, models["volume_segmentation"].predict(source), language="fr")
    assert WORDS["no_voxel"]["fr"] in written


def test_risk_shows_parts_with_value_range_and_direction(models: dict[str, Model], written: list[str]) -> None:
    result = models["risk"].predict(icu_record(age_years=80, gcs=None, creatinine_mg_dl=3.1))
    png = risk_png(result, language="fr")
    assert pixels(png).shape[1] > 600
    assert "Créatinine, dernière\n3,1 mg/dL (réf. 0,6–1,2), élevé" in written
    assert "Âge\n80 ans" in written
    assert "Glasgow, minimum\nnon mesuré" in written
    assert [text for text in written if text.startswith("▲ cotes × ")]


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_refusal_is_a_picture_too(models: dict[str, Model], written: list[str], language: str) -> None:
    source = radiograph(Modality="MG")
    for png in (
        radiograph_png(source, models["image_classification"].predict(source), language=language),
        slices_png(source, models["volume_segmentation"].predict(source), language=language),
        risk_png(models["risk"].predict(source), language=language),
    ):
        assert pixels(png).shape[0] > 400
    text = " ".join(" ".join(written).split())
    assert WORDS["not_given"][language] in text
    assert WORDS["reasons"]["wrong_modality"][language] in text


def test_draw_chooses_the_picture_by_the_result(models: dict[str, Model]) -> None:
    image, volume = radiograph(), read_dicom([dicom_bytes(dataset) for dataset in mr_series()])
    drawn = [
        draw(models["image_classification"].predict(image), image),
        draw(models["image_classification"].predict(volume), volume),
        draw(models["volume_segmentation"].predict(volume), volume),
        draw(models["risk"].predict(icu_record())),
    ]
    assert all(png.startswith(b"\x89PNG") for png in drawn)


def test_no_picture_repeats_a_patients_name(models: dict[str, Model], written: list[str]) -> None:
    source = radiograph()
    png = radiograph_png(source, models["image_classification"].predict(source))
    assert "CANARI" not in "".join(written)
    assert b"CANARI" not in png


def test_every_reason_has_its_words_in_both_languages() -> None:
    words = json.loads((Path(picture.__file__).parents[1] / "tables/words.json").read_text("utf-8"))
    assert set(words["reasons"]) == {str(reason) for reason in Reason}
    assert all(set(entry) == {"en", "fr"} for entry in words["reasons"].values())


def test_a_dark_picture_is_light_on_black_and_says_the_same(models: dict[str, Model], written: list[str]) -> None:
    source = radiograph()
    result = models["image_classification"].predict(source)
    light = draw(result, source, language="en")
    said = list(written)
    written.clear()
    dark = draw(result, source, language="en", dark=True)
    assert written == said
    assert [pixels(png)[2, 2].tolist() for png in (light, dark)] == [[255] * 3, [0] * 3]


def test_a_large_radiograph_is_drawn_small_with_its_proportions_and_its_map(models: dict[str, Model]) -> None:
    small = radiograph_dataset(radiograph_pixels(300, 240, pneumonia=True))
    large = radiograph_dataset(radiograph_pixels(3000, 2400, pneumonia=True), ImagerPixelSpacing=[0.05, 0.05])
    drawn = []
    for dataset in (small, large):
        source = read_dicom([dicom_bytes(dataset)])
        drawn.append(pixels(draw(models["image_classification"].predict(source), source, language="en")))
    assert drawn[0].shape == drawn[1].shape
    assert abs(coloured(drawn[0]) - coloured(drawn[1])) < 0.2 * coloured(drawn[0])


def test_of_many_maps_the_two_furthest_above_their_thresholds_are_drawn(models: dict[str, Model]) -> None:
    model = models["image_classification"]
    found = model.predict(read_dicom([dicom_bytes(radiograph_dataset(radiograph_pixels(pneumonia=True)))]))
    assert isinstance(found, Prediction)
    one, heat = found.findings[0], found.explanation.heatmaps[0]
    values = {"a": 0.55, "b": 0.9, "c": 0.7}
    many = replace(
        found, findings=tuple(replace(one, name=name, value=value, threshold=0.5) for name, value in values.items()),
        explanation=replace(found.explanation, heatmaps=tuple(replace(heat, finding=name) for name in "abc")),
    )
    assert ["b", "c"] == [each.finding for each in picture._clearest(many)]
