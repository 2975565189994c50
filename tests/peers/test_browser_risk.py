"""The risk page and the department in Chromium: reasons read, a slider moved, a value typed, nothing kept; and WCAG on both."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from service.store import risks
from service.store.review_tables import Risk
from tests.peers import browser
from tests.peers.browser import Ward, axe, screens

pytestmark = [pytest.mark.slow, browser.needs_browser]
Visit = Callable[..., Any]
LIGHT_PAGE = 300_000  # bytes of everything but pictures


def kept(ward: Ward, model: str, status: str = "scored", source: str = "") -> Risk:
    """The latest risk of a model that the installation holds."""
    from sqlalchemy import select

    with ward.store.reading() as session:
        found = session.scalars(select(Risk).where(
            Risk.model.startswith(model), Risk.status == status, Risk.source.startswith(source)).order_by(Risk.id.desc())).first()
    assert found is not None, f"no risk of {model}"
    return found


def until(page: Any, expression: str) -> None:
    """Wait until something holds on a page; playwright's own waiting evaluates words in it, which the page forbids."""
    for _ in range(int(browser.LIMIT_MS / 50)):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


@pytest.mark.parametrize("model", ["icu_mortality", "ed_triage", "warfarin_dose", "readmission_30d"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_risk_is_accessible_in_both_schemes(visit: Visit, ward: Ward, model: str, scheme: browser.Scheme) -> None:
    page = visit("clinician", scheme=scheme)
    page.goto(f"/review/risks/{kept(ward, model).key}")
    assert axe(page) == []
    screens(page, f"risk-{model}")
    assert page.watched.said == []
    assert page.watched.weight() <= LIGHT_PAGE


def test_a_risk_is_whole_at_twice_the_size(visit: Visit, ward: Ward) -> None:
    page = visit("clinician", viewport=(640, 512))
    page.goto(f"/review/risks/{kept(ward, 'icu_mortality').key}")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    screens(page, "risk-zoomed")


def test_a_refusal_and_an_alert_are_accessible(visit: Visit, ward: Ward) -> None:
    page = visit("clinician")
    page.goto(f"/review/risks/{kept(ward, 'warfarin_dose', 'refused').key}")
    assert page.get_by_text("No score is given").is_visible()
    assert axe(page) == []
    screens(page, "risk-refused")
    alert = kept(ward, "hypoglycaemia_60min", source=risks.MONITORING)
    page.goto(f"/review/risks/{alert.key}")
    assert page.get_by_role("heading", name="Alert of remote monitoring").is_visible()
    assert page.locator(".curve .dot").count() > 4
    assert axe(page) == []
    screens(page, "risk-alert")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_department_is_accessible_and_leads_to_its_people(visit: Visit, ward: Ward, scheme: browser.Scheme) -> None:
    page = visit("clinician", scheme=scheme)
    page.goto("/review/department")
    assert page.locator(".law").count() == 2
    assert axe(page) == []
    screens(page, "department")
    page.locator(".board tbody a").first.click()
    assert re.search(r"/review/risks/[0-9a-f]{32}$", page.url)


def test_the_department_is_whole_at_twice_the_size(visit: Visit, ward: Ward) -> None:
    page = visit("clinician", viewport=(640, 512))
    page.goto("/review/department")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_slider_moved_by_keyboard_shows_old_and_new_as_hypothetical_and_leaves_nothing(visit: Visit, ward: Ward) -> None:
    one = kept(ward, "readmission_30d")
    page = visit("clinician")
    assert page.goto(f"/review/risks/{one.key}").status == 200
    figure = page.locator(".figure .big").first.inner_text()
    page.keyboard.press("w")
    slider = page.locator(".what-if input[type=range]:focus")
    assert slider.count() == 1
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('#tried .tried') !== null")
    assert "Hypothetical" in page.locator("#tried").inner_text()
    before = page.locator("#tried .before").inner_text().split()[-1]
    assert abs(float(before.strip("%")) - float(figure.strip("%"))) <= 0.5
    until(page, "document.getElementById('tried-said').textContent.startsWith('Hypothetical')")
    assert page.evaluate("document.body.classList.contains('hypothetical')")
    assert page.url.endswith(one.key)
    assert axe(page) == []
    screens(page, "risk-what-if")
    page.locator("h1").click()
    page.keyboard.press("0")
    until(page, "document.querySelector('#tried .tried') === null")
    assert not page.evaluate("document.body.classList.contains('hypothetical')")
    page.reload()
    assert page.locator(".figure .big").first.inner_text() == figure
    assert page.locator("#tried .tried").count() == 0
    with ward.store.reading() as session:
        again = session.get(Risk, one.id)
        assert again is not None
        assert (again.value, again.answer) == (one.value, one.answer)


def test_a_typed_value_out_of_range_is_answered_by_the_models_refusal(visit: Visit, ward: Ward) -> None:
    page = visit("clinician")
    assert page.goto(f"/review/risks/{kept(ward, 'ed_triage').key}").status == 200
    row = page.locator('.input[data-code="HR"]')
    row.locator("input[type=number]").fill("190")
    until(page, "document.querySelector('#tried .tried') !== null")
    assert "No score with these values" in page.locator("#tried").inner_text()
    assert "no score" in page.locator("#tried-said").inner_text()


def test_without_a_script_the_form_answers_with_the_page(visit: Visit, ward: Ward) -> None:
    page = visit("clinician", java_script_enabled=False)
    page.goto(f"/review/risks/{kept(ward, 'icu_mortality').key}")
    page.locator(".inputs input[type=number]").first.fill("40")
    page.get_by_role("button", name="Score with these").click()
    assert page.url.endswith("/what-if")
    assert page.locator("#tried .tried").count() == 1


def test_a_role_without_patients_sees_neither_risk_nor_department(visit: Visit, ward: Ward) -> None:
    page = visit("engineer")
    for path in (f"/review/risks/{kept(ward, 'icu_mortality').key}", "/review/department"):
        answer = page.goto(path)
        assert answer.status == 403
        assert "ESSAI" not in page.content()
