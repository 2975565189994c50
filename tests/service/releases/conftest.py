"""Two versions of a tiny release for radiographs, a store, and who decides about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.commissioned import Decision
from service.access.caller import Caller
from service.audit.audit import Audit
from service.releases.releases import Releases
from service.releases.state import installed_in
from service.settings import Settings
from service.site import Site
from service.site_trust import CommissioningRules
from service.store.store import Store
from tests.make import tiny_release
from tests.make_commissioning import commissioning_of
from tests.make_store import settings_for
from tests.service.audit.audit_house import lay

OLD, NEW = "tiny_chest-1.0.0", "tiny_chest-1.1.0"
STEWARD = Caller("rpps:10000000001", name="Test STEWARD", roles=frozenset({"steward"}))


@dataclass
class Bench:
    """A site with a store and a folder of releases."""

    folder: Path
    settings: Settings
    store: Store
    site: Site
    audit: Audit

    @property
    def releases(self) -> Releases:
        found, active = installed_in(self.folder)
        return Releases(self.store, self.site, self.audit, {one.id: one for one in found}, active)

    def sign(self, release: str, decision: Decision = "go", *, decline: bool = False) -> None:
        self.releases.sign(STEWARD, release, commissioning_of(self.folder / release, decision), statement="Looked at the report.",
                           decision="declined" if decline else "accepted", known_by="a test")

    def does(self) -> dict[str, str]:
        return {name: one.state for name, one in self.releases.states().items()}


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-versions")
    tiny_release(folder, "image_classification", version="1.0.0")
    tiny_release(folder, "image_classification", version="1.1.0")
    return folder


def bench_of(tmp_path: Path, folder: Path, *, required: bool) -> Iterator[Bench]:
    settings = settings_for(lay(tmp_path), released=folder)
    store, site = Store.open(settings), Site(commissioning=CommissioningRules(required=required))
    yield Bench(folder, settings, store, site, Audit(store, site, settings))
    store.close()


@pytest.fixture
def bench(tmp_path: Path, two_versions: Path) -> Iterator[Bench]:
    """A site that asks for commissioning."""
    yield from bench_of(tmp_path, two_versions, required=True)


@pytest.fixture
def free(tmp_path: Path, two_versions: Path) -> Iterator[Bench]:
    """One machine where nobody is asked."""
    yield from bench_of(tmp_path, two_versions, required=False)
