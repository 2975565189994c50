"""A browser before a running service: one installation with the page on and a ward of invented people, one Chromium.

    def test_…(visit):                                       # fixtures of tests/peers/conftest.py
        page = visit(roles="radiologist", scheme="dark")     # logged in, in a context of its own
        page.goto("/review")
        assert not axe(page)

The installation is shared by all tests of a run, so a test leaves alone what others look at, or brings its own study.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from service.access.caller import Caller
from service.access.cookies import Cookies
from service.access.sessions import Sessions
from service.demo_review import Sent, send, site_toml, wait_listed
from service.settings import Settings
from service.site import Site, read_site
from service.store import entries
from service.store.review_tables import Entry
from service.store.store import Store
from tests.make import REQUIRED, ROOT
from tests.peers.fhir_server import modules
from tests.peers.running import Node

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), "")
AXE = modules() / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
SCREENS = ROOT / "out" / "screens"
Scheme = Literal["light", "dark"]
LIMIT_MS = 15_000
_ELSE = ("image/png", "image/jpeg", "text/event-stream")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and AXE.exists()) and "peers" not in REQUIRED,
    reason="chromium or npm's axe-core is not installed (DIAPHANE_REQUIRE=peers makes this a failure)",
)


@dataclass(frozen=True)
class Ward:
    """The running installation: its node, its open store, and what was sent to it."""

    node: Node
    store: Store
    settings: Settings
    site: Site
    sent: Sent

    @property
    def url(self) -> str:
        """The root of its addresses."""
        return self.node.url

    def study(self, sample: str) -> Entry:
        """Return the line of a sample's study, such as radiograph/bacterial-1.dcm."""
        entry = entries.by_target(self.store, "study", self.sent.studies[sample])
        assert entry is not None
        return entry

    def cookie(self, caller: Caller) -> dict[str, str]:
        """Log somebody in and return the cookie as a browser keeps it."""
        token = Sessions(_Opened(self.site, self.store)).begin(caller)  # type: ignore[arg-type]
        return {"name": Cookies(secure=False).session, "value": token, "url": self.url}


@dataclass(frozen=True)
class _Opened:
    """What sessions need of a house."""

    site: Site
    store: Store


@contextmanager
def ward(folder: Path) -> Iterator[Ward]:
    """Run an installation and fill its list."""
    node = Node(folder, site=site_toml(), supervisor="test", deliver=False, review=True, log_level="warning", max_requests=256,
                api_token=SecretStr("a token of this test alone, of no other").get_secret_value(), quiet_s=1.0)
    with node:
        sent = send(node.settings, ROOT / "data-samples")
        wait_listed(node.store, sent)
        yield Ward(node, node.store, node.settings, read_site(node.settings.site), sent)


def person(roles: str | Iterable[str], **more: Any) -> Caller:
    """Return somebody with roles. Nobody: the name says so, and the number is of no register."""
    named = frozenset(roles.split() if isinstance(roles, str) else roles)
    told = {"name": "Dr Camille Essai", "family": "Essai", "given": "Camille", "rpps": "10999999999", "profession": "Médecin",
            "structure": "Hôpital Essai"}
    return Caller("rpps:10999999999", roles=named, **{**told, **more})


@dataclass
class Watched:
    """What a page did besides showing itself: words on the console, errors, refused sources, addresses asked for."""

    said: list[str] = field(default_factory=list)
    came: list[Any] = field(default_factory=list, repr=False)

    def watch(self, page: Any) -> None:
        """Listen to a page."""
        page.on("console", lambda message: self.said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("requestfailed", lambda request: self.said.append(f"failed: {request.failure}") if not _went(request) else None)
        page.on("response", lambda response: self.came.append(response))  # noqa: PLW0108  playwright marks the function

    @property
    def asked(self) -> list[str]:
        """The addresses that answered."""
        return [response.url for response in self.came]

    def weight(self) -> int:
        """Return the bytes of all answers but pictures and streams, once the page is there."""
        counted = [one for one in self.came if one.status == 200 and not one.headers.get("content-type", "").startswith(_ELSE)]
        return sum(len(one.body()) for one in counted)


def _went(request: Any) -> bool:
    """Tell whether a request ended because its page did."""
    return "ERR_ABORTED" in str(request.failure)


def axe(page: Any) -> list[str]:
    """Return what axe-core finds against WCAG 2.2 AA: the rule, the element, and why."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES)
    return [f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
            for rule in found["violations"] for node in rule["nodes"]]


def screens(page: Any, name: str) -> Path:
    """Write a picture of the whole page to out/screens/, light or dark as the page is."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    path = SCREENS / f"{name}-{'dark' if dark else 'light'}.png"
    page.evaluate("scrollTo(0, 0)")  # else a bar that keeps to the edge of the window is drawn in the middle of the page
    page.screenshot(path=path, full_page=True)
    return path
