"""One house for the tests of cards, with the release that is oldest among those for records."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.make import icu_bundle
from tests.service.cds_hooks.cds_house import ICU, PLACE, CdsHouse, Json, call, cds_house, only, prefetch_of


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CdsHouse]:
    """A house that anybody on this machine may call."""
    folder = tmp_path_factory.mktemp("ward")
    told = {"public_url": "https://ai.example.org", "cors_origins": "https://ehr.example"}
    with cds_house(folder, only(folder, "icu_mortality"), **told) as house:
        yield house


@pytest.fixture(scope="session")
def complete(ward: CdsHouse) -> Json:
    """A small prefetch with all that is needed."""
    service = next(one for one in ward.discover() if one["id"] == ICU)
    return prefetch_of(icu_bundle(gcs=3.0, creatinine_mg_dl=6.0, heart_rate=140.0), service, PLACE)


@pytest.fixture
def asked(complete: Json) -> Json:
    """A call whose prefetch is complete."""
    return call("patient-view", PLACE, copy.deepcopy(complete))
