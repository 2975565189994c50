"""Reports hold what the model said, in codes, with what is needed to make it again; or why nothing was said."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from highdicom.sr import CodedConcept, srread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from models.explain.cam import peak
from models.model import Model
from models.prediction import Prediction
from service.dicom.told import Decline, Told, Written
from service.dicom.write import write
from tests.make import mr_series, radiograph_dataset, radiograph_pixels, read_back, tiny_release
from tests.service.dicom.tell import FRENCH, enhanced, not_assessed, told

AGAINST = CodedConcept("threshold-result", "99DIAPHANE", "any")
MEANING = CodedConcept("region-meaning", "99DIAPHANE", "any")
ENGLISH = FRENCH.model_copy(update={"language": "en"})


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("volumes"), "volume_segmentation"))


@pytest.fixture(scope="module")
def ill(chest: Model) -> Told:
    return told(chest, [radiograph_dataset(radiograph_pixels(rows=300, columns=260, pneumonia=True))], device=ENGLISH)


@pytest.fixture(scope="module")
def objects(ill: Told) -> dict[str, Written]:
    return {one.kind if one.kind != "map" else f"map {one.part}": one for one in write(ill)}


def _groups(one: Written) -> list[Any]:
    return list(srread(io.BytesIO(one.data)).content.get_image_measurement_groups())


def _zones(one: Written) -> list[Any]:
    return list(srread(io.BytesIO(one.data)).content.get_planar_roi_measurement_groups())


def _items(dataset: Dataset, meaning: str) -> list[Dataset]:
    """Find content items anywhere by the meaning of their name."""
    found = []
    for item in dataset.get("ContentSequence", []):
        if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeMeaning == meaning:
            found.append(item)
        found += _items(item, meaning)
    return found


def test_a_report_is_preliminary_and_unverified(objects: dict[str, Written]) -> None:
    for kind in ("sr", "sr-roi"):
        made = read_back(objects[kind].data)
        assert ("COMPLETE", "PRELIMINARY", "UNVERIFIED", "1500") == (
            made.CompletionFlag, made.PreliminaryFlag, made.VerificationFlag,
            made.ContentTemplateSequence[0].TemplateIdentifier,
        )


def test_every_finding_has_its_code_and_certainty_in_percent(objects: dict[str, Written], ill: Told) -> None:
    assert isinstance(ill.result, Prediction)
    read = [(g.finding_type.value, g.get_measurements()[0].value, g.get_measurements()[0].unit.value) for g in _groups(objects["sr"])]
    assert [(f.code.code, pytest.approx(100 * f.value, abs=0.006), "%") for f in ill.result.findings] == read
    assert codes.DCM.CertaintyOfFinding == _groups(objects["sr"])[0].get_measurements()[0].name


def test_only_a_finding_with_a_threshold_is_put_against_it(objects: dict[str, Written]) -> None:
    against = [[one.value.value for one in g.get_qualitative_evaluations(AGAINST)] for g in _groups(objects["sr"])]
    assert [["above-threshold"], [], []] == against


def test_a_score_below_its_threshold_says_so_and_has_no_zone(chest: Model) -> None:
    written = write(told(chest, [radiograph_dataset()], writes=["sr", "map"]))
    assert ["sr"] == [one.kind for one in written]
    assert "below-threshold" == _groups(written[0])[0].get_qualitative_evaluations(AGAINST)[0].value.value


def test_the_algorithm_can_be_found_again(objects: dict[str, Written], ill: Told) -> None:
    assert isinstance(ill.result, Prediction)
    made, identity = read_back(objects["sr"].data), ill.result.identity
    assert ("tiny_chest", "1.0.0") == (_items(made, "Algorithm Name")[0].TextValue, _items(made, "Algorithm Version")[0].TextValue)
    assert "123110" == _items(made, "Algorithm Family")[0].ConceptCodeSequence[0].CodeValue
    said = [item.TextValue for item in _items(made, "Algorithm Parameters")[:6]]
    assert [
        "threshold=0.5", f"manifest sha256={identity.manifest_sha256}", f"onnx sha256={identity.onnx_sha256}",
        f"input sha256={identity.input_sha256}", f"backend={identity.backend}", "precision=fp32",
    ] == said


def test_the_explanation_is_bound_with_its_method(objects: dict[str, Written], ill: Told) -> None:
    for kind in ("sr", "sr-roi"):
        made = read_back(objects[kind].data)
        group = _items(made, "Measurement Group")[0]
        bound = _items(group, "Visual explanation")
        assert [objects["map pneumonia"].sop_uid, objects["capture"].sop_uid] == [
            item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in bound
        ]
        methods = [item.ContentSequence[0].ConceptCodeSequence[0] for item in bound]
        assert {("130402", "DCM")} == {(one.CodeValue, one.CodingSchemeDesignator) for one in methods}
        evidence = {i.ReferencedSOPInstanceUID for s in made.CurrentRequestedProcedureEvidenceSequence
                    for series in s.ReferencedSeriesSequence for i in series.ReferencedSOPSequence}
        source = ill.sources[0].SOPInstanceUID
        assert {objects["map pneumonia"].sop_uid, objects["capture"].sop_uid, source} <= evidence


def test_the_zone_goes_around_the_peak_in_pixels_of_the_source(objects: dict[str, Written], ill: Told) -> None:
    assert isinstance(ill.result, Prediction)
    assert ill.volume is not None
    row, column = peak(ill.result.explanation.heatmaps[0], ill.volume)
    points = _zones(objects["sr-roi"])[0].roi.value
    assert (points[0] == points[-1]).all()
    assert points[:, 0].min() < column < points[:, 0].max()
    assert points[:, 1].min() < row < points[:, 1].max()
    centre = (np.ptp(points[:, 0]) / 2 + points[:, 0].min(), np.ptp(points[:, 1]) / 2 + points[:, 1].min())
    assert (pytest.approx(0.3 * 260, abs=15), pytest.approx(0.6 * 300, abs=15)) == centre  # where the patch was drawn


def test_a_zone_says_that_it_outlines_no_lesion(objects: dict[str, Written]) -> None:
    said = _zones(objects["sr-roi"])[0].get_qualitative_evaluations(MEANING)[0]
    assert ("zone-of-influence", "Zone that weighed most; not an outline of the lesion") == (said.value.value, said.value.meaning)


def test_the_notice_and_the_limits_are_in_the_language_of_the_site(chest: Model, objects: dict[str, Written]) -> None:
    english = read_back(objects["sr"].data)
    french = read_back(write(told(chest, [radiograph_dataset()], writes=["sr"]))[0].data)
    assert _items(english, "Notice")[0].TextValue.endswith("to be confirmed by a physician. Not a medical device.")
    assert _items(french, "Avertissement")[0].TextValue.startswith("Résultat d'intelligence artificielle, préliminaire")
    assert "fr" == _items(french, "Language of Content Item and Descendants")[0].ConceptCodeSequence[0].CodeValue
    assert "Pneumonie" == _items(french, "Finding")[0].ConceptCodeSequence[0].CodeMeaning
    assert ["Be used on a patient."] == [item.TextValue for item in _items(english, "Must not be used for")]


def test_findings_are_followed_by_the_same_uid_through_revisions(ill: Told, objects: dict[str, Written]) -> None:
    again = next(one for one in write(replace(ill, revision=2)) if one.kind == "sr")
    assert [g.tracking_uid for g in _groups(objects["sr"])] == [g.tracking_uid for g in _groups(again)]
    assert 3 == len({g.tracking_uid for g in _groups(again)})


def test_volumes_are_in_millilitres_and_point_at_their_segments(volumes: Model) -> None:
    written = {one.kind: one for one in write(told(volumes, mr_series(ImageLaterality="L", BodyPartExamined="HIPPOCAMPUS")))}
    groups = srread(io.BytesIO(written["sr"].data)).content.get_volumetric_roi_measurement_groups()
    read = [(g.get_measurements()[0].value, g.get_measurements()[0].unit.value) for g in groups]
    assert [(pytest.approx(0.3), "mL"), (pytest.approx(0.36), "mL")] == read
    segments = [item.ReferencedSOPSequence[0] for item in _items(read_back(written["sr"].data), "Referenced Segment")]
    assert [(written["seg"].sop_uid, 1), (written["seg"].sop_uid, 2)] == [
        (one.ReferencedSOPInstanceUID, one.ReferencedSegmentNumber) for one in segments
    ]
    assert {codes.SCT.Left} == {g.finding_sites[0].laterality for g in groups}
    assert codes.SCT.Volume == groups[0].get_measurements()[0].name


def test_a_volume_without_a_written_segmentation_is_still_told(volumes: Model) -> None:
    written = write(told(volumes, [enhanced(mr_series(), range(12))], writes=["sr"]))
    assert [pytest.approx(0.3), pytest.approx(0.36)] == [g.get_measurements()[0].value for g in _groups(written[0])]


def test_a_refusal_travels_with_its_reason_and_advice(chest: Model) -> None:
    refused = told(chest, [radiograph_dataset(Modality="MG")], writes=["sr"])
    made = read_back(write(refused)[0].data)
    assert "IA : non évalué" == made.SeriesDescription
    assert _items(made, "Que faire")[0].TextValue.startswith("Envoyez l'image à un modèle fait pour elle")
    assert "not-assessed" == _items(made, "Évaluation")[0].ConceptCodeSequence[0].CodeValue
    assert "wrong-modality" == _items(made, "Motif")[0].ConceptCodeSequence[0].CodeValue
    assert "Règle thoracique minimale (tiny_chest 1.0.0): This model takes Modality DX or CR, found MG." == (
        _items(made, "Motif en clair")[0].TextValue
    )
    assert [] == _items(made, "Measurement Group")


def test_every_model_that_does_not_fit_gives_its_reason() -> None:
    made = read_back(write(not_assessed(radiograph_dataset(), device=ENGLISH))[0].data)
    assert ["wrong-modality", "wrong-body-part"] == [
        item.ConceptCodeSequence[0].get("CodeValue") or item.ConceptCodeSequence[0].LongCodeValue for item in _items(made, "Reason")
    ]
    assert "Diaphane" == made.ManufacturerModelName


@pytest.mark.parametrize("code", ["", "a" * 200, "slices_not_a_grid", "é"])
def test_any_reason_makes_a_report(code: str) -> None:
    reasons = (Decline("", "", code, "m" * 3000, ""),)
    made = read_back(write(not_assessed(radiograph_dataset(), status="unusable", reasons=reasons))[0].data)
    assert 1 == len(_items(made, "Motif"))


def test_no_finding_above_its_threshold_is_not_called_normal_nor_named_in_the_series(chest: Model) -> None:
    healthy = told(chest, [radiograph_dataset(radiograph_pixels(rows=300, columns=260))], device=ENGLISH)
    assert isinstance(healthy.result, Prediction)
    assert not healthy.result.explanation.heatmaps
    reports = [read_back(one.data) for one in write(healthy) if one.kind == "sr"]
    assert ["AI result: tiny_chest"] == [made.SeriesDescription for made in reports]
    said = _items(reports[0], "How to read the explanation")[0].TextValue
    assert "No map: no finding is above its threshold. This does not mean that the image is normal." == said
