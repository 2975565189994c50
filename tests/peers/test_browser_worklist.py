"""The worklist in Chromium: the most urgent study by keyboard alone, a study that comes while one reads, and nothing that moves."""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from service.dicom import stow_client
from service.site import Target
from service.store import entries
from service.store.entries import CRITICAL, LOW, NewEntry
from tests.make import ROOT
from tests.peers import browser
from tests.peers.browser import Ward, axe, screens

pytestmark = [pytest.mark.slow, browser.needs_browser]
RADIOGRAPH = ROOT / "data-samples" / "radiograph" / "bacterial-1.dcm"
Visit = Callable[..., Any]
Lines = Callable[..., str]


@pytest.fixture
def lines(ward: Ward) -> Iterator[Lines]:
    """Write lines that this test alone knows, and take them away after it."""
    made: list[str] = []

    def put(name: str, **changes: Any) -> str:
        told: dict[str, Any] = {
            "kind": "study", "target": f"2.25.{len(made)}{time.time_ns()}", "urgency": LOW, "waiting_since": time.time(),
            "version": "1", "patient_name": name, "person": hashlib.sha256(name.encode()).hexdigest()[:32],
            "models": ("chest_xray_pediatric-1.0.0",),
            "detail": {"patient": {"name": name, "given": "TEST", "birth_date": "20190401", "sex": "F", "id": "T-1"}},
        }
        new = NewEntry(**{**told, **changes})
        made.append(new.target)
        with ward.store.session() as session:
            entries.put(session, new)
        return new.target

    yield put
    with ward.store.session() as session:
        entries.erase(session, kind="study", targets=made)


def until(page: Any, expression: str) -> None:
    """Wait until something holds on a page. Playwright's own waiting evaluates words in it, which the page forbids."""
    for _ in range(int(browser.LIMIT_MS / 50)):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def opened(visit: Visit, path: str = "/review", **how: Any) -> Any:
    page = visit("radiologist", **how)
    page.goto(path)
    until(page, "document.getElementById('wl-live').textContent === 'Live'")
    return page


def names(page: Any) -> list[str]:
    return [one.strip() for one in page.locator(".wl-open").all_inner_texts()]


def at(page: Any) -> str:
    """Return the key of the line that has the focus."""
    return str(page.evaluate("document.activeElement.closest('.wl-line')?.dataset.key ?? ''"))


def key_of(ward: Ward, target: str) -> str:
    line = entries.by_target(ward.store, "study", target)
    assert line is not None
    return line.key


@contextmanager
def still(page: Any) -> Iterator[None]:
    """Demand that the line with the focus stays where it is."""
    look = "(at => [at.dataset.key, at.getBoundingClientRect().top])(document.activeElement.closest('.wl-line'))"
    before = page.evaluate(look)
    yield
    assert page.evaluate(look) == before


def test_the_most_urgent_study_is_opened_with_the_keyboard_alone(visit: Visit) -> None:
    page = opened(visit)
    first = page.locator(".wl-line").first.get_attribute("data-key")
    page.keyboard.press("j")
    assert at(page) == first
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    assert at(page) == page.locator(".wl-line").nth(1).get_attribute("data-key")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/review/(studies|risks)/"))
    page.go_back()
    until(page, "document.activeElement.closest('.wl-line')")
    assert at(page) == first  # one goes on where one was


def test_the_most_urgent_that_nobody_has_opened_is_one_key_away(visit: Visit, ward: Ward, lines: Lines) -> None:
    target = lines("AAFIRST", urgency=CRITICAL, waiting_since=1.0)
    page = opened(visit)
    page.keyboard.press("n")
    page.wait_for_url(f"**/review/studies/{key_of(ward, target)}")


def test_a_study_that_comes_while_one_reads_moves_nothing_until_it_is_asked_for(visit: Visit, ward: Ward) -> None:
    page = opened(visit)
    page.keyboard.press("j")
    with still(page):
        _send(ward, name="ZZLIVE^TEST")
        page.wait_for_selector(".wl-news", timeout=90_000)
        assert "new line" in page.locator(".wl-news").inner_text()
        assert "ZZLIVE TEST" not in names(page)
    page.keyboard.press("r")
    until(page, "[...document.querySelectorAll('.wl-open')].some(one => one.textContent.includes('ZZLIVE'))")
    assert page.locator(".wl-news").count() == 0


