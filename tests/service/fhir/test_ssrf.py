"""No URL form of anybody's leads the client anywhere but below the configured address of the site's FHIR server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fhir.client import FhirClient, FhirServerError, fetch_record, is_ours
from service.outbound.address import BadAddress, read_address, resolve
from service.outbound.wire import Wire, WireError
from service.site import FhirServer, Site
from tests.service.fhir.site_server import Asked, Said, SiteServer, searchset, site_server

BASE = "http://fhir.hospital.example:8080/r4/base"
# Each would be another host, port, scheme or path to some program that reads URLs, or is no URL at all.
ATTACKS = [
    "http://evil.example/r4/base/Patient/1",
    "http://fhir.hospital.example.evil.example:8080/r4/base/Patient/1",
    "http://fhir.hospital.example:8080.evil.example/r4/base/Patient/1",
    "http://fhir.hospital.example:8080@evil.example/r4/base/Patient/1",
    "http://evil.example@fhir.hospital.example:8080/r4/base/Patient/1",
    "http://user:secret@fhir.hospital.example:8080/r4/base/Patient/1",
    "http://evil.example#@fhir.hospital.example:8080/r4/base/Patient/1",
    "http://evil.example\\@fhir.hospital.example:8080/r4/base/Patient/1",
    "http:\\\\fhir.hospital.example:8080/r4/base/Patient/1",
    "http://fhir.hospital.example:8080\\r4\\base\\Patient\\1",
    "http://fhir.hospital.example:8080/r4/base\\..\\..\\admin",
    "http://fhir.hospital.example/r4/base/Patient/1",
    "http://fhir.hospital.example:80/r4/base/Patient/1",
    "http://fhir.hospital.example:08080/r4/base/Patient/1",
    "http://fhir.hospital.example:8080 /r4/base/Patient/1",
    "http://fhir.hospital.example:65536/r4/base/Patient/1",
    "http://fhir.hospital.example:/r4/base/Patient/1",
    "https://fhir.hospital.example:8080/r4/base/Patient/1",
    "ftp://fhir.hospital.example:8080/r4/base/Patient/1",
    "file:///etc/passwd",
    "file://fhir.hospital.example:8080/r4/base/Patient/1",
    "gopher://fhir.hospital.example:8080/_GET",
    "jar:http://fhir.hospital.example:8080/r4/base!/x",
    "data:application/fhir+json,{}",
    "javascript:alert(1)",
    "unix:/var/run/docker.sock",
    "//evil.example/r4/base/Patient/1",
    "///evil.example/r4/base/Patient/1",
    "/\\evil.example/r4/base/Patient/1",
    "http:/fhir.hospital.example:8080/r4/base/Patient/1",
    "http:fhir.hospital.example:8080/r4/base/Patient/1",
    "http://fhir.hospital.example.:8080/r4/base/Patient/1",
    "http://FHIR.hospital.example%2eevil.example:8080/r4/base/Patient/1",
    "http://fhir。hospital。example:8080/r4/base/Patient/1",
    "http://fhir.hospital.example：8080/r4/base/Patient/1",
    "http://ⓕhir.hospital.example:8080/r4/base/Patient/1",
    "http://fhir.hospital.example:8080/r4/basement/Patient/1",
    "http://fhir.hospital.example:8080/r4/Base/Patient/1",
    "http://fhir.hospital.example:8080/r4",
    "http://fhir.hospital.example:8080/admin",
    "http://fhir.hospital.example:8080/r4/base/../../admin",
    "http://fhir.hospital.example:8080/r4/base/%2e%2e/%2e%2e/admin",
    "http://fhir.hospital.example:8080/r4/base/%2E./%252e%252e/admin",
    "http://fhir.hospital.example:8080/r4/base/..%2fadmin",
    "http://fhir.hospital.example:8080/r4/base/..%5cadmin",
    "http://fhir.hospital.example:8080/r4/base/..;/..;/admin",
    "http://fhir.hospital.example:8080/r4/base/./Patient/1",
    "http://fhir.hospital.example:8080/r4/base//evil.example/Patient/1",
    "http://fhir.hospital.example:8080//r4/base/Patient/1",
    "http://fhir.hospital.example:8080/r4/base/Patient/1#fragment",
    "http://fhir.hospital.example:8080/r4/base/Patient/1%00.json",
    "http://fhir.hospital.example:8080/r4/base/Patient/1\r\nHost: evil.example",
    "http://fhir.hospital.example:8080/r4/base/Patient/1?x=1 HTTP/1.1\r\nX: y",
    "ht\ttp://fhir.hospital.example:8080/r4/base/Patient/1",
    "http://fhir.hospital.example:8080/r4/base/Pa\ttient/1",
    "\nhttp://fhir.hospital.example:8080/r4/base/Patient/1",
    " http://fhir.hospital.example:8080/r4/base/Patient/1",
    "http://fhir.hospital.example:8080/r4/base/Patient/1 ",
    "http://127.0.0.1:8080/r4/base/Patient/1",
    "http://2130706433:8080/r4/base/Patient/1",
    "http://0177.0.0.1:8080/r4/base/Patient/1",
    "http://0x7f.0.0.1:8080/r4/base/Patient/1",
    "http://0x7f000001:8080/r4/base/Patient/1",
    "http://127.1:8080/r4/base/Patient/1",
    "http://[::ffff:127.0.0.1]:8080/r4/base/Patient/1",
    "http://[::1]:8080/r4/base/Patient/1",
    "http://[::1%25lo]:8080/r4/base/Patient/1",
    "http://[fhir.hospital.example]:8080/r4/base/Patient/1",
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://localhost:8080/r4/base/Patient/1",
    "http://*:8080/r4/base/Patient/1",
    "../../admin",
    "Patient/../../admin",
    "Patient/..%2f..%2fadmin",
    "",
]


@pytest.mark.parametrize("url", [one for one in ATTACKS if one])
def test_no_url_form_leads_elsewhere(url: str) -> None:
    with pytest.raises(BadAddress):
        read_address(BASE).join(url)


@pytest.mark.parametrize("url", ATTACKS)
def test_no_reference_form_is_taken_for_one_of_the_configured_server(url: str) -> None:
    with FhirClient(FhirServer(url=BASE)) as client, pytest.raises(FhirServerError) as caught:
        client.relative(url)
    assert caught.value.code == "not_ours"
    assert url == "" or url not in str(caught.value)


@pytest.mark.parametrize("url", ATTACKS)
def test_no_url_form_is_taken_for_the_configured_server_itself(url: str) -> None:
    assert not is_ours(Site(fhir_server=FhirServer(url=BASE)), url)


@pytest.mark.parametrize("url", [
    BASE, f"{BASE}/", f"{BASE}/Patient/1", f"{BASE}?_getpages=a1-b2&_getpagesoffset=200&_count=200",
    f"{BASE.replace('fhir.', 'FHIR.')}/x",
    "Patient?subject=Patient/1&_count=20", "?page=2", "/r4/base/Observation?identifier=urn:oid:1.2|3",
])  # fmt: skip
def test_links_of_the_server_itself_are_followed(url: str) -> None:
    assert read_address(BASE).join(url).origin == "http://fhir.hospital.example:8080"


def test_the_configured_address_in_another_spelling_is_ours() -> None:
    site = Site(fhir_server=FhirServer(url="https://FHIR.hospital.example:443/r4/"))
    assert is_ours(site, "https://fhir.hospital.example/r4")
    assert not is_ours(site, "https://fhir.hospital.example/r4/Patient")
    assert not is_ours(Site(), "https://fhir.hospital.example/r4")


@given(st.text(max_size=60))
def test_no_text_leaves_the_base(text: str) -> None:
    base = read_address(BASE)
    try:
        found = base.join(text)
    except BadAddress:
        return
    assert (found.scheme, found.host, found.port) == (base.scheme, base.host, base.port)
    assert found.segments[:2] == base.segments
    assert found.target.isascii()
    assert not {" ", "\r", "\n", "\t", "\\", "#"} & set(found.target)


# Names that lead where nothing may be asked ---------------------------------------------------------------------------


def looks_up(*addresses: str) -> Any:
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in addresses]


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::7f00:1", "nonsense",
])  # fmt: skip
def test_a_name_that_leads_to_this_machine_or_to_nowhere_good_is_not_asked(address: str) -> None:
    with pytest.raises(BadAddress):
        resolve("fhir.hospital.example", 80, lookup=looks_up("10.0.0.7", address))


def test_a_name_may_lead_into_the_hospital_s_own_network() -> None:
    assert ["10.0.0.7", "fd00::7"] == resolve("fhir.hospital.example", 80, lookup=looks_up("10.0.0.7", "fd00::7", "10.0.0.7"))


@pytest.fixture
def server() -> Iterator[SiteServer]:
    with site_server(lambda _: Said({"resourceType": "Patient", "id": "1"})) as running:
        yield running


def test_a_name_that_leads_elsewhere_the_second_time_is_checked_again(server: SiteServer) -> None:
    """DNS rebinding: the first answer is allowed and unreachable, the next one is this machine."""
    answers = [looks_up("192.0.2.1"), looks_up("127.0.0.1")]
    with Wire(f"http://fhir.hospital.example:{server.port}/fhir", timeout_s=0.05, lookup=lambda *_, **__: answers.pop(0)()) as wire:
        codes = []
        for _ in range(2):
            with pytest.raises(WireError) as caught:
                wire.ask("GET", "Patient/1")
            codes.append(caught.value.code)
    assert codes[1] == "forbidden_address"
    assert server.asked == []


def test_the_connection_goes_to_the_address_that_was_checked_and_names_the_host(server: SiteServer) -> None:
    with Wire(f"http://localhost:{server.port}/fhir", lookup=looks_up("127.0.0.1")) as wire:
        assert 200 == wire.ask("GET", "Patient/1").status
    assert server.asked[0].headers["host"] == f"localhost:{server.port}"


# What a server answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, server: SiteServer) -> None:
    with site_server(lambda _: Said(None, status, {"Location": f"{server.url}/Patient/1"})) as first, \
            FhirClient(FhirServer(url=first.url)) as client, pytest.raises(FhirServerError) as caught:
        client.read("Patient/1")
    assert (caught.value.code, server.asked) == ("redirect", [])


@pytest.mark.parametrize("link", ["other", "parent", "userinfo"])
def test_a_link_to_the_next_page_elsewhere_is_not_followed(link: str, server: SiteServer) -> None:
    def answers(asked: Asked) -> Said:
        port = asked.headers["host"].rpartition(":")[2]
        links = {"other": f"{server.url}/Encounter?page=2", "parent": f"http://127.0.0.1:{port}/secret",
                 "userinfo": f"http://127.0.0.1:{port}@127.0.0.1:{server.port}/fhir/Encounter"}
        return Said(searchset(next=links[link])) if "Encounter" in asked.target else Said({"resourceType": "Patient", "id": "1"})

    with site_server(answers) as first, pytest.raises(FhirServerError) as caught:
        fetch_record(Site(fhir_server=FhirServer(url=first.url)), "Patient/1")
    assert caught.value.code == "elsewhere"
    assert server.asked == []
    assert all("secret" not in one for one in first.targets)


def test_an_absolute_reference_of_the_caller_is_asked_of_nobody_else(server: SiteServer) -> None:
    with site_server(lambda _: Said({"resourceType": "Patient", "id": "1"})) as ours, pytest.raises(FhirServerError) as caught:
        fetch_record(Site(fhir_server=FhirServer(url=ours.url)), f"{server.url}/Patient/1")
    assert (caught.value.code, server.asked, ours.asked) == ("not_ours", [], [])


@pytest.mark.parametrize(("said", "code"), [
    (Said(b"<html>", headers={"Content-Type": "text/html"}), "not_json"),
    (Said(b"{", headers={}), "not_json"),
    (Said(b'{"a": NaN}'), "not_json"),
    (Said(b"[" * 2000 + b"]" * 2000), "not_json"),
    (Said(b"[" * 70 + b"]" * 70), "too_deep"),
    (Said(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "encoded"),
    (Said(b"[" + b"1," * 600_000 + b"1]"), "too_large"),
])  # fmt: skip
def test_an_answer_that_is_no_small_plain_json_is_refused(said: Said, code: str) -> None:
    with site_server(lambda _: said) as server, Wire(server.url, max_bytes=1_000_000) as wire, pytest.raises(WireError) as caught:
        wire.ask("GET", "Patient/1")
    assert caught.value.code == code


def test_an_answer_that_drips_ends_with_the_time_for_the_whole_answer() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
                    while not ended.wait(0.02):
                        connection.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with Wire(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=0.3) as wire, pytest.raises(WireError) as caught:
            wire.ask("GET", "x")
        took_s = time.monotonic() - began
        ended.set()
        thread.join()
    assert (caught.value.code, took_s < 2) == ("slow", True)


def test_proxies_of_the_environment_are_not_used(server: SiteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Wire(server.url) as wire:
        assert 200 == wire.ask("GET", "Patient/1").status
