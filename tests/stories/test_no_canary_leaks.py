"""A patient full of canaries goes all the way: in by DICOM, FHIR and cards, onto pages, into a verdict and a report, out as audit.

Afterwards nothing of them is in any log, count, error, address, title, file name, line of the audit or syslog message. Pages
show the patient, which is what they are for; their addresses and titles do not.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from service import logs
from service.cds_hooks.record_system import call
from service.dicom.listen import Receiver
from service.dicom.routes import DicomWeb
from service.ehr import Ehr
from service.guard import Guard
from service.metrics import Metrics
from service.persons_keys import keys_typed
from service.scoring import Scoring
from service.settings import Settings
from service.store.audit import End, check
from service.store.inbox import Inbox
from service.web import Web
from service.worker import Worker
from tests.make import dicom_bytes, icu_bundle, radiograph_dataset, tiny_release
from tests.make_receiver import Receiving
from tests.service.access.make_login import ORIGIN, LoggedIn, login_for
from tests.service.audit.test_syslog import Receiver as SyslogReceiver
from tests.service.cds_hooks.cds_house import only, prefetch_of
from tests.service.dicom.web_house import RELATED, related
from tests.service.house import TestClient

BIRTH = "19870613"
# Every element that may say who somebody is, each with a canary of its own: a leak says where it came from.
TAGS: dict[str, Any] = {
    "PatientName": "KANARINAME^KANARIGIVEN", "PatientID": "KANARIPID", "IssuerOfPatientID": "KANARIISSUER",
    "OtherPatientIDs": "KANARIOTHERID", "OtherPatientNames": "KANARIOTHERNAME", "PatientBirthName": "KANARIBIRTHNAME",
    "PatientMotherBirthName": "KANARIMOTHER", "PatientAddress": "KANARISTREET", "PatientTelephoneNumbers": "KANARIPHONE",
    "PatientComments": "KANARICOMMENT", "AdditionalPatientHistory": "KANARIHISTORY", "Occupation": "KANARIWORK",
    "EthnicGroup": "KANARIGROUP", "MilitaryRank": "KANARIRANK", "MedicalRecordLocator": "KANARILOCATOR",
    "ReferringPhysicianName": "KANARIREFERRER", "PerformingPhysicianName": "KANARIPERFORMER", "OperatorsName": "KANARIOPERATOR",
    "RequestingPhysician": "KANARIREQUESTER", "InstitutionName": "KANARIHOSPITAL", "StationName": "KANARISTATION",
    "StudyDescription": "KANARISTUDY", "SeriesDescription": "KANARISERIES", "ProtocolName": "KANARIPROTOCOL",
    "AccessionNumber": "KANARIACC", "StudyID": "KANARISTUDYID", "ImageComments": "KANARIIMAGE", "DeviceSerialNumber": "KANARISERIAL",
    "RequestedProcedureDescription": "KANARIREQUESTED", "AdmissionID": "KANARIADMISSION", "PatientBirthDate": BIRTH,
}
SITE = """
[audit]
syslog = "tcp://127.0.0.1:{port}"
[identity.issuers]
KANARIISSUER = "urn:oid:1.2.3.4"
"""
CANARIES = ("kanari", "19870613", "1987-06-13", "13/06/1987")
TOKEN = secrets.token_urlsafe(24)
MACHINE = {"authorization": f"Bearer {TOKEN}"}
FHIR = {**MACHINE, "content-type": "application/fhir+json"}
ADDRESSES = re.compile(r"""(?:href|src|action|formaction|data-(?!text\b)[a-z-]+)\s*=\s*"([^"]*)\"""")


def leaks(said: str) -> list[str]:
    """Return what stands around every canary in a text."""
    plain = unescape(said).lower()
    return [plain[max(0, at - 60) : at + 60] for one in CANARIES if (at := plain.find(one)) >= 0]


@dataclass
class Evidence:
    """What the journey left behind."""

    log: str = ""
    counts: str = ""
    errors: list[str] = field(default_factory=list)  # bodies of answers that are none
    broken: list[str] = field(default_factory=list)  # addresses that answered 500
    addresses: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    pages: int = 0
    files: list[str] = field(default_factory=list)
    audit: str = ""
    actions: set[str] = field(default_factory=set)
    syslog: list[bytes] = field(default_factory=list)
    chain: object = None
    looked: int = 0


class Journey:
    """One installation in this process, and everything that is done to it."""

    def __init__(self, folder: Path, released: Path) -> None:
        self.folder = folder
        self.syslog = SyslogReceiver()
        site = folder / "site.toml"
        site.write_text(SITE.format(port=self.syslog.port) + "\n[commissioning]\nrequired = false\n")
        self.settings = Settings(
            store=folder / "store", released=released, site=site, review=True, dicomweb=True, api_token=TOKEN, public_url=ORIGIN,
            quiet_s=0, release_quiet_s=0, dicom_port=0, port=3000,
        )
        self.scoring, self.metrics = Scoring(self.settings), Metrics()
        self.scoring.open()
        self.dicomweb, self.ehr = DicomWeb(self.settings), Ehr(self.settings, self.scoring, self.metrics)
        self.dicomweb.open()
        self.ehr.open()
        self.house = self.ehr.house
        self.app = Guard(Web(self.settings, self.scoring, self.metrics, self.dicomweb, self.ehr).app(), self.settings, self.metrics)
        self.program = TestClient(self.app, base_url=ORIGIN, raise_server_exceptions=False)
        self.found = Evidence()

    def close(self) -> None:
        self.ehr.close()
        self.dicomweb.close()
        self.scoring.stop()
        self.syslog.stop()

    def ask(self, method: str, url: str, **told: Any) -> Any:
        """Ask as a program; keep what an answer that is none says."""
        return self._keep(self.program.request(method, url, **told))

    def _keep(self, answer: Any) -> Any:
        self.found.headers += [f"{name}: {value}" for name, value in answer.headers.items() if name != "set-cookie"]
        if answer.status_code >= 400 and "<textarea" not in answer.text:  # a form that is refused is shown again with what was typed
            self.found.errors.append(answer.text)
        if answer.status_code == 500:
            self.found.broken.append(str(answer.request.url))
        return answer

    def images(self) -> None:
        """Send images by STOW-RS and by C-STORE, good ones and bad ones."""
        good = dicom_bytes(dataset("1"))
        spoiled = [good[:700], good.replace(b"CHEST", b"KANAR"), dicom_bytes(dataset("2", Rows=65535)), b"KANARITEXT",
                   dicom_bytes(dataset("3", Modality="US")), dicom_bytes(dataset("4", PixelData=None))]
        headers = {**MACHINE, **RELATED}
        assert 200 == self.ask("POST", "/dicom-web/studies", content=related([good]), headers=headers).status_code
        for body in spoiled:
            self.ask("POST", "/dicom-web/studies", content=related([body]), headers=headers)
            self.ask("POST", "/v1/images", content=body, headers={**MACHINE, "content-type": "application/dicom"})
        for url in ("/dicom-web/studies?PatientName=KANARINAME*&limit=x", "/dicom-web/studies/KANARIUID/metadata",
                    "/dicom-web/workitems/KANARI", "/KANARIPATH/KANARI?KANARI=1"):
            self.ask("GET", url, headers=MACHINE)
        inbox = Inbox(self.house.store, quiet_s=0, release_quiet_s=0)
        receiver = Receiver(self.settings, self.house.site, inbox)
        receiver.start()
        with_pacs = Receiving(receiver, self.house.store, self.settings)
        association = with_pacs.associate()
        assert 0 == association.send_c_store(dataset("5")).Status
        association.send_c_store(dataset("6", Rows=65535))
        association.release()
        receiver.drain(0.5)
        inbox.close()
        worker = Worker(self.house.store, self.scoring.shelf, self.house.site, self.settings, "work")
        while worker.step():
            pass
        worker.close()

    def records(self) -> None:
        """Ask for risks and cards, with sound records and spoiled ones."""
        for changes in ({}, {"valueQuantity": {"value": "KANARITEXT"}}, {"effectiveDateTime": "KANARITEXT"}, {"status": "KANARITEXT"},
                        {"subject": {"reference": "Patient/KANARIWHO"}}, {"code": "KANARITEXT"}):
            body = bundle(**changes)
            self.ask("POST", "/fhir/$predict", json=body, headers=FHIR)
            self.ask("POST", "/v1/records", json=body, headers=FHIR)
        self.ask("POST", "/fhir/$predict?moment=KANARITEXT", json=bundle(), headers=FHIR)
        self.ask("POST", "/fhir", json={"resourceType": "Bundle", "type": "batch", "id": "KANARI", "entry": [{}]}, headers=FHIR)
        self.ask("GET", "/fhir/Patient/KANARIPID?name=KANARINAME", headers=MACHINE)
        place = {"patientId": "KANARIPID", "encounterId": "KANARIENC"}
        services = self.ask("GET", "/cds-services", headers=MACHINE).json()["services"]
        for service in services:
            if service["hook"] == "patient-view":
                sound = call("patient-view", place, prefetch_of(bundle(), service, place))
                spoiled = copy.deepcopy(sound) | {"context": {"patientId": "KANARI TEXT", "userId": "KANARI"}}
                for told in (sound, spoiled, {"hook": "KANARITEXT"}):
                    self.ask("POST", f"/cds-services/{service['id']}", json=told, headers=MACHINE)
        self.ask("POST", "/cds-services/KANARITEXT", json={}, headers=MACHINE)

    def walk(self, who: LoggedIn, starts: list[str]) -> None:
        """Open every page that one can get to from here, as a browser does."""
        browser = TestClient(self.app, base_url=ORIGIN, cookies=who.cookies, raise_server_exceptions=False, follow_redirects=False)
        waiting, seen = list(starts), set()
        while waiting and len(seen) < 120:
            waiting.sort(key=lambda one: "?" in one)  # every page once before a list in all its filters
            url = waiting.pop(0)
            if url in seen or url.startswith(("/review/logout", "/review/static", "/review/events")):
                continue
            seen.add(url)
            answer = self._keep(browser.get(url, headers={"accept": "text/html"}))
            if answer.is_redirect:
                waiting.append(answer.headers["location"].removeprefix(ORIGIN))
            if "text/html" in answer.headers.get("content-type", ""):
                self.found.pages += 1
                told = [unescape(one) for one in ADDRESSES.findall(answer.text)]
                self.found.addresses += told
                self.found.titles += re.findall(r"<title>(.*?)</title>", answer.text, re.S)
                waiting += [one.partition("#")[0] for one in told if one.startswith("/review")]
                self.change(browser, who, url, answer.text)

    def change(self, browser: Any, who: LoggedIn, url: str, page: str) -> None:
        """Give a verdict, write into the report, and send what does not hold, from the page that is open."""
        for form in re.findall(r'<form[^>]*action="([^"]*(?:verdict|report))"(.*?)</form>', page, re.S):
            fields = {name: unescape(value) for name, value in re.findall(r'name="([^"]+)"[^>]*?value="([^"]*)"', form[1])}
            typed = dict.fromkeys(re.findall(r'<textarea[^>]*name="([^"]+)"', form[1]), "KANARITYPED")
            for more in ({"decision": "reject", "reason_code": "other", "comment": "KANARIVERDICT"}, {"decision": "KANARI"},
                         {"action": "save"}, {"action": "KANARI"}):
                answer = self._keep(browser.post(unescape(form[0]), data={**fields, **typed, **more}, headers=who.headers))
                self.found.addresses.append(answer.headers.get("location", ""))

    def errors(self, who: LoggedIn) -> None:
        """Ask for what is not there, and search for the patient by all that is known of them."""
        browser = TestClient(self.app, base_url=ORIGIN, cookies=who.cookies, raise_server_exceptions=False, follow_redirects=False)
        for path in ("/review/studies/KANARI", "/review/e/KANARI", "/review/risks/KANARI", "/review/models/KANARI", "/review/KANARI",
                     "/review/results/KANARI/about", "/review/studies/KANARI/report"):
            self._keep(browser.get(path))
        for path, sent in (("/review/search", {"q": "KANARINAME", "search": "KANARINAME"}),
                           ("/review/persons", {"identifier": "KANARIPID"}),
                           ("/review/persons", {"identifier": "KANARIPID", "issuer": "KANARIISSUER"}),
                           ("/review/rights", {"identifier": "KANARIPID"}),
                           ("/review/studies/KANARI/verdict", {"comment": "KANARI"})):
            answer = self._keep(browser.post(path, data=sent, headers=who.headers))
            self.found.addresses.append(answer.headers.get("location", ""))
            if answer.status_code == 200:
                self.found.addresses += [unescape(one) for one in re.findall(r'(?:href|src|action)="([^"]*)"', answer.text)]
                self.found.titles += re.findall(r"<title>(.*?)</title>", answer.text, re.S)
        TestClient(self.app, base_url=ORIGIN).get("/review/studies/KANARI", headers={"accept": "text/html"})

    def gather(self) -> None:
        """Collect what was left behind."""
        found, store = self.found, self.house.store
        self.house.audit.flush()
        found.counts = self.ask("GET", "/metrics", headers=MACHINE).text
        found.files = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")]
        self.house.audit.flush()
        with store.reading() as session:
            tables = [session.execute(text(f"SELECT * FROM {name}")).all() for name in ("audit", "audit_persons", "audit_cursors")]
            found.actions = set(session.scalars(text("SELECT action FROM audit")))
            (key,) = keys_typed(store, self.house.site, "KANARIPID", "KANARIISSUER")
            found.looked = session.execute(text("SELECT count(*) FROM audit_persons WHERE person = :key"), {"key": key}).scalar_one()
        found.audit, found.chain = str(tables), check(store, self.house.audit.head.read())
        found.syslog = self.syslog.wait(len(tables[0]))


def dataset(serial: str, **changes: Any) -> Any:
    made = radiograph_dataset(**{**TAGS, "SOPInstanceUID": f"1.2.826.0.1.3680043.8.498.2026.77.{serial}", **changes})
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    block = made.private_block(0x0011, "KANARIPRIVATE", create=True)
    block.add_new(0x01, "LO", "KANARIVALUE")
    return made


def bundle(**observation: Any) -> dict[str, Any]:
    """Make a stay whose every free field is a canary."""
    made = icu_bundle(hours=48, birth_date="1987-06-13", gcs=3.0, creatinine_mg_dl=6.0, heart_rate=140.0)
    written = json.dumps(made)
    for plain, canary in (('"p1"', '"KANARIPID"'), ("Patient/p1", "Patient/KANARIPID"), ('"e1"', '"KANARIENC"'),
                          ("Encounter/e1", "Encounter/KANARIENC")):
        written = written.replace(plain, canary)
    made = json.loads(written)
    patient, encounter = made["entry"][0]["resource"], made["entry"][1]["resource"]
    patient |= {
        "name": [{"family": "KANARINAME", "given": ["KANARIGIVEN"], "text": "KANARITEXT"}],
        "telecom": [{"system": "phone", "value": "KANARIPHONE"}],
        "identifier": [{"system": "urn:oid:1.2.3.4", "value": "KANARIPID"}],
        "address": [{"text": "KANARISTREET", "city": "KANARICITY"}],
        "contact": [{"name": {"family": "KANARICONTACT"}}], "maritalStatus": {"text": "KANARISTATUS"},
    }
    encounter |= {"identifier": [{"value": "KANARIENC"}], "reasonCode": [{"text": "KANARIREASON"}]}
    for entry in made["entry"][2:]:
        entry["resource"] |= {"note": [{"text": "KANARINOTE"}], "performer": [{"display": "KANARIPERFORMER"}]}
        entry["resource"]["subject"]["display"] = "KANARINAME"
    made["entry"][3]["resource"] |= observation
    return made


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """Go the whole way once."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.Discreet("%(levelname)s %(name)s %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("diaphane")
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    folder = tmp_path_factory.mktemp("journey")
    released = only(folder, "icu_mortality")
    tiny_release(released, "image_classification")
    journey = Journey(folder, released)
    try:
        journey.images()
        journey.records()
        reader = login_for(journey.house, ["radiologist", "clinician"], rpps="10999999999")
        journey.walk(reader, ["/review", "/review/department", "/review/models"])
        journey.errors(reader)
        administrator = login_for(journey.house, ["administrator", "dpo"], subject="oidc:test:2")
        journey.walk(administrator, ["/review/audit", "/review/persons", "/review/rights", "/fhir/AuditEvent"])
        journey.errors(administrator)
        journey.gather()
        journey.found.log = written.getvalue()
        yield journey.found
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])
        journey.close()


