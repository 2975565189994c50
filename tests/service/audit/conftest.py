"""Fixtures of the audit's room: an audit over a store of its own, and the house with its addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.audit.audit import Audit
from service.settings import Settings
from service.site import Site
from tests.make_store import store_for
from tests.service.audit.audit_house import AuditHouse, audit_house, lay


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    """An audit that writes in its thread."""
    store = store_for(lay(tmp_path))
    made = Audit(store, Site(), Settings(store=tmp_path / "store"))
    made.open()
    yield made
    made.close()
    store.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AuditHouse]:
    """The pages and FHIR addresses of the audit."""
    with audit_house(tmp_path) as opened:
        yield opened
