"""What tests with a browser share: one installation, one Chromium, and somebody who is logged in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.access.caller import Caller
from tests.peers import browser


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Ward]:
    """One running installation with a filled list."""
    with browser.ward(tmp_path_factory.mktemp("ward")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One Chromium for a file. Playwright keeps an event loop running in this thread: other tests could not start one of theirs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser.CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(ward: browser.Ward, chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page as somebody: ``visit("radiologist", scheme="dark", viewport=(1440, 900), language="fr")``; caller=None: nobody."""
    contexts = []

    def opened(roles: str = "radiologist", *, caller: Caller | None = None, scheme: browser.Scheme = "light",
               viewport: tuple[int, int] = (1440, 900), language: str = "en", logged_in: bool = True, **more: Any) -> Any:
        context = chromium.new_context(base_url=ward.url, color_scheme=scheme, locale=language, reduced_motion="reduce",
                                       viewport={"width": viewport[0], "height": viewport[1]}, **more)
        context.set_default_timeout(browser.LIMIT_MS)
        if logged_in:
            context.add_cookies([ward.cookie(caller or browser.person(roles))])
        contexts.append(context)
        page = context.new_page()
        page.watched = browser.Watched()
        page.watched.watch(page)
        return page

    yield opened
    for context in contexts:
        context.close()
