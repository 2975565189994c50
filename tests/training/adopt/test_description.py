"""describe.toml: what is filled in is checked, what is left out is a gap, and the template is one that can be read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from models.errors import BrokenModel
from tests.training.adopt.make_classifiers import described
from training.adopt.description import Description, Input, read_description, word_of
from training.adopt.nets import XRV
from training.adopt.template import of_classes, of_xrv, template, write_template


def test_the_template_can_be_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "describe.toml"
    write_template(path, of_classes("resnet18", 'A "quoted" title', ["Normal", "Pneumonia, bacterial"], (64, 64), channels=3,
                                    activation="softmax"))
    found = read_description(path)
    assert [one.name for one in found.outputs] == ["normal", "pneumonia_bacterial"]
    assert found.title == 'A "quoted" title'
    assert "Who trained it." in found.gaps()
    with pytest.raises(FileExistsError, match="exists"):
        write_template(path, of_classes("a", "b", ["c"], (64, 64), channels=1, activation="sigmoid"))


@pytest.mark.parametrize("name", XRV["weights"])
def test_what_torchxrayvision_publishes_makes_a_description(name: str) -> None:
    found = Description.model_validate(tomllib.loads(template(of_xrv(name))))
    row = XRV["weights"][name]
    trained = [label for label, point in zip(row["labels"], row["operating_points"], strict=True) if label and not np.isnan(point)]
    assert len(found.outputs) == len(trained)
    for output in found.outputs:
        assert XRV["findings"][row["labels"][output.column]]["label"] == output.label
        assert output.threshold == row["operating_points"][output.column]
    pixels = np.float32([[0, 127.5, 255]])
    assert found.input.front(pixels.reshape(1, 1, 1, 3)).ravel().tolist() == pytest.approx([-1024, 0, 1024], abs=1e-3)


def test_the_published_scale_has_its_threshold_at_one_half() -> None:
    found = Description.model_validate(tomllib.loads(template(of_xrv("densenet121-res224-rsna", published=True))))
    assert [output.threshold for output in found.outputs] == [0.5, 0.5]
    assert len(found.head.operating_points) == 18
    assert sum(np.isnan(found.head.operating_points)) == 16


def test_timms_own_table_becomes_steps() -> None:
    table = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "crop_pct": 0.875, "interpolation": "bicubic"}
    known = of_classes("a", "A", ["x", "y"], (224, 224), channels=3, activation="softmax", prepared=table)
    found = Description.model_validate(tomllib.loads(template(known)))
    assert [(step.name, step.params) for step in found.steps] == [
        ("shorter_side", {"pixels": 256, "interpolation": "bicubic"}), ("center_crop", {"rows": 224, "columns": 224})]
    assert found.input.front(np.float32([255]).reshape(1, 1, 1, 1)).ravel().tolist() == pytest.approx([2.0] * 3)


@pytest.mark.parametrize(("change", "why"), [
    ('name = "Wrong Name"', "not valid at name"), ('name = "a"\nsurprise = 1', "not valid at surprise"), ("name = ", "must be TOML"),
])
def test_a_description_that_is_wrong_names_the_field(tmp_path: Path, change: str, why: str) -> None:
    path = tmp_path / "d.toml"
    text = template(of_classes("a", "A", ["x"], (64, 64), channels=1, activation="sigmoid"))
    path.write_text(f"{change}\n" + "\n".join(line for line in text.splitlines() if not line.startswith("name = \"a\"")))
    with pytest.raises(BrokenModel, match=why):
        read_description(path)


def test_a_description_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match="--write-describe"):
        read_description(tmp_path / "d.toml")


@pytest.mark.parametrize("told", [
    {"normalisation": "imagenet"}, {"normalisation": "unit", "mean": [0.5], "sd": [0.5]}, {}, {"mean": [0.5], "sd": [0.0]},
    {"normalisation": "other"}, {"mean": [0.5, 0.5], "sd": [0.1, 0.1]},
])
def test_grey_levels_are_told_in_one_way_that_fits_the_channels(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Input(rows=64, columns=64, **told)


def test_two_outputs_of_one_name_or_column_and_unknown_steps_are_refused() -> None:
    one = {"column": 0, "name": "a", "label": "A"}
    for change in ({"outputs": [one, {**one, "name": "b"}]}, {"outputs": [one, {**one, "column": 1}]}, {"steps": [{"name": "blur"}]}):
        with pytest.raises(ValueError, match=r"their own|unknown step"):
            described(**change)


def test_any_label_becomes_a_name() -> None:
    assert [word_of(label) for label in ("Lung Opacity", "Épanchement", "3 rd", "")] == [
        "lung_opacity", "panchement", "class_3_rd", "class_unnamed"]
