"""Every page in a real browser, light and dark, at its full width and at 200 % zoom: accessible, light, quiet, alone.

A page that takes a script's word for it is not enough: axe-core looks at what Chromium drew. Pictures go to out/screens/.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from service.review.targets import key_of
from service.store.review_tables import Risk
from service.store.tables import Case, Result, Revision
from tests.peers.browser import ROOT, Scheme, Ward, axe, needs_browser, screens

pytestmark = [needs_browser, pytest.mark.slow]
MOST_BYTES = 300_000
FULL, ZOOMED = (1440, 900), (720, 450)  # 200 % of a window of 1440 by 900
XRAY, MR, REFUSED = "radiograph/bacterial-1.dcm", "mr/crop-1", "refused/wrong_age.dcm"


def study(sample: str, rest: str = "") -> Callable[[Ward], str]:
    return lambda ward: f"/review/studies/{ward.study(sample).key}{rest}"


def risk(model: str, status: str = "scored") -> Callable[[Ward], str]:
    def found(ward: Ward) -> str:
        with ward.store.reading() as session:
            wanted = select(Risk.key).where(Risk.model.startswith(model), Risk.status == status).order_by(Risk.value.desc(), Risk.id)
            key = session.scalars(wanted).first()
        assert key, model
        return f"/review/risks/{key}"

    return found


def about(ward: Ward) -> str:
    with ward.store.reading() as session:
        number = session.scalars(
            select(Result.id).join(Revision, Revision.id == Result.revision_id).join(Case, Case.id == Revision.case_id)
            .where(Case.study_uid == ward.sent.studies[XRAY])
        ).first()
    assert number
    return f"/review/results/{key_of(ward.store, 'result', number)}/about"


def watched(release: str) -> Callable[[Ward], str]:
    def found(ward: Ward) -> str:
        command = [sys.executable, "-m", "service", "monitor", "check", "--store", str(ward.settings.store)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert release in done.stdout, done.stderr
        return f"/review/monitor/{release}"

    return found


def at(path: str) -> Callable[[Ward], str]:
    return lambda _: path


PAGES: dict[str, tuple[str, Callable[[Ward], str]]] = {  # name → who looks, and where it lies
    "worklist": ("radiologist", at("/review")),
    "image": ("radiologist", study(XRAY)),
    "image-mr": ("radiologist", study(MR)),
    "image-refused": ("radiologist", study(REFUSED)),
    "report": ("radiologist", study(XRAY, "/report")),
    "risk": ("clinician", risk("readmission_30d")),
    "risk-trend": ("clinician", risk("icu_mortality")),
    "risk-two-figures": ("clinician", risk("ed_triage")),
    "risk-dose": ("clinician", risk("warfarin_dose")),
    "risk-refused": ("clinician", risk("readmission_30d", "refused")),
    "alert": ("clinician", risk("hypoglycaemia_60min")),
    "department": ("clinician", at("/review/department")),
    "models": ("engineer", at("/review/models")),
    "model": ("engineer", at("/review/models/chest_xray_pediatric-1.0.0")),
    "model-risk": ("engineer", at("/review/models/icu_mortality-1.0.0")),
    "about": ("radiologist", about),
    "monitor": ("engineer", at("/review/monitor")),
    "monitor-release": ("steward", watched("icu_mortality-1.0.0")),
    "releases": ("steward", at("/review/releases")),
    "release": ("steward", at("/review/releases/chest_xray_pediatric-1.0.0")),
    "learn": ("radiologist", at("/review/learn")),
    "learn-counts": ("steward", at("/review/learn")),
    "audit": ("administrator", at("/review/audit")),
    "persons": ("dpo", at("/review/persons")),
    "rights": ("dpo", at("/review/rights")),
    "sessions": ("clinician", at("/review/sessions")),
    "login": ("", at("/review/login")),
    "not-found": ("clinician", at("/review/studies/nothing")),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_light_and_quiet(name: str, scheme: Scheme, ward: Ward, visit: Callable[..., Any]) -> None:
    roles, place = PAGES[name]
    page = visit(roles or "clinician", scheme=scheme, viewport=FULL, logged_in=bool(roles))
    answer = page.goto(place(ward), wait_until="load")
    page.locator("main h1").first.wait_for()
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(300)  # pictures of the image page come after the page
    screens(page, name)
    assert [] == axe(page)
    page.set_viewport_size({"width": ZOOMED[0], "height": ZOOMED[1]})
    assert [] == axe(page)
    assert 0 == page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"), "scrolls sideways"
    said = [one for one in page.watched.said if not (name == "not-found" and "404" in one)]
    assert [] == said
    own = urlsplit(ward.url).netloc
    elsewhere = [one for one in page.watched.asked if not one.startswith("blob:") and urlsplit(one).netloc != own]
    assert [] == elsewhere
    assert page.watched.weight() <= MOST_BYTES
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", [name for name, (roles, _) in PAGES.items() if roles and name != "not-found"])
def test_no_address_or_title_of_a_page_names_anybody(name: str, ward: Ward, visit: Callable[..., Any]) -> None:
    roles, place = PAGES[name]
    page = visit(roles)
    page.goto(place(ward))
    told = {page.title(), *page.watched.asked, *page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)")}
    entry = ward.study(XRAY)
    person = {part.casefold() for part in entry.patient_name.split()} | {entry.patient_id, entry.accession_number.casefold()}
    assert not [one for one in told for word in person if word and word in one.casefold()]


@pytest.mark.parametrize("name", ["worklist", "image", "report", "risk", "models"])
def test_a_page_is_in_the_language_of_the_browser(name: str, ward: Ward, visit: Callable[..., Any]) -> None:
    roles, place = PAGES[name]
    page = visit(roles, language="fr")
    page.goto(place(ward))
    assert "fr" == page.evaluate("document.documentElement.lang")
    page.get_by_role("button", name="Read in English").click()
    page.wait_for_load_state()
    assert "en" == page.evaluate("document.documentElement.lang")
    assert place(ward) in page.url
