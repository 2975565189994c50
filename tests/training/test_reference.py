"""The reference of a release is made of what serving gives, of the validation split, and says when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UnusableInput
from models.manifest import read_manifest
from models.model import Model
from models.reference import read_reference, shipped_reference
from models.shelf import RELEASED
from tests.make import data_root, icu_record, needs_data, tiny_release
from training import reference as made
from training.reference import inputs_of, make_reference, row_of


def test_a_row_is_what_serving_gave(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "risk"))
    result = model.predict(icu_record())
    status, statistics, values = row_of(result)
    assert (status, statistics) == (result.status, result.input_statistics)
    assert values == {one.name: one.value for one in result.findings}  # type: ignore[union-attr]


def test_a_release_whose_data_are_not_here_is_told_to_be_commissioned(tmp_path: Path) -> None:
    for task in ("risk", "image_classification"):
        manifest = read_manifest(tiny_release(tmp_path, task))
        with pytest.raises(UnusableInput, match="by commissioning"):
            inputs_of(manifest, tmp_path, "val", 100)
    with pytest.raises(UnusableInput, match="nothing to watch"):
        inputs_of(read_manifest(RELEASED / "ed_demand-1.0.0"), tmp_path, "val", 100)


@needs_data
@pytest.mark.slow
def test_the_shipped_reference_is_what_the_command_makes(tmp_path: Path) -> None:
    model = Model(RELEASED / "warfarin_dose-1.0.0")
    found, shipped = make_reference(model, data_root()), shipped_reference(model.id)
    assert shipped is not None
    assert (found.n, found.refused) == (shipped.n, shipped.refused)
    for one, other in zip(found.streams, shipped.streams, strict=True):
        assert (one.name, one.edges) == (other.name, pytest.approx(other.edges, rel=1e-4))
        assert max(abs(a - b) for a, b in zip(one.counts, other.counts, strict=True)) <= 2  # a value on an edge, on another machine
    path = tmp_path / "reference.json"
    made.write_reference(path, found)
    assert read_reference(path) == found
