"""The draft says what the results say and no more: certain, below, refused, absent and pending are each said in their words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydicom.dataset import Dataset

from models.manifest import Manifest
from models.model import Model
from models.prediction import to_json
from service.assessment import FindingAssessment
from service.corrected import said_instead
from service.reporting.draft import draft
from service.reporting.report import Section, from_json, sha256_of_text
from service.reporting.report import to_json as sections_to_json
from service.reporting.study import Study, StudyResult, study_of
from service.words import unbroken
from tests.make import mr_series, radiograph_dataset, radiograph_pixels, tiny_release
from tests.service.dicom.tell import hospital, told


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))


def study(*datasets: Dataset, counts: list[int] | None = None) -> Study:
    return study_of("1.2.3", datasets, counts or [1] * len(datasets))


def scored(model: Model, dataset: Dataset, case: int = 1, id: int = 7) -> StudyResult:
    one = told(model, [dataset])
    return StudyResult(id, case, one.model, one.result.status, to_json(one.result))


def texts(sections: tuple[Section, ...], name: str) -> list[str]:
    return [one.text for section in sections if section.name == name for one in section.sentences]


def written(model: Model, dataset: Dataset, language: Any = "fr", **manifests: Manifest) -> tuple[Section, ...]:
    return draft(study(dataset), [scored(model, dataset)], language, {model.manifest.id: model.manifest})


def test_the_same_results_give_the_same_words(chest: Model) -> None:
    dataset = hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))
    assert written(chest, dataset) == written(chest, dataset)
    assert sha256_of_text(written(chest, dataset)) != sha256_of_text(written(chest, dataset, "en"))


def test_a_finding_above_its_threshold_is_in_results_and_conclusion_with_its_certainty(chest: Model) -> None:
    dataset = hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))
    result = scored(chest, dataset)
    sections = draft(study(dataset), [result], "fr", {chest.manifest.id: chest.manifest})
    first = sections[2].sentences[0]
    finding = result.summary["findings"][0]
    assert (first.origin, first.source, first.result, first.certainty) == (
        "ai", f"{chest.manifest.id}/pneumonia", 7, finding["value"])
    assert first.text.startswith("Pneumonie\u00a0: probabilité estimée ")
    assert "au-dessus du seuil" in first.text
    [conclusion] = sections[3].sentences
    assert conclusion.text.startswith("Image en faveur de\u00a0: pneumonie")
    assert conclusion.source == first.source


def test_a_finding_that_only_refines_another_is_not_in_the_conclusion(chest: Model) -> None:
    dataset = hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))
    assert not any("Bactérienne" in text or "bactérienne" in text for text in texts(written(chest, dataset), "conclusion"))


def test_below_the_threshold_rules_nothing_out_and_says_what_is_not_given(chest: Model) -> None:
    sections = written(chest, hospital(radiograph_dataset()))
    assert texts(sections, "results")[0].endswith("cela ne l'exclut pas.")
    assert any(text.startswith(unbroken("Bactérienne : non rendu, car « pneumonie »")) for text in texts(sections, "results"))
    assert texts(sections, "conclusion") == [
        "Aucun des signes recherchés par l'IA n'atteint son seuil. Cela ne signifie pas que l'examen est normal."]


def test_what_ai_did_not_look_for_is_said(chest: Model) -> None:
    assert texts(written(chest, hospital(radiograph_dataset())), "results")[-1].startswith(
        "L'IA n'a recherché que\u00a0: pneumonie")


def test_every_sentence_says_where_it_comes_from(chest: Model) -> None:
    sections = written(chest, hospital(radiograph_dataset(radiograph_pixels(pneumonia=True))))
    for section in sections:
        for one in section.sentences:
            assert (one.origin == "image") == (section.name in ("indication", "technique"))
            assert one.source or one.text.startswith(("L'IA", "Aucun"))


def test_a_refusal_is_said_with_reason_and_advice(chest: Model) -> None:
    result = scored(chest, hospital(radiograph_dataset(Modality="MG")))
    sections = draft(study(radiograph_dataset()), [result], "fr", {chest.manifest.id: chest.manifest})
    [refused] = texts(sections, "results")
    assert refused.startswith("Non évalué par ")
    assert "Ce modèle accepte Modality" in refused
    assert "Envoyez l'image à un modèle fait pour elle" in refused
    assert texts(sections, "conclusion") == ["L'IA n'a pas pu évaluer cet examen."]


@pytest.mark.parametrize(("status", "reasons", "expected"), [
    ("unfit", [{"model": "chest-1.0.0", "reason": "wrong_modality", "message": "This model takes Modality DX, found MR."}],
     ["Aucun modèle n'est fait pour ces images.", "chest-1.0.0 : Ce modèle accepte Modality DX ; valeur trouvée : MR."]),
    ("unusable", [{"model": "", "reason": "wrong_geometry", "message": "x"}],
     ["Ces images n'ont pas pu être lues.", "Motif : géométrie hors du domaine du modèle."]),
    ("unusable", [{"model": "", "reason": "undecodable_pixels", "message": "x"}],
     ["Ces images n'ont pas pu être lues.", "Motif : les pixels ne peuvent être décodés."]),
    ("failed", [], ["L'analyse par l'IA a échoué."]),
])
def test_what_could_not_be_assessed_is_said(status: Any, reasons: list[dict[str, str]], expected: list[str]) -> None:
    sections = draft(study(radiograph_dataset()), [StudyResult(3, 1, "none", status, {"reasons": reasons})], "fr", {})
    assert [unbroken(one) for one in expected] == texts(sections, "results")


def test_an_analysis_that_is_not_finished_is_said() -> None:
    sections = draft(study(radiograph_dataset()), [StudyResult(0, 1, "", "pending")], "en", {})
    assert ["The analysis by AI is not finished."] == texts(sections, "results")
    assert ["There is no complete result of AI for this examination yet."] == texts(sections, "conclusion")


def test_an_image_no_ai_has_seen_is_said() -> None:
    assert ["No image of this study was given to AI."] == texts(draft(study(radiograph_dataset()), [], "en", {}), "results")


def test_a_missing_indication_is_said_and_a_stated_one_is_repeated() -> None:
    bare = draft(study(radiograph_dataset()), [], "fr", {})
    assert "Aucune indication clinique n'a été transmise avec les images." in texts(bare, "indication")
    asked = hospital(radiograph_dataset())
    asked.RequestAttributesSequence[0].ReasonForTheRequestedProcedure = "Toux fébrile,\nœdème ?"
    assert "Motif indiqué\u00a0: Toux fébrile, œdème ?" in texts(draft(study(asked), [], "fr", {}), "indication")


def test_the_technique_is_what_the_headers_state() -> None:
    assert ["Radiographie numérique, thorax, incidence antéro-postérieure (AP), une image."] == texts(
        draft(study(radiograph_dataset(Modality="DX", ViewPosition="AP", BodyPartExamined="CHEST")), [], "fr", {}), "technique")
    slices = mr_series(BodyPartExamined="HIPPOCAMPUS", ImageLaterality="R")
    assert ["IRM, hippocampe, côté droit, 12 coupes tous les 1,0 mm.", "Aucun produit de contraste n'est indiqué."] == texts(
        draft(study(slices[0], counts=[12]), [], "fr", {}), "technique")


def test_several_sets_of_images_are_told_apart() -> None:
    results = [StudyResult(1, 1, "none", "failed", {}), StudyResult(2, 2, "none", "failed", {})]
    sections = draft(study(radiograph_dataset(), radiograph_dataset()), results, "fr", {})
    assert [f"Images {one}\u00a0: L'analyse par l'IA a échoué." for one in (1, 2)] == texts(sections, "results")
    assert ["L'IA n'a pas pu évaluer les images 1, 2."] == texts(sections, "conclusion")


@pytest.mark.parametrize(("value", "expected"), [(0.001, "inférieure à 1\u00a0%"), (0.999, "supérieure à 99\u00a0%"),
                                                 (0.5, "50\u00a0%")])
def test_a_probability_is_never_said_as_certainty(value: float, expected: str) -> None:
    finding = {"name": "x", "label": "X", "label_fr": "X", "kind": "probability", "value": value, "unit": "1", "threshold": None}
    one = StudyResult(1, 1, "m-1.0.0", "scored", {"findings": [finding]})
    assert f"X\u00a0: probabilité estimée {expected}." == texts(draft(study(radiograph_dataset()), [one], "fr", {}), "results")[0]


def test_a_probability_beside_its_threshold_is_told_from_it() -> None:
    finding = {"name": "x", "label": "X", "label_fr": "X", "kind": "probability", "value": 0.2284, "unit": "1",
               "threshold": 0.2320, "above_threshold": False}
    one = StudyResult(1, 1, "m-1.0.0", "scored", {"findings": [finding]})
    [said, _] = texts(draft(study(radiograph_dataset()), [one], "en", {}), "results")
    assert "X: estimated probability 22.8%, below the threshold of 23.2%; this does not rule it out." == said


def test_sections_are_kept_as_they_are_in_the_store(chest: Model) -> None:
    sections = written(chest, hospital(radiograph_dataset(radiograph_pixels(pneumonia=True))))
    assert sections == from_json(sections_to_json(sections))


def test_a_damaged_header_still_gives_a_draft() -> None:
    broken = radiograph_dataset()
    broken.StudyDate, broken.StudyTime, broken.PatientName = "20269999", "x", None
    broken.AccessionNumber = ""
    made = study(broken)
    assert (None, None) == (made.studied_at, made.accession)
    assert draft(made, [], "fr", {})


def test_what_a_professional_corrected_is_said_as_they_left_it_and_nothing_of_ai_beside_it(chest: Model) -> None:
    dataset = hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))
    given = scored(chest, dataset)
    absent = FindingAssessment("pneumonia", "rejected", ai_value=0.96, ai_present=True, present=False)
    sections = draft(study(dataset), [replace(given, corrected=(absent,))], "en", {chest.manifest.id: chest.manifest})
    sentence = "Pneumonia: absent according to the professional (AI: 96%)."
    assert [sentence] == texts(sections, "conclusion")
    assert sentence in texts(sections, "results")
    left = " ".join(texts(sections, "results"))
    assert "Pneumonia: estimated" not in left
    assert "weighed most for pneumonia" not in left
    assert "person" == sections[3].sentences[0].origin


def test_a_finding_that_was_merely_accepted_in_a_correction_stays_the_word_of_ai(chest: Model) -> None:
    dataset = hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))
    given = scored(chest, dataset)
    same = FindingAssessment("pneumonia", "accepted", ai_value=0.96, ai_present=True, present=True)
    kept = draft(study(dataset), [replace(given, corrected=(same,))], "en", {chest.manifest.id: chest.manifest})
    assert draft(study(dataset), [given], "en", {chest.manifest.id: chest.manifest}) == kept


def test_a_volume_of_ai_is_told_with_its_unit_and_never_as_a_probability() -> None:
    one = FindingAssessment("volume", "rejected", "volume", "mL", 1.8, None, False)
    assert "Volume: absent according to the professional (AI: 1.80 mL)." == said_instead(one, "Volume", "en").replace("\u00a0", " ")
