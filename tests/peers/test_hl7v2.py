"""Independent receivers of HL7 v2 take our messages: python's hl7 and Medplum's, the document inside whole, a refusal quarantined."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.mllp import start_hl7_server

from service.cda.write_report import write_report
from service.deliver import Deliverer
from service.dicom.undelivered import Undelivered
from service.hl7v2.mllp import KIND, NAME, mllp_outlets, send
from service.lives import end
from service.outbound.validated import outgoing
from service.settings import read_settings
from service.site import Mllp, Site
from service.store import messages
from service.store.ledger import counts, failures
from tests.make import REQUIRED
from tests.make_store import store_for
from tests.peers.fhir_server import modules
from tests.service.cda.made import INS, SITE, report

needs_medplum_hl7 = pytest.mark.skipif(
    (shutil.which("node") is None or not (modules() / "@medplum/hl7").is_dir()) and "peers" not in REQUIRED,
    reason="node or @medplum/hl7 is not installed (DIAPHANE_REQUIRE=peers makes this a failure)",
)
NAMED = SITE.model_copy(update={"name": "CHU de l'Été & Fils|Sud"})
BOTH = pytest.mark.parametrize("kind", ["ORU_R01", "MDM_T02"])


def site(port: int, kind: str = "MDM_T02", *, timeout_s: float = 20) -> Site:
    return Site(mllp=Mllp(host="127.0.0.1", port=port, message=kind, timeout_s=timeout_s, dmp=True))  # type: ignore[arg-type]


def content(where: Site) -> dict[str, Any]:
    [letter] = outgoing(where, report(organisation=NAMED, replaces="2.25.99"))
    return letter.content


@contextmanager
def python_hl7(code: str = "AA") -> Iterator[tuple[int, list[Any]]]:
    """Run the asyncio server of python's hl7 in a thread; yield its port and what it read."""
    heard: list[Any] = []
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), []
    ends = asyncio.Event()

    async def talk(reader: Any, writer: Any) -> None:
        try:
            told = await reader.readmessage()
            heard.append(told)
            writer.writemessage(told.create_ack(ack_code=code))
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # somebody who only looked whether it is there
        finally:
            writer.close()

    async def serve() -> None:
        async with await start_hl7_server(talk, host="127.0.0.1", port=0, limit=2**24, encoding="utf-8") as server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await ends.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield ports[0], heard
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join(20)
        loop.close()


@contextmanager
def medplum_hl7(code: str = "AA") -> Iterator[tuple[int, Callable[[], dict[str, Any]]]]:
    """Run Medplum's server; yield its port and how to read the next message it printed."""
    command = [shutil.which("node") or "node", str(Path(__file__).with_name("hl7_receiver.mjs")), str(modules()), code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port.isdigit(), "the receiver did not start"
        yield int(port), lambda: json.loads(process.stdout.readline())  # type: ignore[union-attr]
    finally:
        end(process, 5)
        process.stdout.close()


@BOTH
def test_pythons_hl7_reads_what_was_sent(kind: str) -> None:
    with python_hl7() as (port, heard):
        where = site(port, kind)
        send(where.mllp, content(where))
    [told] = heard
    assert isinstance(told, hl7.Message)
    assert {"ORU_R01": "ORU^R01^ORU_R01", "MDM_T02": "MDM^T10^MDM_T02"}[kind] == str(told.segment("MSH")[9])
    assert INS == told.extract_field("PID", 1, 3, 1, 1)
    assert NAMED.name == told.unescape(told.extract_field("MSH", 1, 4))
    assert write_report(report(organisation=NAMED, replaces="2.25.99")) == base64.b64decode(told.extract_field("OBX", 1, 5, 1, 5))


@BOTH
@needs_medplum_hl7
def test_medplum_reads_what_was_sent(kind: str) -> None:
    with medplum_hl7() as (port, next_message):
        where = site(port, kind)
        send(where.mllp, content(where))
        told = next_message()
    assert content(where)["control_id"] == told["control"]
    assert (INS, "PAT-TROIS") == (told["patient"].split("^")[0], told["name"])
    assert write_report(report(organisation=NAMED, replaces="2.25.99")) == base64.b64decode(told["document"])
    assert ("MSH", 11) == (told["segments"][0], told["segments"].count("OBX"))


@needs_medplum_hl7
@pytest.mark.parametrize(("code", "permanent"), [("AE", True), ("AR", False)])
def test_a_refusal_is_understood(code: str, permanent: bool) -> None:
    for receiver in (python_hl7, medplum_hl7):
        with receiver(code) as (port, _):
            where = site(port)
            with pytest.raises(Undelivered) as caught:
                send(where.mllp, content(where))
        assert (f"nak_{code}", permanent) == (caught.value.reason, caught.value.permanent)


def test_a_platform_that_refuses_once_loses_nothing(tmp_path: Path) -> None:
    store = store_for(tmp_path)
    settings = read_settings({}, lease_s=30, delivery_attempts=3)

    def deliver(port: int) -> None:
        [outlet] = mllp_outlets(site(port))
        one = Deliverer(store, outlet, settings)
        while one.step():
            pass

    try:
        with store.session() as session:
            messages.add(session, target=NAME, kind=KIND, key="k", content=content(site(2575)))
        with python_hl7("AE") as (port, _):
            deliver(port)
        assert ([("message", "quarantined")], {NAME: {"quarantined": 1}}) == (
            [(one.table, one.state) for one in failures(store)], counts(store)["deliveries"])
    finally:
        store.close()
