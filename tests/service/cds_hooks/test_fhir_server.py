"""What was not prefetched is read from the site's own FHIR server, and from no address that a call names."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.make import icu_bundle
from tests.service.cds_hooks.cds_house import ICU, PLACE, CdsHouse, call, cds_house, only, prefetch_of
from tests.service.cds_hooks.spec import check_card

Json = dict[str, Any]


class FhirServer:
    """Answers reads and searches by type from one Bundle, and notes what it was asked."""

    def __init__(self, bundle: Json) -> None:
        resources = [entry["resource"] for entry in bundle["entry"]]
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                name = urlsplit(self.path).path.removeprefix("/fhir/")
                found = next((one for one in resources if f"{one['resourceType']}/{one['id']}" == name), None)
                if "/" not in name:
                    entries = [{"resource": one} for one in resources if one["resourceType"] == name]
                    found = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
                content = json.dumps(found or {}).encode()
                self.send_response(200 if found else 404)
                self.send_header("content-type", "application/fhir+json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/fhir"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(5)
        self.server.server_close()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CdsHouse, FhirServer]]:
    folder = tmp_path_factory.mktemp("hospital")
    server = FhirServer(icu_bundle(gcs=3.0))
    with cds_house(folder, only(folder, "icu_mortality"), site=f'[fhir_server]\nurl = "{server.url}"\n') as house:
        yield house, server
    server.close()


def post(house: CdsHouse, **told: Any) -> Any:
    return house.client.post(f"/cds-services/{ICU}", json=call("patient-view", PLACE, **told))


def test_what_is_missing_is_read_from_the_sites_server(hospital: tuple[CdsHouse, FhirServer]) -> None:
    house, server = hospital
    service = next(one for one in house.discover() if one["id"] == ICU)
    prefetched = post(house, prefetch=prefetch_of(icu_bundle(gcs=3.0), service, PLACE)).json()["cards"]
    for sent in (None, {}, {"patient": {"resourceType": "OperationOutcome"}}):
        server.asked.clear()
        answer = post(house, prefetch=sent, fhirServer=server.url)
        assert answer.status_code == 200, answer.text
        [card] = answer.json()["cards"]
        check_card(card)
        assert card["summary"] == prefetched[0]["summary"]
        assert any(path.startswith("/fhir/Observation") for path in server.asked)


def test_a_trailing_slash_makes_no_difference(hospital: tuple[CdsHouse, FhirServer]) -> None:
    house, server = hospital
    assert post(house, fhirServer=f"{server.url}/").status_code == 200


def test_a_complete_prefetch_asks_nobody(hospital: tuple[CdsHouse, FhirServer]) -> None:
    house, server = hospital
    service = next(one for one in house.discover() if one["id"] == ICU)
    server.asked.clear()
    assert post(house, prefetch=prefetch_of(icu_bundle(), service, PLACE), fhirServer=server.url).status_code == 200
    assert server.asked == []


def test_no_other_address_is_ever_asked(hospital: tuple[CdsHouse, FhirServer]) -> None:
    house, server = hospital
    other = FhirServer(icu_bundle())
    port = server.url.rsplit(":", 1)[1]
    try:
        server.asked.clear()
        for url in (other.url, f"{server.url}@{other.url.removeprefix('http://')}", f"{server.url}/../../x", f"{server.url}?x=1",
                    server.url.replace("127.0.0.1", "localhost"), f"http://127.1:{port}", server.url.replace("http:", "https:"),
                    f"{server.url}#x", server.url.upper(), server.url + ".evil.example", "file:///etc/passwd", "", None):
            token = {"access_token": "secret", "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "y"}
            answer = post(house, fhirAuthorization=token, **({} if url is None else {"fhirServer": url}))
            assert answer.status_code == 412, url
            assert "secret" not in answer.text
        assert other.asked == []
        assert server.asked == []
    finally:
        other.close()


def test_a_patient_the_server_does_not_have_is_412(hospital: tuple[CdsHouse, FhirServer]) -> None:
    house, server = hospital
    told = call("patient-view", {"patientId": "p404"}, fhirServer=server.url)
    answer = house.client.post(f"/cds-services/{ICU}", json=told)
    assert answer.status_code == 412
    assert "p404" not in answer.text


def test_a_server_that_is_away_is_412_and_not_a_failure_of_ours(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/fhir"
    with cds_house(tmp_path, only(tmp_path, "icu_mortality"), site=f'[fhir_server]\nurl = "{url}"\ntimeout_s = 2\n') as house:
        assert post(house, fhirServer=url).status_code == 412