def test_a_line_that_somebody_decides_is_brought_up_to_date_where_it_stands(visit: Visit, ward: Ward, lines: Lines) -> None:
    other = lines("AADECIDED", urgency=CRITICAL, waiting_since=1.0)
    mine = lines("AAMINE", urgency=CRITICAL, waiting_since=2.0)
    page = opened(visit)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert at(page) == key_of(ward, mine)
    with still(page):
        with ward.store.session() as session:
            entries.set_state(session, kind="study", target=other, state="rejected")
        page.wait_for_selector(f".wl-line.left[data-key='{key_of(ward, other)}'] .state.stop")
    page.reload()
    assert "AADECIDED TEST" not in names(page)


def test_a_line_that_is_erased_leaves_nothing_on_the_screen(visit: Visit, ward: Ward, lines: Lines) -> None:
    target = lines("AAERASED", urgency=CRITICAL, waiting_since=1.0)
    page = opened(visit)
    assert "AAERASED" in page.content()
    with ward.store.session() as session:
        entries.erase(session, kind="study", targets=[target])
    until(page, "!document.body.innerHTML.includes('AAERASED')")


def test_a_search_by_keyboard_says_nothing_in_its_address(visit: Visit, lines: Lines) -> None:
    lines("ÉGLANTINE-TEST")
    page = opened(visit)
    page.keyboard.press("/")
    page.keyboard.type("eglan")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('.wl-open').length === 1")
    assert names(page) == ["ÉGLANTINE-TEST TEST"]
    assert "eglan" not in page.url.casefold()
    assert "found=" in page.url
    page.reload()
    assert names(page) == ["ÉGLANTINE-TEST TEST"]
    page.go_back()
    until(page, "document.querySelectorAll('.wl-open').length > 1")


def test_filters_keep_the_focus_and_the_address(visit: Visit) -> None:
    page = opened(visit)
    page.keyboard.press("f")
    assert page.evaluate("document.activeElement.dataset.chip") == "urgency-3"
    page.locator("[data-chip=kind-study]").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/review?kind=study")
    until(page, "document.activeElement.dataset.chip === 'kind-study'")
    assert page.locator("[data-chip=kind-study]").get_attribute("aria-current") == "true"
    page.locator("#wl-modality").select_option("MR")
    page.wait_for_url("**/review?kind=study&modality=MR")
    assert set(page.locator(".wl-modality").all_inner_texts()) <= {"MR"}


def test_the_list_works_without_scripts(visit: Visit, lines: Lines) -> None:
    lines("AASCRIPTLESS")
    page = visit("radiologist", java_script_enabled=False)
    page.goto("/review")
    page.locator("[data-chip=kind-study]").click()
    assert "kind=study" in page.url
    page.locator("[data-chip=view-all]").click()
    page.locator("#wl-text").fill("aascript")
    page.locator(".wl-search button").click()
    assert "AASCRIPTLESS" in page.content()
    assert "found=" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [(1440, 900), (720, 450), (320, 640)])
def test_the_list_is_there_for_everybody(visit: Visit, scheme: str, viewport: tuple[int, int]) -> None:
    page = opened(visit, scheme=scheme, viewport=viewport)
    assert not axe(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport[0]
    assert not page.watched.said
    if viewport[0] == 1440:
        screens(page, "worklist")
        page.goto("/review?view=done&state=rejected&urgency=3&kind=alert")
        assert not axe(page)


def test_the_page_is_light(visit: Visit) -> None:
    page = opened(visit)
    assert page.watched.weight() <= 300 * 1024
    assert all(url.startswith(page.url.partition("/review")[0]) for url in page.watched.asked)


def _send(ward: Ward, *, name: str) -> None:
    dataset = pydicom.dcmread(RADIOGRAPH)
    dataset.PatientName, dataset.PatientID = name, "T-LIVE"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    out = io.BytesIO()
    dataset.save_as(out)
    target = Target.model_validate({"name": "test", "kind": "stow", "url": f"{ward.url}/dicom-web", "token": ward.settings.api_token})
    stow_client.store(target, [out.getvalue()])
