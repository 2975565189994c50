"""Model: one input in, one Prediction or Refusal out, the same however it is batched or threaded."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import BrokenModel, UnusableInput
from models.explain.cam import heatmaps
from models.manifest import sha256_of
from models.model import Model
from models.prediction import Prediction, Reason, Refusal, to_json
from models.volume import Header, Volume
from tests.make import icu_record, mr_voxels, radiograph_pixels, tiny_release

CHILD = Header(modality="DX", body_part="CHEST", view="AP", age_years=3.0, source="dicom")
ADULT = Header(modality="MR", age_years=45.0, source="dicom")


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("brain"), "volume_segmentation"))


@pytest.fixture(scope="module")
def risk(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("risk"), "risk"))


def radiograph(*, pneumonia: bool = False, header: Header = CHILD, rows: int = 256) -> Volume:
    pixels = radiograph_pixels(rows, 256, pneumonia=pneumonia).astype(np.float32)
    return Volume(pixels[None], units="display", header=header)


def crop(spacing_mm: float = 1.0, *, known: bool = True) -> Volume:
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    return Volume(mr_voxels().astype(np.float32), affine, header=ADULT, spacing_known=known)


def test_radiograph_with_a_bright_patch_is_scored_positive_with_its_map(chest: Model) -> None:
    result = chest.predict(radiograph(pneumonia=True))
    assert isinstance(result, Prediction)
    assert [(f.name, f.above_threshold) for f in result.findings] == [
        ("pneumonia", True),
        ("bacterial", None),
        ("viral", None),
    ]
    assert result.main.value > 0.5
    assert [heatmap.finding for heatmap in result.explanation.heatmaps] == ["pneumonia", "bacterial"]


def test_below_the_threshold_there_is_no_map_and_no_subtype(chest: Model) -> None:
    result = chest.predict(radiograph())
    assert isinstance(result, Prediction)
    assert [f.name for f in result.findings] == ["pneumonia"]
    assert result.explanation.heatmaps == ()


def test_map_and_bias_sum_to_the_logit_of_every_finding(chest: Model) -> None:
    result = chest.predict(radiograph(pneumonia=True))
    assert isinstance(result, Prediction)
    logits = {f.name: f.logit for f in result.findings}
    for heatmap in result.explanation.heatmaps:
        parts = result.explanation.bias[heatmap.finding] + float(heatmap.values.mean(dtype=np.float64))
        assert parts == pytest.approx(logits[heatmap.finding], abs=1e-5)


def test_viral_is_the_other_side_of_bacterial(chest: Model) -> None:
    findings = {f.name: f for f in chest.predict(radiograph(pneumonia=True)).findings}
    assert findings["viral"].logit == -findings["bacterial"].logit
    assert findings["bacterial"].value + findings["viral"].value == pytest.approx(findings["pneumonia"].value, abs=1e-6)


def test_identity_names_everything_that_made_the_result(chest: Model) -> None:
    identity = chest.predict(radiograph()).identity
    assert (identity.model, identity.version, identity.precision) == ("tiny_chest", "1.0.0", "fp32")
    assert identity.manifest_sha256 == sha256_of(chest.folder / "manifest.json")
    assert identity.onnx_sha256 == sha256_of(chest.folder / "model.onnx")
    assert "CPUExecutionProvider" in identity.backend
    assert identity.software.startswith("diaphane")


def test_the_same_pixels_have_the_same_input_hash_and_others_another(chest: Model) -> None:
    hashes = [chest.predict(x).identity.input_sha256 for x in (radiograph(), radiograph(), radiograph(pneumonia=True))]
    assert hashes[0] == hashes[1] != hashes[2]


def test_volumes_are_measured_in_millilitres_on_the_slices_that_were_sent(brain: Model) -> None:
    result = brain.predict(crop())
    assert isinstance(result, Prediction)
    assert [round(f.value, 3) for f in result.findings] == [0.3, 0.36]
    labels = result.explanation.mask.labels
    expected = np.select([mr_voxels() == 200, mr_voxels() == 120], [1, 2], 0)
    assert np.array_equal(expected, labels)


def test_two_millimetre_voxels_hold_eight_times_the_volume(brain: Model) -> None:
    one, two = brain.predict(crop(1.0)), brain.predict(crop(2.0))
    assert two.findings[0].value == pytest.approx(8 * one.findings[0].value, rel=0.15)  # resampling softens the edges


def test_spacing_within_the_tolerance_of_the_resample_step_still_counts(brain: Model) -> None:
    result = brain.predict(crop(1.008))
    assert result.findings[0].value == pytest.approx(0.3 * 1.008**3, rel=1e-5)


def test_a_volume_without_spacing_is_not_measured(brain: Model) -> None:
    result = brain.predict(crop(known=False))
    assert isinstance(result, Refusal)
    assert (result.reason, "spacing" in result.message) == (Reason.WRONG_GEOMETRY, True)


def test_risk_is_the_sum_of_its_contributions(risk: Model) -> None:
    result = risk.predict(icu_record(age_years=80, heart_rate=120, gcs=6, creatinine_mg_dl=3.0))
    assert isinstance(result, Prediction)
    total = result.explanation.bias["death"] + sum(c.logit for c in result.explanation.contributions)
    assert total == pytest.approx(result.main.logit, abs=1e-5)
    assert result.main.above_threshold is True


def test_risk_reads_nothing_after_its_moment(risk: Model) -> None:
    short, long = icu_record(hours=48), icu_record(hours=49)
    assert np.array_equal(risk.prepare(short), risk.prepare(icu_record(hours=48)))
    early = risk.predict(long, moment_h=12)
    assert "other_moment_than_trained" in early.flags


def test_missing_measurements_are_shown_as_missing(risk: Model) -> None:
    result = risk.predict(icu_record(gcs=None))
    assert isinstance(result, Prediction)
    assert [c.term for c in result.explanation.contributions if c.missing] == ["gcs_lowest", "age x gcs_lowest"]


def test_too_few_measurements_are_refused_and_named(risk: Model) -> None:
    result = risk.predict(icu_record(gcs=None, creatinine_mg_dl=None))
    assert isinstance(result, Refusal)
    assert result.reason == Reason.TOO_FEW_MEASUREMENTS
    assert "GCS, Creatinine" in result.advice


def test_impossible_values_are_left_out_and_flagged(risk: Model) -> None:
    result = risk.predict(icu_record(heart_rate=5000))
    assert "impossible_value_left_out:HR" in result.flags
    assert np.isnan(risk.prepare(icu_record(heart_rate=5000))[0, 1])


def test_age_that_is_not_stated_is_a_flag_for_a_record(risk: Model) -> None:
    assert risk.predict(icu_record(age_years=None)).flags == ("age_not_stated",)


def test_image_for_a_risk_model_and_record_for_an_imaging_model_are_refused(chest: Model, risk: Model) -> None:
    assert risk.predict(radiograph()).reason == Reason.WRONG_MODALITY
    assert chest.predict(icu_record()).reason == Reason.WRONG_MODALITY


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"modality": "MG"}, Reason.WRONG_MODALITY),
        ({"body_part": "HIP"}, Reason.WRONG_BODY_PART),
        ({"view": "LL"}, Reason.WRONG_VIEW),
        ({"age_years": 40.0}, Reason.WRONG_AGE),
        ({"modality": "MG", "body_part": "HIP", "age_years": 40.0}, Reason.WRONG_MODALITY),  # the first in order counts
    ],
)
def test_a_header_that_contradicts_is_refused(chest: Model, change: dict[str, object], reason: Reason) -> None:
    result = chest.predict(radiograph(header=replace(CHILD, **change)))
    assert isinstance(result, Refusal)
    assert result.reason == reason
    assert "40" not in result.message  # an age may identify


def test_a_header_that_is_silent_is_scored_with_flags(chest: Model) -> None:
    result = chest.predict(radiograph(header=Header(source="image")))
    assert isinstance(result, Prediction)
    assert result.flags == ("modality_not_stated", "body_part_not_stated", "view_not_stated", "age_not_stated")


def test_burned_in_text_and_lossy_compression_are_flags(chest: Model) -> None:
    result = chest.predict(radiograph(header=replace(CHILD, burned_in_annotation="YES", lossy=True)))
    assert result.flags == ("burned_in_annotation", "lossy_compression")


def test_thumbnail_is_too_small(chest: Model) -> None:
    assert chest.predict(radiograph(rows=64)).reason == Reason.TOO_SMALL


def test_constant_image_is_blank(chest: Model) -> None:
    result = chest.predict(Volume(np.full((1, 256, 256), 90.0, np.float32), units="display", header=CHILD))
    assert result.reason == Reason.BLANK


def test_overexposed_image_is_clipped(chest: Model) -> None:
    pixels = np.full((1, 256, 256), 255.0, np.float32)
    pixels[:, :, :60] = np.arange(60)
    assert chest.predict(Volume(pixels, units="display", header=CHILD)).reason == Reason.CLIPPED


def test_noise_is_out_of_distribution_and_says_by_how_much(chest: Model) -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (1, 192, 192)).astype(np.float32)
    result = chest.predict(Volume(noise, units="display", header=CHILD))
    assert isinstance(result, Refusal)
    assert result.reason == Reason.OUT_OF_DISTRIBUTION
    assert result.quality["roughness"] > 1


def test_several_slices_are_not_one_radiograph(chest: Model) -> None:
    three = Volume(np.repeat(radiograph().voxels, 3, axis=0), units="display", header=CHILD)
    assert chest.predict(three).reason == Reason.WRONG_GEOMETRY
    with pytest.raises(UnusableInput, match="one slice, found 3"):
        chest.prepare(three)


def test_voxels_that_are_not_numbers_are_the_senders_error(chest: Model) -> None:
    pixels = radiograph().voxels.copy()
    pixels[0, 0, 0] = np.nan
    with pytest.raises(UnusableInput, match="finite"):
        chest.predict(Volume(pixels, units="display", header=CHILD))


def test_a_broken_sum_withholds_the_score(tmp_path: Path) -> None:
    """A wrong bias stands for a precision or machine that computes wrongly."""
    model = Model(tiny_release(tmp_path, "risk"))
    wrong = model.manifest.explains.model_copy(update={"bias": {"0": -2.5}})
    model.manifest = model.manifest.model_copy(update={"explains": wrong})
    result = model.predict(icu_record())
    assert isinstance(result, Refusal)
    assert result.reason == Reason.INCOMPLETE_EXPLANATION


def test_a_batch_gives_what_single_calls_give_in_the_same_order(chest: Model) -> None:
    inputs = [
        radiograph(),
        radiograph(rows=64),
        radiograph(pneumonia=True),
        radiograph(header=replace(CHILD, view="LL")),
    ]
    done: list[int] = []
    batched = chest.predict_many(inputs * 3, batch=5, on_done=done.append)
    singles = [chest.predict(x) for x in inputs * 3]
    assert done == [5, 10, 12]
    assert [r.status for r in batched] == [r.status for r in singles]
    for one, other in zip(singles, batched, strict=True):
        assert one.identity == other.identity
        if isinstance(one, Prediction) and isinstance(other, Prediction):
            assert [f.value for f in other.findings] == pytest.approx([f.value for f in one.findings], abs=1e-6)


def test_volumes_of_different_shapes_share_no_batch_and_keep_their_place(brain: Model) -> None:
    small, large = (
        crop(),
        Volume(np.pad(mr_voxels(), 4, constant_values=40).astype(np.float32), header=ADULT, spacing_known=True),
    )
    results = brain.predict_many([small, large, small])
    assert [r.explanation.mask.labels.shape for r in results] == [small.shape, large.shape, small.shape]


def test_eight_threads_each_get_their_own_answer(chest: Model) -> None:
    inputs = [radiograph(), radiograph(pneumonia=True)]
    expected = [chest.predict(x).main.value for x in inputs]
    found: list[tuple[int, float]] = []

    def work(k: int) -> None:
        for _ in range(5):
            found.append((k % 2, chest.predict(inputs[k % 2]).main.value))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert {(k, round(v, 6)) for k, v in found} == {(k, round(v, 6)) for k, v in enumerate(expected)}


def test_many_feature_rows_are_scored_at_once_with_their_error(risk: Model) -> None:
    rows = np.random.default_rng(0).normal(60, 20, (500, 4)).astype(np.float32)
    rows[::3, 1] = np.nan
    arrays = risk.score_features(rows)
    assert {name: array.shape for name, array in arrays.items()} == {
        "probability": (500, 1),
        "logit": (500, 1),
        "contributions": (500, 5),
        "completeness_error": (500,),
    }
    assert arrays["completeness_error"].max() < 1e-5


def test_prepare_is_exactly_what_the_graph_gets(chest: Model, brain: Model, risk: Model) -> None:
    assert [m.prepare(x).shape for m, x in ((chest, radiograph()), (brain, crop()), (risk, icu_record()))] == [
        (1, 1, 192, 192),
        (1, 1, 16, 24, 24),
        (1, 4),
    ]


def test_a_model_that_is_not_sound_does_not_open(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    (folder / "CARD.md").unlink()
    with pytest.raises(BrokenModel, match=r"needs CARD\.md"):
        Model(folder)


def test_results_become_json_with_or_without_arrays(brain: Model) -> None:
    result = brain.predict(crop())
    short, full = to_json(result), to_json(result, arrays=True)
    assert short["explanation"]["mask"]["labels"] == {"shape": [12, 24, 20]}
    assert np.array(full["explanation"]["mask"]["labels"]).shape == (12, 24, 20)
    assert short["status"] == "scored"
    assert brain.id == "tiny_volume-1.0.0"


def test_a_map_without_a_measured_place_is_not_drawn(chest: Model) -> None:
    arrays = {"map": np.zeros((2, 12, 12), np.float32)}
    explains = chest.manifest.explains.model_copy(update={"offset_px": None})
    unplaced = chest.manifest.model_copy(update={"explains": explains})
    findings = chest.predict(radiograph(pneumonia=True)).findings
    assert heatmaps(unplaced, findings, arrays["map"], (192, 192)) == ()