def test_the_journey_went_all_the_way(left: Evidence) -> None:
    assert 20 <= len(TAGS)
    assert {"predict", "view", "verdict", "search", "denied"} <= left.actions
    assert {"images", "predict", "hook:patient-view"} <= set(re.findall(r'"source":"([^"]+)"', left.audit))
    assert left.looked >= 4, "images, records and pages of one patient are found under one key"
    assert left.pages >= 8
    assert len(left.errors) >= 30
    assert [] != left.log.splitlines()
    assert [] == left.broken


def test_no_log_names_anybody(left: Evidence, capfd: pytest.CaptureFixture[str]) -> None:
    assert [] == leaks(left.log)
    printed = capfd.readouterr()
    assert [] == leaks(printed.out + printed.err)


def test_no_count_names_anybody(left: Evidence) -> None:
    assert [] == leaks(left.counts)


def test_no_error_says_what_was_sent(left: Evidence) -> None:
    assert [] == [found for one in left.errors if (found := leaks(one))]


def test_no_address_title_or_header_names_anybody(left: Evidence) -> None:
    assert [] == sorted({one for one in left.addresses if leaks(one)})
    assert [] == [one for one in left.titles if leaks(one)]
    assert [] == [one for one in left.headers if leaks(one)]


def test_no_file_name_names_anybody(left: Evidence) -> None:
    assert [] != left.files
    assert [] == [one for one in left.files if leaks(one)]


def test_audit_names_no_patient_and_is_whole(left: Evidence) -> None:
    assert [] == leaks(left.audit)
    assert isinstance(left.chain, End)


def test_no_syslog_message_names_a_patient(left: Evidence) -> None:
    assert [] == [found for one in left.syslog if (found := leaks(one.decode()))]
