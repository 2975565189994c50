"""Shelf: the highest version serves, a pin rolls back, and headers choose models."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import BrokenModel
from models.prediction import Reason
from models.shelf import PINS, Shelf, read_pins, write_pin
from models.volume import Header
from tests.make import tiny_release


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_release(tmp_path, "image_classification", version="1.9.0")
    tiny_release(tmp_path, "image_classification", version="1.10.0")
    tiny_release(tmp_path, "volume_segmentation")
    tiny_release(tmp_path, "risk")
    return tmp_path


def test_highest_version_is_active_by_number_and_not_by_letter(folder: Path) -> None:
    assert Shelf(folder).get("tiny_chest").id == "tiny_chest-1.10.0"


def test_a_pin_rolls_back_and_unpinning_returns(folder: Path) -> None:
    write_pin(folder, "tiny_chest", "1.9.0")
    assert Shelf(folder).get("tiny_chest").id == "tiny_chest-1.9.0"
    write_pin(folder, "tiny_chest", None)
    assert Shelf(folder).get("tiny_chest").id == "tiny_chest-1.10.0"


def test_every_version_can_still_be_asked_for_by_id(folder: Path) -> None:
    assert Shelf(folder).get("tiny_chest-1.9.0").manifest.version == "1.9.0"


def test_unknown_model_names_the_known_ones(folder: Path) -> None:
    with pytest.raises(KeyError, match="No model 'ghost' here; known: tiny_chest"):
        Shelf(folder).get("ghost")


def test_series_is_offered_to_every_imaging_model_with_the_reason_of_those_that_decline(folder: Path) -> None:
    offered = Shelf(folder).for_series(Header(modality="MR"))
    assert [(model.manifest.name, refusal.reason if refusal else None) for model, refusal in offered] == [
        ("tiny_chest", Reason.WRONG_MODALITY),
        ("tiny_volume", None),
    ]
    assert offered[0][1].identity.model == "tiny_chest"


def test_records_go_to_risk_models_only(folder: Path) -> None:
    assert [model.manifest.name for model in Shelf(folder).for_record()] == ["tiny_risk"]


def test_a_pin_that_points_nowhere_stops_the_start(folder: Path) -> None:
    write_pin(folder, "tiny_chest", "3.0.0")
    with pytest.raises(BrokenModel, match=r"tiny_chest is pinned to 3\.0\.0, which is not on the shelf"):
        Shelf(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"tiny_chest": 1}'])
def test_damaged_pins_are_named(folder: Path, text: str) -> None:
    (folder / PINS).write_text(text)
    with pytest.raises(BrokenModel, match=r"active\.json"):
        read_pins(folder)


def test_a_shelf_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match="must exist, found none"):
        Shelf(tmp_path / "nowhere")


def test_one_broken_release_stops_the_start_with_its_name(folder: Path) -> None:
    (folder / "tiny_risk-1.0.0" / "CARD.md").write_text("changed")
    with pytest.raises(BrokenModel, match=r"tiny_risk-1\.0\.0: CARD\.md must have sha256"):
        Shelf(folder)


def test_another_version_serves_without_opening_anything_again(folder: Path) -> None:
    shelf = Shelf(folder)
    view = shelf.serving({"tiny_chest": "tiny_chest-1.9.0"})
    assert view.get("tiny_chest") is view.active["tiny_chest"] is shelf.models["tiny_chest-1.9.0"]
    assert view.get("tiny_chest-1.10.0") is shelf.models["tiny_chest-1.10.0"]
    assert shelf.get("tiny_chest") is shelf.models["tiny_chest-1.10.0"]


def test_barred_release_is_known_and_never_got(folder: Path) -> None:
    view = Shelf(folder).serving({}, barred={"tiny_chest-1.9.0", "tiny_chest-1.10.0"})
    for asked in ("tiny_chest-1.9.0", "tiny_chest-1.10.0", "tiny_chest"):
        with pytest.raises(KeyError):
            view.get(asked)
    assert "tiny_chest-1.10.0" == view.known("tiny_chest").id
    assert "tiny_chest" not in {model.manifest.name for model, _ in view.for_series(Header())}
    assert "tiny_risk" in view.active


def test_what_serves_is_not_barred(folder: Path) -> None:
    view = Shelf(folder).serving({"tiny_chest": "tiny_chest-1.9.0"}, barred={"tiny_chest-1.9.0", "tiny_chest-1.10.0"})
    assert "tiny_chest-1.9.0" == view.get("tiny_chest").id
