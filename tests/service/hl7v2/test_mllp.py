"""The MLLP client: one frame out, one answer in, all within its limit; what an answer means for the delivery."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from service.deliver import Deliverer
from service.dicom.tls import server_context
from service.dicom.undelivered import Undelivered
from service.hl7v2.mllp import KIND, NAME, answers, mllp_outlets, send
from service.hl7v2.parts import control_id
from service.hl7v2.write_mdm import KIND as MDM
from service.hl7v2.write_mdm import write_mdm
from service.settings import read_settings
from service.site import Mllp, Site
from service.store import messages
from service.store.ledger import counts
from tests.make_receiver import certificates
from tests.make_store import store_for
from tests.service.cda.made import report
from tests.service.hl7v2.receiver import acknowledged, receiver

SETTINGS = read_settings({}, delivery_attempts=3, lease_s=30)


def content() -> dict[str, Any]:
    made = report()
    return {"control_id": control_id(made, MDM), "message": write_mdm(made, Mllp())}


def test_a_message_arrives_as_it_was_written() -> None:
    with receiver() as there:
        send(there.site(), content())
        assert [content()["message"]] == there.heard


def test_an_answer_in_pieces_is_read_whole() -> None:
    with receiver(lambda told: [acknowledged(told)[:5], acknowledged(told)[5:30], acknowledged(told)[30:]]) as there:
        send(there.site(), content())


@pytest.mark.parametrize(("answer", "reason", "permanent"), [
    (lambda told: acknowledged(told, "AE", "203"), "nak_AE 203", True),
    (lambda told: acknowledged(told, "CE"), "nak_CE", True),
    (lambda told: acknowledged(told, "AR", "207"), "nak_AR 207", False),
    (lambda _: acknowledged("MSH|^~\\&|||||||MDM|another"), "other_acknowledged", False),
    (lambda _: b"\x0bMSH|^~\\&|x\r\x1c\r", "no_acknowledgement", False),
    (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "no_acknowledgement", False),
    (lambda _: b"", "no_acknowledgement", False),
    (lambda _: b"\x0b" + b"A" * 70_000, "no_acknowledgement", False),
    (lambda told: acknowledged(told)[:-2], "no_acknowledgement", False),
])
def test_what_an_answer_means_for_the_delivery(answer: Any, reason: str, permanent: bool) -> None:
    with receiver(answer) as there, pytest.raises(Undelivered) as caught:
        send(there.site(), content())
    assert (reason, permanent) == (caught.value.reason, caught.value.permanent)


def test_a_receiver_that_says_nothing_or_drips_is_left_within_the_limit() -> None:
    with receiver(lambda _: [b"\x0bM"] + [b"S"] * 200) as there:
        began = time.monotonic()
        with pytest.raises(Undelivered) as caught:
            send(there.site(timeout_s=0.3), content())
    assert ("timeout", False) == (caught.value.reason, caught.value.permanent)
    assert time.monotonic() - began < 3


def test_nobody_there_is_a_matter_of_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    to = Mllp(host="127.0.0.1", port=port, timeout_s=2)
    with pytest.raises(Undelivered) as caught:
        send(to, content())
    assert ("connection", False, False) == (caught.value.reason, caught.value.permanent, answers(to))
    with receiver() as there:
        assert answers(there.site())


def test_the_receivers_certificate_is_checked(tmp_path: Path) -> None:
    files = certificates(tmp_path)
    with receiver(tls=server_context(files["server.pem"], files["server.key"], None)) as there:
        send(there.site(tls=True, tls_ca=files["ca.pem"]), content())
        for site in (there.site(tls=True), there.site(timeout_s=1)):  # an authority of nobody; no TLS at all
            with pytest.raises(Undelivered):
                send(site, content())
        assert 1 == len(there.heard)


def test_a_site_that_names_no_host_sends_nothing() -> None:
    assert [] == mllp_outlets(Site())
    assert [NAME] == [outlet.name for outlet in mllp_outlets(Site(mllp=Mllp(host="pfi.example.org")))]


def test_refused_for_good_is_quarantined_at_once_and_refused_for_now_is_tried_again(tmp_path: Path) -> None:
    store = store_for(tmp_path)
    try:
        with store.session() as session:
            for key in ("a", "b"):
                messages.add(session, target=NAME, kind=KIND, key=messages.key_of(key), content=content())
        codes = iter(["AE", "AR"])
        with receiver(lambda told: acknowledged(told, next(codes))) as there:
            [outlet] = mllp_outlets(Site(mllp=there.site()))
            one = Deliverer(store, outlet, SETTINGS)
            while one.step():
                pass
            assert 2 == len(there.heard)
        assert {NAME: {"quarantined": 1, "queued": 1}} == counts(store)["deliveries"]
    finally:
        store.close()
