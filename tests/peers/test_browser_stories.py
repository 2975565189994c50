"""Whole days at the clinician's page: a radiologist with Orthanc, a doctor who comes from a card, an administrator, an intruder."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy import select

from service.demo_review import Sent
from service.site import read_site
from service.store import entries
from service.store.ehr_tables import Feedback
from tests.make import ROOT, needs_peer
from tests.peers.browser import Ward, needs_browser, person, screens
from tests.peers.pacs import Pacs
from tests.peers.running import Node, wait_for

pytestmark = [needs_browser, needs_peer("Orthanc"), pytest.mark.slow]
SAMPLES = ROOT / "data-samples"
TOKEN = "of this story alone, and of no other"
PATIENCE_S = 90.0
Visit = Callable[..., Any]


@pytest.fixture(scope="module")
def pacs_and_ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pacs, Ward]]:
    """A PACS, and an installation that gets its images and gives it results."""
    folder = tmp_path_factory.mktemp("stories")
    node = Node(folder / "node", quiet_s=2, review=True, api_token=TOKEN)
    node.environ["DIAPHANE_PUBLIC_URL"] = node.url
    with Pacs(folder / "pacs", node) as pacs:
        node.write_site(pacs.as_target())
        with node:
            settings = node.settings
            yield pacs, Ward(node, node.store, settings, read_site(settings.site), Sent())


@pytest.fixture
def seen(pacs_and_ward: tuple[Pacs, Ward], chromium: Any) -> Iterator[Visit]:
    """Open a browser as somebody with roles."""
    contexts = []

    def opened(roles: str, **more: Any) -> Any:
        context = chromium.new_context(base_url=pacs_and_ward[1].url, locale="en", viewport={"width": 1440, "height": 900})
        context.set_default_timeout(30_000)
        if roles:
            context.add_cookies([pacs_and_ward[1].cookie(person(roles, **more))])
        contexts.append(context)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


def _send(pacs: Pacs, ward: Ward, sample: str) -> str:
    """Send a sample as a modality does; return its study once its results are delivered."""
    data = (SAMPLES / sample).read_bytes()
    study = str(pydicom.dcmread(io.BytesIO(data)).StudyInstanceUID)
    pacs.upload(data)

    def scored() -> bool:
        line = entries.by_target(ward.store, "study", study)
        return line is not None and bool(line.model)

    wait_for(scored, PATIENCE_S, ward.node.tail)
    ward.node.settle(PATIENCE_S)
    return study


def test_a_radiologist_corrects_the_most_urgent_study_and_signs_and_the_pacs_has_it(
    pacs_and_ward: tuple[Pacs, Ward], seen: Visit
) -> None:
    pacs, ward = pacs_and_ward
    study = _send(pacs, ward, "radiograph/bacterial-1.dcm")
    page = seen("radiologist")
    page.goto("/review")
    page.locator(".wl-line").first.wait_for()
    page.keyboard.press("n")  # the most urgent that nobody has opened
    page.wait_for_url(re.compile("/review/studies/"))
    page.wait_for_selector(".verdict-draw:not([hidden])", state="attached")
    assert page.evaluate("document.getElementById('viewer').viewer.layers.on") is False  # the picture first
    page.keyboard.press("h")
    wait_for(lambda: page.evaluate("document.getElementById('viewer').viewer.layers.on"), 20.0, ward.node.tail)
    screens(page, "story-image")
    page.keyboard.press("c")
    page.locator(".verdict input[type=radio][value=no]").first.focus()
    page.keyboard.press("Space")
    screens(page, "story-correct")
    page.locator("[data-submit=correct]").first.press("Enter")
    page.locator(".verdict .badge", has_text="Corrected").first.wait_for()
    page.goto(page.url.split("?")[0].split("#")[0] + "/report")
    draft = page.evaluate("[...document.querySelectorAll('textarea')].map(one => one.value).join(' ')")
    assert "absent" in draft  # it follows the reader, not the model
    assert "In favour of: pneumonia" not in draft
    page.get_by_role("button", name=re.compile("Sign the report")).click()
    page.get_by_text("The report is signed.").first.wait_for()

    def verified() -> list[Any]:
        there = [pydicom.dcmread(io.BytesIO(pacs.file(one["ID"]))) for one in pacs.instances(study)
                 if one["SOPClassUID"] == Comprehensive3DSRStorage]
        return [one for one in there if one.VerificationFlag == "VERIFIED"]

    wait_for(lambda: bool(verified()), PATIENCE_S, ward.node.tail)
    assert {("FINAL", "Essai^Camille")} == {
        (one.PreliminaryFlag, str(one.VerifyingObserverSequence[0].VerifyingObserverName)) for one in verified()}


def test_a_doctor_opens_a_risk_from_a_card_asks_what_if_and_rejects_it(pacs_and_ward: tuple[Pacs, Ward], seen: Visit) -> None:
    _, ward = pacs_and_ward
    call = json.loads((SAMPLES / "cds-hooks/patient-view.json").read_text(encoding="utf-8"))
    answer = httpx.post(f"{ward.url}/cds-services/icu-mortality", json=call, timeout=60, trust_env=False,
                        headers={"authorization": f"Bearer {TOKEN}", "accept-language": "en"})
    (card,) = answer.json()["cards"]
    link = next(one["url"] for one in card["links"] if one["label"] == "Open in Diaphane")
    page = seen("clinician")
    wait_for(lambda: page.goto(link).status == 200, 20.0, ward.node.tail)  # the card is written down shortly after it is shown
    page.keyboard.press("w")
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    page.locator("#tried .tried").wait_for()
    assert "Hypothetical" in page.locator("#tried").inner_text()
    screens(page, "story-risk")
    page.locator("h1").click()
    page.keyboard.press("x")
    page.locator(".verdict [name=reason_code][value=wrong-data]").first.click()
    page.locator(".verdict .badge", has_text="Rejected").first.wait_for()
    with ward.store.reading() as session:
        (row,) = session.scalars(select(Feedback).where(Feedback.card_uuid == card["uuid"])).all()
    assert ("overridden", "wrong-data") == (row.outcome, row.reason_code)


def test_an_administrator_finds_who_looked_at_a_patient(pacs_and_ward: tuple[Pacs, Ward], seen: Visit) -> None:
    pacs, ward = pacs_and_ward
    sample = "radiograph/viral-1.dcm"
    line = entries.by_target(ward.store, "study", _send(pacs, ward, sample))
    assert line is not None
    identifier = str(pydicom.dcmread(SAMPLES / sample, stop_before_pixels=True).PatientID)
    seen("radiologist", name="Dr Alix Lecture").goto(f"/review/studies/{line.key}")
    page = seen("administrator")
    for issuer in ("", *page_issuers(page)):
        page.goto("/review/persons")
        page.locator("main input[type=text], main input[type=search]").first.fill(identifier)
        if issuer:
            page.locator("main select").first.select_option(issuer)
        page.locator("main form button", has_text="Search").first.click()
        page.locator("main h1").wait_for()
        if "Dr Alix Lecture" in page.locator("main").inner_text():
            break
    assert "Dr Alix Lecture" in page.locator("main").inner_text()
    assert identifier not in page.url
    screens(page, "story-persons")


def page_issuers(page: Any) -> list[str]:
    """Return the issuers that the page of persons offers."""
    page.goto("/review/persons")
    return list(page.evaluate("[...document.querySelectorAll('main select option')].map(one => one.value)"))


@pytest.mark.parametrize("roles", ["", "engineer", "administrator"])
def test_an_intruder_sees_no_patient(pacs_and_ward: tuple[Pacs, Ward], seen: Visit, roles: str) -> None:
    pacs, ward = pacs_and_ward
    line = entries.by_target(ward.store, "study", _send(pacs, ward, "radiograph/normal-1.dcm"))
    assert line is not None
    name = line.detail["patient"]["name"].partition("^")[0].split()[0]
    page = seen(roles)
    for address in ("/review", f"/review/studies/{line.key}", f"/review/studies/{line.key}/report", f"/review/e/{line.key}"):
        page.goto(address)
        assert name.casefold() not in page.content().casefold(), address
    for address in ("/review/events", f"/review/studies/{line.key}/images/1/1.png", "/review/rows", "/dicom-web/studies"):
        assert page.request.get(address, max_redirects=0).status in (302, 303, 401, 403, 404), address
