"""The image page in Chromium: the layer is off until asked, the wheel turns slices, dragging windows, and all of it by keyboard."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.peers import browser
from tests.peers.browser import Ward, axe, screens

pytestmark = [pytest.mark.slow, browser.needs_browser]
RADIOGRAPH, BRAIN = "radiograph/bacterial-1.dcm", "mr/crop-1"
Visit = Callable[..., Any]


def opened(visit: Visit, ward: Ward, sample: str, **how: Any) -> Any:
    page = visit("radiologist", **how)
    page.goto(f"/review/studies/{ward.study(sample).key}")
    until(page, "document.getElementById('viewer').viewer?.main.told")
    until(page, "document.querySelector('[data-pane=main] .picture').naturalWidth > 0")
    return page


def until(page: Any, condition: str) -> None:
    """Wait until an expression holds. Playwright's own wait compiles it in the page, which the page's policy forbids."""
    end = time.monotonic() + browser.LIMIT_MS / 1000
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def at(page: Any) -> dict[str, Any]:
    return dict(page.evaluate("document.getElementById('viewer').viewer.at"))


def middle(page: Any) -> tuple[float, float]:
    box = page.locator('[data-pane="main"] .area').bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_layer_is_off_until_it_is_asked_for_by_one_key(visit: Visit, ward: Ward) -> None:
    page = opened(visit, ward, RADIOGRAPH)
    assert not [url for url in page.watched.asked if "/layers/" in url]  # not even fetched
    assert page.locator(".layer:visible").count() == 0
    page.keyboard.press("h")
    page.wait_for_selector('[data-pane="main"] .layer:visible')
    assert page.locator('[data-pane="main"] .lines path').count() == 2
    until(page, "document.getElementById('viewer-said').textContent.includes('Strongest in the')")
    page.wait_for_timeout(600)  # which slice it is, said late, must not take its place
    assert "Strongest in the" in page.locator("#viewer-said").inner_text()
    assert page.locator("#ramp-row").is_visible()
    page.keyboard.press("h")
    page.wait_for_selector('[data-pane="main"] .layer', state="hidden")
    assert page.locator('[data-pane="main"] .lines path').count() == 0


def test_the_layer_lies_on_the_picture_to_the_pixel(visit: Visit, ward: Ward) -> None:
    page = opened(visit, ward, RADIOGRAPH)
    page.keyboard.press("h")
    page.wait_for_selector('[data-pane="main"] .layer:visible')
    for press in ("", "+", "+", "Shift+ArrowLeft", "b", "0"):
        if press:
            page.keyboard.press(press)
        boxes = page.evaluate("""['.picture', '.layer', '.lines'].map(name => {
            const box = document.querySelector(`[data-pane=main] ${name}`).getBoundingClientRect();
            return [box.x, box.y, box.width, box.height]; })""")
        assert boxes[0] == pytest.approx(boxes[1], abs=0.01)
        assert boxes[0] == pytest.approx(boxes[2], abs=0.01)


def test_a_place_on_the_screen_is_a_place_in_the_picture_and_back(visit: Visit, ward: Ward) -> None:
    page = opened(visit, ward, RADIOGRAPH)
    page.keyboard.press("+")
    there = page.evaluate("""() => {
        const v = document.getElementById('viewer').viewer, p = v.toScreen(100.5, 50.25);
        return v.toImage(p.x, p.y); }""")
    assert (there["x"], there["y"]) == (pytest.approx(100.5), pytest.approx(50.25))


def test_the_wheel_and_keys_turn_slices_and_contours_follow(visit: Visit, ward: Ward) -> None:
    page = opened(visit, ward, BRAIN)
    slices = at(page)["slices"]
    first = at(page)["slice"]
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, 100)
    until(page, f"document.getElementById('viewer').viewer.at.slice > {first}")
    page.keyboard.press("End")
    assert at(page)["slice"] == slices
    page.keyboard.press("PageUp")
    assert at(page)["slice"] == slices - 1
    until(page, f"document.querySelector('[data-pane=main] .picture').src.includes('/images/1/{slices - 1}.png')")
    page.keyboard.press("h")
    page.evaluate(f"document.getElementById('viewer').viewer.show({{slice: {first}}})")
    page.wait_for_selector('[data-pane="main"] .lines path')


def test_dragging_changes_the_window_at_once_and_then_exactly(visit: Visit, ward: Ward) -> None:
    page = opened(visit, ward, RADIOGRAPH)
    before = float(page.locator("#width").input_value())
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y + 40, steps=6)
    assert page.evaluate("document.querySelector('[data-pane=main] .picture').style.filter || "
                         "document.querySelector('[data-pane=main] .picture').src.includes('window=')")
    page.mouse.up()
    after = float(page.locator("#width").input_value())
    assert after > before
    until(page, "(v => v.main.shownAddress === v.main.address() && v.main.address().includes('window=') "
                           "&& !v.main.picture.style.filter)(document.getElementById('viewer').viewer)")
    page.keyboard.press("ArrowLeft")
    assert float(page.locator("#width").input_value()) < after


def test_the_preview_of_a_window_is_near_the_exact_picture(visit: Visit, ward: Ward) -> None:
    """The mean grey of what the filter shows and of what the service then sends differ by little."""
    page = opened(visit, ward, RADIOGRAPH)
    told = page.evaluate("""async () => {
        const v = document.getElementById('viewer').viewer, pane = v.main;
        const grey = (image, slope, intercept) => {
            const c = document.createElement('canvas'); c.width = c.height = 64;
            const g = c.getContext('2d'); g.drawImage(image, 0, 0, 64, 64);
            const d = g.getImageData(0, 0, 64, 64).data; let sum = 0;
            for (let i = 0; i < d.length; i += 4) sum += Math.min(255, Math.max(0, 255 * (slope * d[i] / 255 + intercept)));
            return sum / 4096; };
        const [c, w, f] = pane.told.window; const before = pane.picture;
        pane.look([c * 1.1, w * 0.9, f]);
        const one = pane.greys[0];
        const near = grey(before, Number(one.getAttribute('slope')), Number(one.getAttribute('intercept')));
        while (pane.shownAddress !== pane.address()) await new Promise(r => setTimeout(r, 20));
        return [near, grey(pane.picture, 1, 0)]; }""")
    assert told[0] == pytest.approx(told[1], abs=3)


def test_side_by_side_shows_the_plain_picture_in_step(visit: Visit, ward: Ward) -> None:
    page = opened(visit, ward, BRAIN)
    page.keyboard.press("b")
    page.keyboard.press("h")
    page.wait_for_selector('[data-pane="beside"]:visible')
    page.keyboard.press("PageDown")
    page.keyboard.press("i")
    page.keyboard.press("+")
    both = page.evaluate("""() => { const v = document.getElementById('viewer').viewer; return [v.main, v.second].map(
        p => [p.slice, p.inverted, p.scale, p.x, p.y, p.picture.style.filter !== '']); }""")
    assert both[0] == both[1]
    assert page.locator('[data-pane="beside"] .lines path').count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("sample", [RADIOGRAPH, BRAIN])
def test_the_page_has_no_violation_with_the_layer_on_and_two_pictures(visit: Visit, ward: Ward, scheme: str, sample: str) -> None:
    page = opened(visit, ward, sample, scheme=scheme)
    page.keyboard.press("h")
    page.wait_for_selector('[data-pane="main"] .lines path')
    screens(page, f"image-{sample.partition('/')[0]}")
    assert axe(page) == []
    page.keyboard.press("b")
    assert axe(page) == []
    assert page.watched.said == []


def test_at_twice_the_size_nothing_is_lost_to_the_side(visit: Visit, ward: Ward) -> None:
    page = opened(visit, ward, RADIOGRAPH, viewport=(640, 450), device_scale_factor=2)
    page.keyboard.press("h")
    page.wait_for_selector('[data-pane="main"] .layer:visible')
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert axe(page) == []
    screens(page, "image-zoomed")


def test_the_page_weighs_little_and_its_first_paint_is_written_down(visit: Visit, ward: Ward) -> None:
    visit("radiologist").goto(f"/review/studies/{ward.study(RADIOGRAPH).key}")  # the templates are compiled
    page = opened(visit, ward, RADIOGRAPH)
    figures = page.evaluate("""() => {
        const picture = performance.getEntriesByType('resource').find(e => e.name.includes('/images/1/'));
        return { first_picture_ms: Math.round(picture.responseEnd),
                 first_contentful_paint_ms: Math.round(performance.getEntriesByName('first-contentful-paint')[0].startTime) }; }""")
    figures["bytes_without_pictures"] = page.watched.weight()
    browser.SCREENS.mkdir(parents=True, exist_ok=True)
    (browser.SCREENS / "image-first-paint.json").write_text(json.dumps(figures) + "\n")
    assert figures["bytes_without_pictures"] <= 300_000
