"""A radiologist writes a report in a real browser: whose words are whose shows as they type, nothing is lost, and they sign it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.peers.browser import Ward, axe, needs_browser, screens

pytestmark = [pytest.mark.slow, needs_browser]
SAMPLE, OTHER = "radiograph/normal-2.dcm", "radiograph/normal-1.dcm"  # no other test signs these


def test_a_report_is_edited_saved_and_signed_from_the_keyboard(ward: Ward, visit: Callable[..., Any]) -> None:
    page = visit("radiologist")
    page.goto(f"/review/studies/{ward.study(SAMPLE).key}/report")
    line = page.locator(".line.ai").last
    line.locator("textarea").fill("No focal opacity.")
    assert ["Written by hand"] == page.locator(".line.person .from-mark span").all_inner_texts()
    assert "There are changes that are not saved." == page.locator("#unsaved").inner_text()
    screens(page, "report-editing")
    page.keyboard.press("Control+s")
    page.get_by_text("A new version was saved.").wait_for()
    assert page.locator("textarea").filter(has_text="No focal opacity.").count() == 1
    page.get_by_role("link", name="Version 2").click()
    assert "No focal opacity." in page.locator("ins").last.inner_text()
    assert [] == axe(page)
    screens(page, "report-version")
    page.go_back()
    sign = page.get_by_role("button", name="Sign the report")
    sign.focus()
    page.keyboard.press("Enter")
    page.locator(".signed").get_by_text("Camille Essai").wait_for()
    assert 0 == page.locator("textarea").count() == page.locator(".draft-mark").count()
    assert [] == axe(page)
    screens(page, "report-signed")
    page.goto(f"/review/studies/{ward.study(SAMPLE).key}")
    assert "validated" == ward.study(SAMPLE).state
    assert [] == page.watched.said


def test_a_draft_bears_its_mark_on_paper_too_and_shows_every_word(ward: Ward, visit: Callable[..., Any]) -> None:
    page = visit("radiologist")
    page.goto(f"/review/studies/{ward.study(OTHER).key}/report")
    page.emulate_media(media="print")
    assert page.locator(".draft-mark").is_visible()
    written = page.locator("textarea:not([placeholder])").evaluate_all("areas => areas.map(area => area.value)")
    shown = page.locator("p.print-only")
    assert written == shown.all_inner_texts()
    assert all(one.is_visible() for one in shown.all())
    assert not page.locator("textarea").first.is_visible()
    assert page.locator(".sign").is_hidden()


def test_the_stored_input_gives_the_same_number_again(ward: Ward, visit: Callable[..., Any]) -> None:
    page = visit("radiologist")
    page.goto(f"/review/studies/{ward.study('mr/crop-2').key}/report")
    page.locator(".from-source a").first.click()
    page.get_by_role("button", name="Score the stored input again").click()
    page.get_by_text("The same number").wait_for()
    assert "both hashes are those of the result" in page.locator("#replay").inner_text()
    assert [] == axe(page)
    screens(page, "about-replayed")
