"""The intruder: whoever has not the role, the department or the model sees nothing of a patient in page, API, picture or stream."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from service.access.policy import ANYBODY, FILES, OPEN, PATIENT_ROLES, PERMISSIONS, ROLES, Role, opens
from service.decode import Decoder
from service.dicom.arrival import arrive_file
from service.dicom.routes import DicomWeb
from service.ehr import Ehr
from service.guard import Guard
from service.metrics import Metrics
from service.review.targets import key_of
from service.scoring import Scoring
from service.settings import Settings
from service.store.inbox import receive
from service.store.review_tables import AuditLine, Entry
from service.store.tables import Case, Instance, Result
from service.web import Web
from service.worker import Worker
from tests.make import ROOT, dicom_bytes, icu_bundle, radiograph_dataset
from tests.service.access.asking import Ask, Said, ask_all
from tests.service.access.make_login import LoggedIn, login_for

CANARIES = [one.encode() for one in (
    "CANARIS", "Canaris", "canaris", "NOEMIE", "Noemie", "noemie", "CANARI-77", "19510623", "1951-06-23",
    "23 June 1951", "23 Jun 1951",
)]
PICTURES = ("image/png", "image/jpeg", "application/dicom", "multipart/related")
TOKEN = "a-token-of-this-test"
STREAM = "/review/events"
PAGE = "text/html,*/*"


@dataclass
class Hospital:
    """A whole installation with one patient in it, and the real addresses of what is about them."""

    app: ASGIApp
    routes: Starlette
    ehr: Ehr
    parts: dict[str, str]

    def addresses(self) -> list[tuple[str, str, str]]:
        """List method, template and a real address, of everything there is."""
        routes = [route for route in self.routes.routes if isinstance(route, Route)]
        return [(method, route.path, self._filled(route.path)) for route in routes
                for method in sorted((route.methods or set()) - {"HEAD"})]

    def ask(self, asks: list[Ask]) -> list[Said]:
        return ask_all(self.app, asks)

    def _filled(self, template: str) -> str:
        kind = next((one for one in ("risk", "result") if template.startswith(f"/review/{one}s/")), "study")
        told = {**self.parts, "key": self.parts[f"{kind}_key"]}
        return re.sub(r"\{(\w+)(:\w+)?\}", lambda part: told.get(part[1], "1"), template)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, released: Path) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    releases = folder / "released"
    shutil.copytree(released, releases)
    (releases / "icu_mortality-1.0.0").symlink_to(next((ROOT / "models/released").glob("icu_mortality-*")))
    settings = Settings(released=releases, store=folder / "store", review=True, dicomweb=True, api_token=TOKEN, scoring_threads=1)
    scoring, metrics, decoder = Scoring(settings), Metrics(), Decoder()
    scoring.open()
    ehr, dicomweb = Ehr(settings, scoring, metrics), DicomWeb(settings)
    ehr.open()
    dicomweb.open()
    routes = Web(settings, scoring, metrics, dicomweb, ehr).app()
    made = Hospital(Guard(routes, settings, metrics), routes, ehr, {})
    try:
        _one_patient(made, Worker(ehr.house.store, scoring.shelf, ehr.house.site, settings, "one", decoder=decoder))
        yield made
    finally:
        dicomweb.close()
        ehr.close()
        decoder.close()
        scoring.stop()


def _one_patient(hospital: Hospital, worker: Worker) -> None:
    """Let images arrive and a record be scored, all of one invented patient, and note the addresses of what came of it."""
    image = radiograph_dataset(PatientName="CANARIS^NOEMIE", PatientID="CANARI-77", PatientBirthDate="19510623", PatientSex="F",
                               InstitutionalDepartmentName="Radiology", AccessionNumber="CANARI-77")
    store = hospital.ehr.house.store
    receive(store, [arrive_file(dicom_bytes(image))], quiet_s=0)
    while worker.step():
        pass
    bundle = icu_bundle(birth_date="1951-06-23", gcs=3.0, creatinine_mg_dl=6.0, heart_rate=140.0)
    bundle["entry"][0]["resource"] |= {"name": [{"family": "Canaris", "given": ["Noemie"]}],
                                       "identifier": [{"system": "urn:oid:1.2.3", "value": "CANARI-77"}]}
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/fhir+json"}
    [told] = hospital.ask([Ask("POST", "/fhir/$predict", headers, json.dumps(bundle).encode())])
    assert told.status == 200, told.body[:500]
    with store.reading() as session:
        entries = {one.kind: one for one in session.scalars(select(Entry))}
        result = session.scalars(select(Result).limit(1)).one()
        case, instance = session.scalars(select(Case).limit(1)).one(), session.scalars(select(Instance).limit(1)).one()
    assert set(entries) == {"study", "risk"}
    hospital.parts.update(
        study_key=entries["study"].key, risk_key=entries["risk"].target, result_key=key_of(store, "result", result.id),
        study=case.study_uid, series=case.series_uid, instance=instance.sop_uid, case=str(case.id), result=str(result.id), slice="0",
        model="icu_mortality-1.0.0", name="app.css", provider="psc", service="icu-mortality", rest="nothing/at/all", number="1",
    )


def leaks(answers: list[Said]) -> list[tuple[str, str, int]]:
    """Return what told something of the patient: words, or a picture."""
    return [(one.ask.method, one.ask.path, one.status) for one in answers
            if any(canary in one.body for canary in CANARIES) or one.headers.get("content-type", "").startswith(PICTURES)]


def everything(hospital: Hospital, who: LoggedIn | None, accept: str = "application/json", *,
               but: frozenset[str] = frozenset()) -> list[Said]:
    """Ask for every address as a page of ours would, but for those that one of some permissions opens."""
    asks = []
    for method, template, path in hospital.addresses():
        rule = opens(method, template)
        if isinstance(rule, tuple) and not but.isdisjoint(rule):
            continue
        if who and path in ("/review/logout", "/review/sessions") and method == "POST":
            continue  # it would end the intrusion
        headers = {"accept": accept, "accept-language": "en"}
        if who:
            headers |= {**who.headers, "cookie": f"diaphane={who.token}"}
        asks.append(Ask(method, path, headers, b"", listen_s=0.3 if path == STREAM else 20.0))
    return hospital.ask(asks)


def is_denied(told: Said, hospital: Hospital, role: Role) -> bool:
    """Tell whether the table says that a role does not open what was asked."""
    templates = {(method, path): template for method, template, path in hospital.addresses()}
    rule = opens(told.ask.method, templates[told.ask.method, told.ask.path])
    named = rule if isinstance(rule, tuple) else ("api_fhir",)
    return rule not in (OPEN, FILES, ANYBODY) and PERMISSIONS[role].isdisjoint(named)


def test_who_may_see_sees_the_patient(hospital: Hospital) -> None:
    """The canaries are there to be found: the tests below could fail."""
    radiologist = login_for(hospital.ehr.house, ["radiologist"], departments=["Radiology"], subject="oidc:test:may")
    clinician = login_for(hospital.ehr.house, ["clinician"], subject="oidc:test:may2")
    parts = hospital.parts
    for who, path in ((radiologist, "/review"), (radiologist, f"/review/studies/{parts['study_key']}"),
                      (clinician, f"/review/risks/{parts['risk_key']}")):
        [told] = hospital.ask([Ask("GET", path, {"cookie": f"diaphane={who.token}", "accept": "text/html"})])
        assert told.status == 200, (path, told.body[:800])
        assert any(canary in told.body for canary in CANARIES), path


def test_who_did_not_log_in_sees_nothing(hospital: Hospital) -> None:
    answers = everything(hospital, None, PAGE)
    assert leaks(answers) == []
    assert {one.ask.path for one in answers if one.status == 200} <= {"/review/login", "/review/logout", "/review/static/app.css"}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_denied_what_is_not_its_own_and_sees_no_patient_who_is_not(hospital: Hospital, role: Role) -> None:
    """Roles with patients are asked for the rest alone; the others for everything, where they may go too."""
    who = login_for(hospital.ehr.house, [role], subject=f"oidc:test:{role}")
    mine = PERMISSIONS[role] if role in PATIENT_ROLES else frozenset()
    answers = everything(hospital, who, but=frozenset(mine))
    assert leaks(answers) == []
    denied = [one for one in answers if is_denied(one, hospital, role)]
    assert len(denied) > 20
    assert {one.status for one in denied} == {403}


def test_a_program_that_is_given_a_study_stands_in_the_audit_with_whose_it_is(hospital: Hospital) -> None:
    house, parts = hospital.ehr.house, hospital.parts
    paths = [f"/dicom-web/studies/{parts['study']}/metadata", "/dicom-web/studies?PatientID=CANARI-77", "/v1/models"]
    headers = {"authorization": f"Bearer {TOKEN}", "accept": "application/dicom+json"}
    answers = hospital.ask([Ask("GET", path, headers) for path in paths])
    assert [one.status for one in answers[:2]] == [200, 200]
    house.audit.flush()
    with house.store.reading() as session:
        rows = session.scalars(select(AuditLine).where(AuditLine.actor == "machine:api_token", AuditLine.kind == "api")).all()
        person = session.scalars(select(Entry.person).where(Entry.kind == "study")).one()
    told = {row.detail["route"]: (row.action, row.item, row.persons["keys"]) for row in rows}
    action, item, persons = told["/dicom-web/studies/{}/metadata"]
    assert (action, item) == ("export", parts["study"])
    assert person in persons
    assert told["/dicom-web/studies"] == ("search", "", [])
    assert told.keys() == {"/dicom-web/studies/{}/metadata", "/dicom-web/studies"}
    assert not any("CANARI" in str(row.detail) + row.item for row in rows)


@pytest.mark.parametrize("reach", [{"departments": ["Elsewhere"]}, {"models": ["another_model"]}], ids=["department", "model"])
def test_a_radiologist_of_elsewhere_finds_nothing_as_if_it_were_not_there(hospital: Hospital, reach: dict[str, list[str]]) -> None:
    who = login_for(hospital.ehr.house, ["radiologist", "clinician"], subject=f"oidc:test:{next(iter(reach))}", **reach)
    answers = everything(hospital, who, PAGE)
    assert leaks(answers) == []
    about = [one for one in answers if any(hospital.parts[name] in one.ask.path for name in ("study_key", "risk_key"))]
    assert {one.status for one in about if one.ask.method == "GET"} == {404}
    made_up = [Ask(one.ask.method, one.ask.path.replace(hospital.parts["study_key"], "A" * 22), one.ask.headers) for one in about
               if one.ask.method == "GET" and hospital.parts["study_key"] in one.ask.path]
    there = {one.ask.path.replace(hospital.parts["study_key"], "A" * 22): (one.status, one.body) for one in about}
    for told in hospital.ask(made_up):
        status, body = there[told.ask.path]
        assert (told.status, len(told.body)) == (status, len(body)), "what is not theirs looks as what does not exist"
