"""The technical file in a real browser: no page breaks a rule of accessibility, asks anybody anything or is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.peers.browser import CHROMIUM, axe, needs_browser
from training.__main__ import app

pytestmark = [needs_browser, pytest.mark.slow]
RELEASE = "chest_xray_pediatric-1.0.0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one release of images, its gaps from its published figures."""
    out: Path = tmp_path_factory.mktemp("technical")
    CliRunner().invoke(app, ["fairness", RELEASE, "--data", str(out / "none"), "--out", str(out / "fairness")])
    made = CliRunner().invoke(app, ["technical-file", RELEASE, "--out", str(out / "file"), "--results", str(out)])
    assert made.exit_code == 0, made.output
    return out / "file"


@pytest.mark.parametrize("width", [1280, 400])
def test_every_page_is_accessible_and_asks_for_nothing(folder: Path, width: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for path in sorted(folder.glob("*.html")):
            page.goto(path.as_uri())
            assert axe(page) == [], path.name
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        browser.close()
    assert [url for url in asked if not url.startswith("file:")] == []
