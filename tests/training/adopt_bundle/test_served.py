"""An adopted bundle is served like any other release: declined with reasons, drawn on the slices, written as DICOM SEG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import segread

from models.check import check_model
from models.describe import describe
from models.errors import UnusableInput
from models.explain.picture import draw
from models.model import Model
from models.prediction import Prediction, Reason, Refusal
from models.read_dicom import read_dicom
from models.volume import Header, Volume
from service.dicom.write import write
from tests.service.dicom.tell import told_of_files
from tests.service.house import build
from tests.training.adopt_bundle.bundles import METADATA, before, changed, make_bundle
from tests.training.adopt_bundle.test_adopted_like_monai import ct_series
from training.adopt_bundle.adopt import adopt
from training.adopt_bundle.description import Description


@pytest.fixture(scope="module")
def spleen(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("adopted")
    return Model(adopt(make_bundle(folder / "bundle"), Description(), folder / "shelf").folder)


def test_the_outline_is_written_on_the_slices_it_was_found_on(spleen: Model) -> None:
    told = told_of_files(spleen, ct_series(), writes=["seg"])
    written = next(one for one in write(told) if one.kind == "seg")
    assert isinstance(told.result, Prediction)
    assert told.result.explanation.mask is not None
    assert told.volume is not None
    mask = told.result.explanation.mask.labels
    seg = segread(io.BytesIO(written.data))
    planes = seg.get_pixels_by_source_instance(list(told.volume.sop_uids), combine_segments=True)
    assert (planes == mask).all()
    assert mask.any()
    description = seg.get_segment_description(1)
    assert description.segmented_property_type.meaning == "Spleen"
    assert description.algorithm_identification.name == spleen.manifest.name


def test_the_volume_is_that_of_the_voxels_outlined(spleen: Model) -> None:
    source = read_dicom(ct_series())
    result = spleen.predict(source)
    assert isinstance(result, Prediction)
    assert result.explanation.mask is not None
    assert result.findings[0].value == pytest.approx((result.explanation.mask.labels == 1).sum() * 2.5 * 0.9 * 0.8 / 1000, rel=1e-6)
    assert result.explanation.mask.labels.shape == source.shape


def test_several_series_of_one_shape_are_outlined_each_on_its_own_grid(spleen: Model) -> None:
    one, other = read_dicom(ct_series()), read_dicom(ct_series(seed=9))
    together = spleen.predict_many([one, other])
    for source, result in zip((one, other), together, strict=True):
        alone = spleen.predict(source)
        assert isinstance(result, Prediction)
        assert isinstance(alone, Prediction)
        assert result.explanation.mask is not None
        assert alone.explanation.mask is not None
        assert (result.explanation.mask.labels == alone.explanation.mask.labels).all()


def test_another_modality_and_a_single_slice_are_declined(spleen: Model) -> None:
    wrong = spleen.predict(read_dicom(ct_series(Modality="MR")))
    assert isinstance(wrong, Refusal)
    assert wrong.reason == Reason.WRONG_MODALITY
    single = spleen.predict(Volume(np.ones((1, 40, 40), np.float32), header=Header(modality="CT"), spacing_known=True))
    assert isinstance(single, Refusal)
    assert single.reason == Reason.WRONG_GEOMETRY


def test_scores_that_are_no_numbers_are_declined_and_not_drawn(spleen: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    run = spleen.session.run
    monkeypatch.setattr(spleen.session, "run", lambda batch, roles: {k: v * np.nan for k, v in run(batch, roles).items()})
    result = spleen.predict(read_dicom(ct_series()))
    assert isinstance(result, Refusal)
    assert result.reason == Reason.INCOMPLETE_EXPLANATION


def test_a_volume_with_nothing_to_cut_to_is_refused_in_words(tmp_path: Path) -> None:
    config = changed(preprocessing=before({"_target_": "CropForegroundd", "keys": "image", "source_key": "image",
                                           "select_fn": "$lambda x: x > 5"}))
    model = Model(adopt(make_bundle(tmp_path / "bundle", config=config, metadata=METADATA), Description(), tmp_path / "shelf").folder)
    with pytest.raises(UnusableInput, match="must hold values above 5"):
        model.predict(read_dicom(ct_series()))


def test_it_describes_its_window_passes_the_check_and_can_be_pictured(spleen: Model) -> None:
    assert "Scores windows of 16 x 32 x 24 voxels (z, y, x), overlapping by 50% x 50% x 50%" in describe(spleen.manifest)
    assert describe(spleen.manifest).strip() in (spleen.folder / "CARD.md").read_text(encoding="utf-8")
    assert any("golden inputs reproduce" in line for line in check_model(spleen))
    source = read_dicom(ct_series())
    assert draw(spleen.predict(source), source).startswith(b"\x89PNG")


def test_the_service_answers_with_the_volume(spleen: Model) -> None:
    files = [("file", (f"{i}.dcm", data, "application/dicom")) for i, data in enumerate(ct_series())]
    house = build(spleen.folder.parent)
    try:
        answer = house.client.post("/v1/images", files=files)
        assert answer.status_code == 200, answer.text
        (series,) = answer.json()["series"]
        (found,) = series["results"]
        alone = spleen.predict(read_dicom(ct_series()))
        assert isinstance(alone, Prediction)
        assert found["model"] == spleen.manifest.name
        assert found["findings"][0]["value"] == pytest.approx(alone.findings[0].value, rel=1e-6)
    finally:
        house.scoring.stop()
