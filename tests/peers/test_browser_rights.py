"""The data-protection officer in a real browser: finds a person, sets an opposition, exports, and erases for good."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from service.access.caller import Caller
from service.review.page import static_url
from service.store import persons
from tests.peers.browser import Ward, axe, needs_browser, person, screens

pytestmark = [needs_browser, pytest.mark.slow]
Visit = Callable[..., Any]
SAMPLE = "radiograph/normal-1.dcm"
DPO = "dpo"


@pytest.fixture
def officer() -> Caller:
    """Somebody who has signed in just now."""
    import time
    from dataclasses import replace

    return replace(person(DPO, name="Alix Essai"), login_at=time.time())


def find(page: Any, uid: str) -> None:
    page.goto("/review/rights")
    page.get_by_label("One study, by its StudyInstanceUID").check()
    page.get_by_role("textbox", name="Identifier").fill(uid)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What is held of this study").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_in_both_schemes_and_at_200_percent(visit: Visit, ward: Ward, officer: Caller, scheme: str) -> None:
    page = visit(caller=officer, scheme=scheme)
    page.goto("/review/rights")
    found = [axe(page)]
    screens(page, "rights")
    find(page, ward.sent.studies[SAMPLE])
    found.append(axe(page))
    screens(page, "rights-person")
    page.get_by_role("button", name="Erase…").click()
    page.get_by_role("heading", name="Erase for good").wait_for()
    found.append(axe(page))
    screens(page, "rights-erase")
    page.set_viewport_size({"width": 720, "height": 450})
    found.append(axe(page))
    assert [[]] * 4 == found
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [] == page.watched.said
    assert static_url("rights.css") in "".join(page.watched.asked)


def test_an_officer_opposes_exports_and_erases_and_nothing_is_left(visit: Visit, ward: Ward, officer: Caller, tmp_path: Path) -> None:
    uid = ward.sent.studies[SAMPLE]
    page = visit(caller=officer)
    find(page, uid)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "access.zip")
    with zipfile.ZipFile(tmp_path / "access.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".dcm")]
        images = [pydicom.dcmread(io.BytesIO(archive.read(name)), stop_before_pixels=True) for name in names]
    assert {uid} == {str(image.StudyInstanceUID) for image in images}
    assert uid not in page.url

    page.get_by_label("Not to be used for training").check()
    page.get_by_role("button", name="Set the opposition").click()
    page.get_by_text("in force").wait_for()

    page.get_by_role("button", name="Erase…").click()
    page.get_by_label("I have compared the identity with the request.").check()
    page.get_by_role("button", name="Erase for good").click()
    page.get_by_text("Nothing is left here but the lines of the audit").wait_for()
    screens(page, "rights-erased")
    assert persons.study_attributes(ward.store, uid) is None


def test_who_is_no_officer_sees_nothing_of_it(visit: Visit, ward: Ward) -> None:
    page = visit("radiologist")
    assert 403 == page.goto("/review/rights").status
    answer = page.request.post(f"{ward.url}/review/rights", form={"identifier": ward.sent.studies["radiograph/bacterial-1.dcm"],
                                                                  "kind": "study"})
    assert 403 == answer.status
    assert "studies" not in answer.text()
