"""Verdicts in a real browser: two keys and it is said; regions lie where they were drawn; nobody's word is lost or seen too early."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pydicom
import pytest
from sqlalchemy import select

from service.access.caller import Caller
from service.dicom.arrival import arrive_file
from service.store import entries
from service.store.inbox import receive
from service.store.review_tables import Verdict, VerdictObject
from service.store.verdicts import of_targets, standings_of_study
from tests.make import ROOT
from tests.peers.browser import Ward, axe, needs_browser, screens
from tests.peers.running import wait_for

pytestmark = [pytest.mark.slow, needs_browser]
SAMPLE = ROOT / "data-samples" / "radiograph" / "bacterial-1.dcm"
PATIENCE_S = 90
OTHER = Caller("rpps:10999999998", name="Dr Alix Relecteur", family="Relecteur", given="Alix", rpps="10999999998",
               structure="Hôpital Essai", roles=frozenset({"radiologist"}))


@pytest.fixture
def study(ward: Ward, request: pytest.FixtureRequest) -> tuple[str, int]:
    """A scored study of this test alone: the key of its page, and the number of its score."""
    made = pydicom.dcmread(SAMPLE)
    suffix = str(abs(hash(request.node.name)) % 10**6)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(made, name, f"{getattr(made, name)[:50]}.{suffix}")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    buffer = io.BytesIO()
    made.save_as(buffer)
    receive(ward.store, [arrive_file(buffer.getvalue())], quiet_s=0)

    def scored() -> dict[int, str]:
        with ward.store.reading() as session:
            return standings_of_study(session, str(made.StudyInstanceUID))

    wait_for(lambda: bool(scored()) and entries.by_target(ward.store, "study", str(made.StudyInstanceUID)) is not None, PATIENCE_S,
             ward.node.tail)
    line = entries.by_target(ward.store, "study", str(made.StudyInstanceUID))
    assert line is not None
    return line.key, next(iter(scored()))


def _open(page: Any, key: str) -> Any:
    page.goto(f"/review/studies/{key}")
    page.wait_for_selector(".verdict-draw:not([hidden])", state="attached")  # the viewer is there, and regions can be drawn
    return page.locator(".verdict").first


def _objects(ward: Ward, number: int) -> dict[str, pydicom.Dataset]:
    row = of_targets(ward.store, "result", [number])[number][-1]
    with ward.store.reading() as session:
        made = session.scalars(select(VerdictObject).where(VerdictObject.verdict_id == row.id)).all()
    return {one.kind: pydicom.dcmread(io.BytesIO(ward.store.objects.get(one.sha256))) for one in made}


def _verdicts(ward: Ward, number: int) -> list[Verdict]:
    return of_targets(ward.store, "result", [number])[number]


def test_two_keys_say_that_one_agrees(ward: Ward, visit: Callable[..., Any], study: tuple[str, int]) -> None:
    page = visit("radiologist")
    _open(page, study[0])
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    page.locator(".verdict .badge", has_text="Validated").wait_for()
    assert ["agree"] == [one.decision for one in _verdicts(ward, study[1])]
    assert "VERIFIED" == _objects(ward, study[1])["verified"].VerificationFlag
    assert [] == page.watched.said


def test_a_box_lies_in_the_report_where_it_was_drawn(ward: Ward, visit: Callable[..., Any], study: tuple[str, int]) -> None:
    page = visit("radiologist")
    _open(page, study[0])
    page.keyboard.press("c")
    page.locator("[data-tool=box]").first.click()
    to_screen = "([x, y]) => document.getElementById('viewer').viewer.toScreen(x, y)"
    corners = [page.evaluate(to_screen, point) for point in ([60, 80], [140, 150])]
    page.mouse.move(corners[0]["x"], corners[0]["y"])
    page.mouse.down()
    page.mouse.move(corners[1]["x"], corners[1]["y"], steps=4)
    page.mouse.up()
    screens(page, "verdict-box")
    page.locator("[data-submit=correct]").click()
    page.locator(".verdict .badge", has_text="Corrected").first.wait_for()
    drawn = next(item for group in _groups(_objects(ward, study[1])["verified-roi"]) for item in group.ContentSequence
                 if item.ValueType == "SCOORD")
    points = list(zip(drawn.GraphicData[::2], drawn.GraphicData[1::2], strict=True))
    assert [pytest.approx((60, 80), abs=1.5), pytest.approx((140, 150), abs=1.5)] == [points[0], points[2]]


def test_a_box_can_be_placed_and_moved_without_a_mouse(ward: Ward, visit: Callable[..., Any], study: tuple[str, int]) -> None:
    page = visit("radiologist")
    panel = _open(page, study[0])
    page.keyboard.press("c")
    panel.locator("[data-place]").first.focus()
    page.keyboard.press("Enter")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Shift+ArrowRight"):
        page.keyboard.press(key)
    sent = json.loads(panel.locator("input[name^='regions.']").first.input_value())
    at = page.evaluate("(({rows, columns}) => ({rows, columns}))(document.getElementById('viewer').viewer.at)")
    rows, columns = at["rows"], at["columns"]
    (left, top), (right, _) = sent[0]["points"][0], sent[0]["points"][2]
    step = max(1, .01 * max(rows, columns))
    assert [pytest.approx(columns * .375 - 2 * step, abs=.1), pytest.approx(rows * .375 - step, abs=.1)] == [left, top]
    assert pytest.approx(columns * .25 + step, abs=.1) == right - left
    page.keyboard.press("Delete")
    assert "" == panel.locator("input[name^='regions.']").first.input_value()
    assert [] == _verdicts(ward, study[1])


def test_who_comes_late_is_told_and_keeps_what_was_typed(ward: Ward, visit: Callable[..., Any], study: tuple[str, int]) -> None:
    early, late = visit("radiologist"), visit(caller=OTHER)
    for page in (early, late):
        _open(page, study[0])
    early.keyboard.press("a")
    early.keyboard.press("Enter")
    early.locator(".verdict .badge", has_text="Validated").wait_for()
    late.keyboard.press("x")
    late.locator("textarea[name=comment]").fill("kept")
    late.locator(".verdict-reasons button").first.click()
    late.locator(".verdict-error:not([hidden])").wait_for()
    assert ("kept", 1) == (late.locator("textarea[name=comment]").input_value(), len(_verdicts(ward, study[1])))


def test_a_second_reader_who_was_asked_for_sees_nothing_of_the_first(
    ward: Ward, visit: Callable[..., Any], study: tuple[str, int]
) -> None:
    first = visit("radiologist")
    panel = _open(first, study[0])
    first.keyboard.press("a")
    panel.locator("input[name=second]").check()
    panel.locator("textarea[name=comment]").fill("what the first one thinks")
    panel.locator("[data-submit=agree]").click()
    first.locator(".verdict .badge", has_text="Second reader needed").wait_for()
    second = visit(caller=OTHER)
    _open(second, study[0])
    assert "what the first one thinks" not in second.content()
    second.keyboard.press("a")
    second.keyboard.press("Enter")
    second.locator(".verdict .badge", has_text="Validated").wait_for()
    assert 2 == len(_objects(ward, study[1])["verified"].VerifyingObserverSequence)


def test_it_works_without_a_script(ward: Ward, visit: Callable[..., Any], study: tuple[str, int]) -> None:
    page = visit("radiologist", java_script_enabled=False)
    page.goto(f"/review/studies/{study[0]}")
    page.locator("label.verdict-option.reject").click()
    page.locator(".verdict-reasons button[value=image-quality]").click()
    page.locator(".verdict .badge", has_text="Withdrawn").wait_for()
    assert [("reject", "image-quality")] == [(one.decision, one.reason_code) for one in _verdicts(ward, study[1])]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_choice_breaks_a_rule_of_accessibility_at_200_percent(
    visit: Callable[..., Any], study: tuple[str, int], scheme: str
) -> None:
    page = visit("radiologist", scheme=scheme, viewport=(720, 450))
    _open(page, study[0])
    for key in "acx":
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(key)
        assert [] == axe(page), key
        screens(page, f"verdict-{key}")


def test_a_clinician_reads_the_verdict_and_gives_none(visit: Callable[..., Any], study: tuple[str, int]) -> None:
    page = visit("clinician")
    page.goto(f"/review/studies/{study[0]}")
    panel = page.locator(".verdict").first
    assert (0, "Nobody has given a verdict yet." in panel.inner_text()) == (panel.locator("form").count(), True)


def _groups(document: pydicom.Dataset) -> list[pydicom.Dataset]:
    container = next(one for one in document.ContentSequence if one.ConceptNameCodeSequence[0].get("CodeValue") == "126010")
    return list(container.ContentSequence)
