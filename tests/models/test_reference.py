"""A reference: bins that fit what was seen, means of random features that find a shift, and a file that reads back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnusableInput
from models.manifest import read_manifest
from models.reference import Reference, read_reference, shipped_reference, write_reference
from models.reference_made import bin_of, edges_of, random_features, reference_of, vector_of
from models.statistics.drift import mmd
from tests.make import tiny_release


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    manifest = read_manifest(tiny_release(tmp_path_factory.mktemp("risk"), "risk"))
    rng = np.random.default_rng(1)
    return reference_of(rows(manifest, rng, 600), manifest, "validation split")


def rows(manifest, rng, count, shift=0.0):  # type: ignore[no-untyped-def]
    first, second = (f"feature.{one.name}" for one in manifest.features[:2])
    for place in range(count):
        statistics = {first: float(rng.normal(shift)), **({second: float(rng.normal())} if place % 4 else {})}
        refused = place % 10 == 0
        yield ("refused" if refused else "scored", statistics, {} if refused else {manifest.outputs[0].name: float(rng.beta(2, 5))})


def test_every_case_falls_into_a_bin_and_the_missing_are_counted(made: Reference) -> None:
    assert (made.n, made.scored, made.refused) == (600, 540, 60)
    for stream in made.streams:
        assert sum(stream.counts) == (540 if stream.name.startswith("output.") else 600)
    second = made.streams[1]
    missing = [one.counts[-1] for one in made.streams if one.name.startswith("feature.")]
    assert sorted(missing)[:2] == [0, 150]
    assert set(missing[2:]) <= {600, 150, 0}
    assert bin_of(second, None) == len(second.counts) - 1
    assert bin_of(second, second.edges[0]) == 1  # an edge belongs above it


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 5), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=300))
def test_edges_rise_and_no_value_lies_on_one(values: list[float]) -> None:
    edges = edges_of(np.array(values, dtype=np.float64))
    assert list(edges) == sorted(set(edges))
    assert len(edges) <= 10


def test_a_value_that_many_share_has_a_bin_of_its_own() -> None:
    values = np.array([0.0] * 60 + list(np.linspace(1, 2, 40)))
    edges = edges_of(values)
    assert 0 < edges[0] < 1
    assert edges_of(np.zeros(50)) == (-1e-6, 1e-6)


def test_the_same_cases_give_the_same_file_which_reads_back(made: Reference, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    write_reference(path, made)
    assert read_reference(path) == made
    before = path.read_bytes()
    write_reference(path, read_reference(path))
    assert path.read_bytes() == before
    path.write_text("{}")
    with pytest.raises(UnusableInput, match="no reference at"):
        read_reference(path)


def test_random_features_find_a_shift_of_half_a_deviation_and_not_chance(made: Reference, tmp_path: Path) -> None:
    manifest = read_manifest(tiny_release(tmp_path, "risk"))
    one = made.embedding
    assert one is not None

    def p_of(shift: float, seed: int) -> float:
        found = [statistics for _, statistics, _ in rows(manifest, np.random.default_rng(seed), 200, shift)]
        seen = random_features(one, np.array([vector_of(one, row) for row in found])).mean(axis=0)
        return mmd(np.array(one.features), 600, seen, 200, one.covariance_trace, one.covariance_squared_trace)[1]

    assert p_of(0.5, 2) < 1e-4
    chance = [p_of(0.0, seed) for seed in range(3, 43)]
    assert np.mean(np.array(chance) < 0.05) <= 0.2
    assert min(chance) > 1e-4


def test_what_is_shipped_was_made_for_the_outputs_of_its_release() -> None:
    released = Path(__file__).parents[2] / "models" / "released"
    seen = 0
    for folder in sorted(released.iterdir()):
        found = shipped_reference(folder.name)
        manifest = read_manifest(folder)
        if found is None:
            assert manifest.task == "department", folder.name
            continue
        seen += 1
        assert {one.name.removeprefix("output.") for one in found.streams if one.name.startswith("output.")} <= {
            one.name for one in manifest.outputs}
        assert found.made_from == "validation split"
        assert found.n == found.scored + found.refused
    assert seen == 7
