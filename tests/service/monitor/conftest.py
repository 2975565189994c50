"""A tiny release with a reference, and an open store: what the monitor works on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.model import Model
from models.reference import Reference
from models.reference_made import reference_of
from service.monitor.simulated import Ordinary
from service.site import Site
from service.store.store import Store
from tests.make import tiny_release
from tests.make_store import settings_for

USUAL = Ordinary(per_week=100, verdicts=25, refused=0.03)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("monitored"), "risk"))


@pytest.fixture(scope="session")
def reference(model: Model) -> Reference:
    """Of cases whose streams do not depend on each other, as those that a drill draws."""
    rng, names = np.random.default_rng(5), [one.name for one in model.manifest.features]
    rows = []
    for place in range(800):
        statistics = {f"feature.{name}": float(rng.normal(10 * number, 2)) for number, name in enumerate(names)}
        statistics["ood.far"] = float(rng.beta(2, 5))
        status = "refused" if place % 33 == 0 else "scored"
        values = {one.name: float(rng.beta(2, 5)) for one in model.manifest.outputs}
        rows.append((status, statistics, values if status == "scored" else {}))
    return reference_of(rows, model.manifest, "validation split")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(settings_for(tmp_path / "store"), min_free_bytes=0)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def site() -> Site:
    return Site.model_validate({"device": {"time_zone": "Europe/Paris"}, "commissioning": {"required": False}})
