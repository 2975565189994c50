"""A node that runs lets a release speak, be silent and step back within seconds of a decision, and no process is restarted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.access.caller import Caller
from service.audit.audit import Audit
from service.releases.releases import Releases
from service.releases.state import installed_in
from service.settings import read_settings
from service.site import read_site
from tests.make import dicom_bytes, radiograph_dataset, tiny_release
from tests.make_commissioning import commissioning_of
from tests.peers.running import Node, wait_for

pytestmark = pytest.mark.slow
OLD, NEW = "tiny_chest-1.0.0", "tiny_chest-1.1.0"
STEWARD = Caller("local:test", name="Test STEWARD")
HOLDS_S = 3.0


@pytest.fixture
def released(tmp_path: Path) -> Path:
    for version in ("1.0.0", "1.1.0"):
        tiny_release(tmp_path / "released", "image_classification", version=version)
    return tmp_path / "released"


@pytest.fixture
def node(tmp_path: Path, released: Path) -> Iterator[Node]:
    with Node(tmp_path / "node", released=released, site="[commissioning]\nrequired = true\n") as running:
        running.wait_until_ready()
        yield running


def desk(node: Node, released: Path) -> Releases:
    """Return the releases as a command beside the node has them: over the same store, in another process."""
    found, active = installed_in(released)
    site = read_site(node.folder / "site.toml")
    audit = Audit(node.store, site, read_settings({}, store=node.folder / "store"))
    return Releases(node.store, site, audit, {one.id: one for one in found}, active)


def says(node: Node) -> str:
    """Return the version that answers, or the code of the problem."""
    told = httpx.post(f"{node.url}/v1/images", content=dicom_bytes(radiograph_dataset()), timeout=30, trust_env=False,
                      headers={"content-type": "application/dicom"}).json()
    return str(told["code"] if "code" in told else told["series"][0]["results"][0]["version"])


def holds(node: Node, wanted: str) -> float:
    """Wait until the node answers as was decided just now; return how long that took."""
    decided = time.monotonic()
    wait_for(lambda: says(node) == wanted, 60, lambda: says(node))
    return time.monotonic() - decided


def test_each_decision_holds_within_three_seconds_in_http_and_in_the_worker(node: Node, released: Path) -> None:
    assert says(node) == "not_live"
    releases, took = desk(node, released), []
    for one in (OLD, NEW):
        releases.sign(STEWARD, one, commissioning_of(released / one), decision="accepted", statement="Read.", known_by="a test")
    for decide, wanted in (
        (lambda: releases.live(STEWARD, OLD), "1.0.0"), (lambda: releases.live(STEWARD, NEW), "1.1.0"),
        (lambda: releases.rollback(STEWARD, "tiny_chest"), "1.0.0"), (lambda: releases.off(STEWARD, OLD), "not_live"),
    ):
        decide()
        took.append(holds(node, wanted))
    assert max(took) < HOLDS_S, took

    releases.live(STEWARD, NEW)
    time.sleep(HOLDS_S)
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + dicom_bytes(radiograph_dataset()) + b"\r\n--x--\r\n"
    stored = httpx.post(f"{node.url}/dicom-web/studies", content=body, timeout=30, trust_env=False,
                        headers={"content-type": 'multipart/related; type="application/dicom"; boundary=x'})
    assert stored.status_code == 200
    node.settle(120)
    assert node.status()["results"] == {"scored": 1}
