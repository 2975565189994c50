"""A classifier that was taken over is a release like ours: sound, scored, explained, written, and honest about what is unknown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.describe import describe
from models.errors import BrokenModel
from models.explain.picture import draw
from models.gate import header_flags
from models.manifest import read_manifest
from models.model import Model
from models.prediction import Prediction, Refusal
from models.read_dicom import read_dicom
from service.dicom.write import write
from tests.make import dicom_bytes, radiograph_dataset, radiograph_pixels
from tests.service.dicom.tell import told
from tests.training.adopt.make_classifiers import SIZE, TinyNet, described, plain_graph, saved
from training.adopt.description import Description
from training.adopt.geometry import centre_of
from training.adopt.graph_file import read_graph, run_graph
from training.adopt.nets import to_onnx, torchvision_net
from training.adopt.release import Origin, adopt, card, place, plausible, stride_of
from training.adopt.surgery import ROLES, Front, graft

DIGEST = "a" * 64


def taken_over(shelf: Path, description: Description, net: torch.nn.Module | None = None, **more: object) -> Path:
    origin = Origin("torchvision", "tiny", "w.pt", DIGEST, net=net or TinyNet(len(description.outputs)), **more)
    return adopt(origin, description, DIGEST, shelf, blobs=8)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taken_over(tmp_path_factory.mktemp("shelf"), described())


@pytest.fixture(scope="module")
def model(release: Path) -> Model:
    return Model(release)


def test_probabilities_are_those_of_the_network_itself(model: Model) -> None:
    source = read_dicom([dicom_bytes(radiograph_dataset(radiograph_pixels(300, 260)))])
    result = model.predict(source)
    assert isinstance(result, Prediction)
    with torch.no_grad():
        logits = TinyNet().eval()(torch.from_numpy(model.prepare(source) / np.float32(255)))
    expected = torch.sigmoid(logits)[0].numpy()
    assert [finding.value for finding in result.findings] == pytest.approx(expected.tolist(), abs=1e-5)
    assert result.explanation.completeness_error < 1e-4


def test_resnet18_of_torchvision_scores_as_torch_does() -> None:
    import torchvision

    torch.manual_seed(0)
    brought = torchvision.models.resnet18(weights=None, num_classes=2).eval()
    net = torchvision_net("resnet18", 2, brought.state_dict(), "w.pt")
    colour = described(classes=2, input={"rows": SIZE, "columns": SIZE, "channels": 3, "normalisation": "imagenet"})
    pixels = plausible(np.random.default_rng(1), (SIZE, SIZE), 2)
    made = graft(to_onnx(net, 3, (SIZE, SIZE)), colour.input.front, pixels, "w.pt", activation="softmax")
    mean, sd = (np.float32(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = torch.softmax(brought(torch.from_numpy((np.repeat(pixels / 255, 3, axis=1) - mean) / sd)), dim=1).numpy()
    np.testing.assert_allclose(run_graph(made.model, pixels, "w.pt")[ROLES["probability"]], expected, atol=1e-5)
    assert made.cells == (2, 2)
    assert centre_of(made.model, made.head.features) == (0, 0)  # strided 3 x 3 convolutions: half a cell from the usual overlay


def test_it_is_drawn_and_written_as_the_manifest_says(model: Model) -> None:
    of = told(model, [radiograph_dataset(radiograph_pixels(300, 260))])
    assert isinstance(of.result, Prediction)
    assert [one.finding for one in of.result.explanation.heatmaps] == ["finding_0", "finding_1", "finding_2"]
    assert draw(of.result, of.volume).startswith(b"\x89PNG")
    kinds = [one.kind for one in write(of)]
    assert kinds.count("map") == 3
    assert {"sr", "capture"} <= set(kinds)


def test_nothing_is_positive_and_nothing_drawn_without_a_threshold(tmp_path: Path) -> None:
    quiet = Model(taken_over(tmp_path, described(threshold=None)))
    result = quiet.predict(read_dicom([dicom_bytes(radiograph_dataset())]))
    assert isinstance(result, Prediction)
    assert [finding.above_threshold for finding in result.findings] == [None] * 3
    assert result.explanation.heatmaps == ()


def test_it_refuses_what_can_be_known_and_nothing_by_the_unknown(tmp_path: Path) -> None:
    picky = Model(taken_over(tmp_path, described(accepts={"modalities": ["DX"], "age_years": {"low": 18}, "min_rows": 100})))
    assert picky.manifest.refuses.ood == []
    cases = {
        "wrong_modality": radiograph_dataset(Modality="MR"), "wrong_age": radiograph_dataset(PatientAge="003Y"),
        "too_small": radiograph_dataset(radiograph_pixels(80, 80), PatientAge="040Y"),
        "blank": radiograph_dataset(np.full((256, 256), 90, np.uint8), PatientAge="040Y"),
    }
    for reason, dataset in cases.items():
        result = picky.predict(read_dicom([dicom_bytes(dataset)]))
        assert isinstance(result, Refusal)
        assert result.reason == reason
    plain = read_dicom([dicom_bytes(radiograph_dataset(PatientAge=None, PatientBirthDate=None))])
    assert "age_not_stated" in header_flags(picky.manifest.accepts, plain.header)


def test_what_nobody_told_is_unknown_and_stands_first_in_the_card(release: Path) -> None:
    manifest, text = read_manifest(release), (release / "CARD.md").read_text(encoding="utf-8")
    assert (manifest.training_data.name, manifest.licence, manifest.intended_use.purpose) == ("unknown",) * 3
    figures = json.loads((release / "evaluation.json").read_text(encoding="utf-8"))
    assert figures["status"] == "not evaluated"
    assert "rows" not in figures
    assert len(figures["unknown"]) == 23
    for gap in figures["unknown"]:
        assert f"- {gap}\n" in text
    assert text.index("## What is not known") < text.index("## What it is, and when")
    assert "**Outsiders are not recognised.**" in text
    assert "Commission it on your own archive" in text
    assert describe(manifest).strip() in text
    assert "probability by the model's own account, calibration unknown" in text
    assert "calibrated probability" not in text


def test_what_is_told_is_no_gap(tmp_path: Path) -> None:
    fuller = described(
        title_fr="Essai", licence="MIT", contact="them", source="https://example.org/w", accepts={
            "modalities": ["DX"], "age_years": {"low": 18}},
        claims={"performance": "AUROC 0.9", "calibration": "none", "subgroups": "none", "out_of_distribution": "none"},
        training_data={"trained_by": "them", "name": "a set", "description": "d", "period": "2020", "licence": "CC0",
                       "split": "by patient", "counts": {"train": 3}, "citation": "c"},
        intended_use={"purpose": "p", "users": "u", "population": "adults", "decision_role": "r", "human_oversight": "h"},
        outputs=[{"column": 1, "name": "f", "label": "F", "label_fr": "F", "threshold": 0.4,
                  "code": {"system": "http://snomed.info/sct", "code": "36118008", "display": "Pneumothorax (disorder)"}}])
    assert fuller.gaps() == []
    manifest = read_manifest(adopt(Origin("onnx", "a", "g.onnx", DIGEST, net=TinyNet()), fuller, DIGEST, tmp_path, blobs=8))
    assert [output.index for output in manifest.outputs] == [1]
    assert manifest.training_data.counts == {"train": 3}


def test_a_plain_graph_becomes_a_release(tmp_path: Path) -> None:
    graph = read_graph(saved(plain_graph(), tmp_path))
    folder = adopt(Origin("onnx", "by_hand", "brought.onnx", DIGEST, graph=graph), described(), DIGEST, tmp_path / "shelf", blobs=8)
    result = Model(folder).predict(read_dicom([dicom_bytes(radiograph_dataset())]))
    assert isinstance(result, Prediction)
    assert json.loads((folder / "evaluation.json").read_text())["adopted"]["kind"] == "onnx"


def test_operating_points_become_one_half_and_move_nothing_across(tmp_path: Path) -> None:
    points = (0.02, 0.4, float("nan"))
    stretched = Model(taken_over(tmp_path, described(head={"activation": "sigmoid", "operating_points": list(points)})))
    plain = Model(taken_over(tmp_path, described(version="1.0.1")))
    pixels = np.linspace(0, 255, 5 * SIZE * SIZE).reshape(5, 1, SIZE, SIZE).astype(np.float32)
    before, after = (one.session.run(pixels)["probability"] for one in (plain, stretched))
    for k, t in enumerate(points[:2]):
        expected = [p / (2 * t) if p < t else 1 - (1 - p) / (2 * (1 - t)) for p in before[:, k].tolist()]
        np.testing.assert_allclose(after[:, k], expected, atol=1e-5)
        assert ((after[:, k] >= 0.5) == (before[:, k] >= t)).all()
    np.testing.assert_allclose(after[:, 2], before[:, 2], atol=1e-6)
    assert "no probabilities of anything" in " ".join(stretched.manifest.intended_use.limits)


def test_a_version_that_is_there_is_never_written_over(release: Path) -> None:
    with pytest.raises(FileExistsError, match="Raise the version"):
        taken_over(release.parent, described())


def test_a_network_that_cannot_be_explained_leaves_no_folder(tmp_path: Path) -> None:
    hidden = torch.nn.Sequential(torch.nn.Linear(12, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    with pytest.raises(BrokenModel, match=r"Relu\): it bends the pooled features"):
        taken_over(tmp_path, described(), TinyNet(head=hidden))
    assert list(tmp_path.iterdir()) == []


def test_classes_the_graph_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match=r"3 classes, columns 0 to 2; the description shows column 3 \(finding_3\)"):
        taken_over(tmp_path, described(classes=4), TinyNet(3))
    with pytest.raises(BrokenModel, match="one number a class, 3, found 2"):
        taken_over(tmp_path, described(head={"activation": "sigmoid", "operating_points": [0.1, 0.2]}))


def test_the_place_of_the_map_is_measured_or_said_to_be_assumed() -> None:
    trial = plausible(np.random.default_rng(0), (SIZE, SIZE))
    made = graft(plain_graph(), Front(SIZE, SIZE, (1 / 255,), (0.0,)), trial, "t", activation="sigmoid")

    def told_nothing(pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {ROLES["logit"]: np.zeros((len(pixels), 3)), ROLES["map"]: np.zeros((len(pixels), 3, 8, 8))}

    found = place(told_nothing, made, (SIZE, SIZE), tell=lambda _what, _share: None, blobs=8)
    assert found.offset_px == (3.5, 3.5)
    assert found.reason.startswith("computed from kernels, strides and paddings, it could not be measured")


@pytest.mark.parametrize(("size", "cells", "stride"), [((224, 224), (7, 7), 32), ((299, 299), (8, 8), 32), ((64, 96), (4, 6), 16)])
def test_the_stride_is_the_power_of_two_a_network_halved_by(size: tuple[int, int], cells: tuple[int, int], stride: float) -> None:
    assert stride_of(size, cells) == stride
    with pytest.raises(BrokenModel, match="as wide as high"):
        stride_of((64, 64), (2, 4))


def test_the_card_is_made_of_what_the_folder_says(release: Path) -> None:
    manifest = read_manifest(release)
    figures = json.loads((release / "evaluation.json").read_text(encoding="utf-8"))
    lines = card(manifest, described(), figures).splitlines()
    for rule in [i for i, line in enumerate(lines) if line.startswith("|---")]:
        columns = lines[rule].count("|")
        end = next(i for i in range(rule, len(lines)) if not lines[i].startswith("|"))
        assert [line.count("|") for line in lines[rule - 1 : end]] == [columns] * (end - rule + 1)
