"""The receiver as a peer meets it: who may speak, what is agreed, what is acknowledged and what is refused with which status."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from sqlalchemy import select

from service.dicom import wire
from service.dicom.listen import Receiver, may_speak
from service.dicom.tls import server_context
from service.dicom.wire import Limits
from service.settings import SettingsError
from service.site import Peer, Site
from service.store.inbox import Inbox
from service.store.tables import Case, OpenAssociation
from tests.make import dicom_bytes, mr_series
from tests.make_receiver import (
    CT,
    DX,
    ECHO,
    EXPLICIT,
    Receiving,
    certificates,
    fragment,
    radiograph,
    read_pdu,
    read_status,
    receiving,
    request,
    store_command,
    store_message,
    tls_user,
    until,
)
from tests.make_store import settings_for

ROOT = Path(__file__).parents[3]
MR = "1.2.840.10008.5.1.4.1.1.4"
SR = "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture
def us(tmp_path: Path) -> Iterator[Receiving]:
    with receiving(tmp_path) as running:
        yield running


def spoken(us: Receiving) -> socket.socket:
    """Return a connection with an association on contexts 1 (DX) and 3 (echo)."""
    connection = us.connect()
    connection.sendall(request())
    assert wire.ASSOCIATE_AC == read_pdu(connection)[0]
    return connection


def answer_to_hello(us: Receiving, context: ssl.SSLContext | None) -> int:
    """Ask for an association and return the kind of PDU that comes back, 0 when none does."""
    with us.connect() as connection:
        try:
            with context.wrap_socket(connection, server_hostname="localhost") if context else connection as wired:
                wired.sendall(request())
                return read_pdu(wired)[0]
        except OSError:
            return 0


def test_echo_is_answered(us: Receiving) -> None:
    association = us.associate()
    assert 0 == association.send_c_echo().Status
    association.release()


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: uid.name,
)
def test_an_image_is_acknowledged_once_it_is_on_disk(us: Receiving, syntax: str) -> None:
    dataset = radiograph()
    dicom_bytes(dataset, syntax=syntax)  # states the syntax in the file meta information, which pynetdicom goes by
    association = us.associate((DX, syntax))
    status = association.send_c_store(dataset)
    kept = us.kept()
    association.release()
    assert (0, [(dataset.SOPInstanceUID, syntax, "received")]) == (
        status.Status, [(one.sop_uid, one.transfer_syntax, one.origin) for one in kept]
    )
    assert b"DICM" == us.files()[0][128:132]


def test_the_same_image_twice_is_one_image(us: Receiving) -> None:
    for _ in range(2):
        association = us.associate((DX, EXPLICIT))
        assert 0 == association.send_c_store(radiograph()).Status
        association.release()
    assert 1 == len(us.kept())


def test_a_case_carries_who_sent_it_and_how_urgent_it_was(us: Receiving) -> None:
    association = us.associate((DX, EXPLICIT), calling="EMERGENCY")
    association.send_c_store(radiograph(), priority=1)
    association.release()
    with us.store.reading() as session:
        case = session.scalars(select(Case)).one()
    assert ("EMERGENCY", "DIAPHANE", 1) == (case.calling_ae, case.called_ae, case.priority)


def test_a_release_makes_a_series_complete_sooner(tmp_path: Path) -> None:
    with receiving(tmp_path, quiet_s=600, release_quiet_s=0) as us:
        association = us.associate((MR, EXPLICIT))
        for dataset in mr_series()[:3]:
            assert 0 == association.send_c_store(dataset).Status
        with us.store.reading() as session:
            before = session.scalars(select(Case)).one()
        association.release()

        def noted() -> bool:
            with us.store.reading() as session:
                return not list(session.scalars(select(OpenAssociation)))

        assert until(noted)
        with us.store.reading() as session:
            after = session.scalars(select(Case)).one()
    assert after.due_at < before.due_at - 500


def test_two_interleaved_associations_make_one_series(us: Receiving) -> None:
    first, second = us.associate((MR, EXPLICIT)), us.associate((MR, EXPLICIT))
    for place, dataset in enumerate(mr_series()):
        assert 0 == (second if place % 2 else first).send_c_store(dataset).Status
    first.release()
    second.release()
    with us.store.reading() as session:
        assert 1 == len(list(session.scalars(select(Case))))
    assert 12 == len(us.kept())


def test_several_messages_may_come_before_the_first_answer(us: Receiving) -> None:
    connection = spoken(us)
    connection.sendall(b"".join(store_message(radiograph(serial), message_id=serial) for serial in range(1, 6)))
    assert [(0, "")] * 5 == [read_status(connection) for _ in range(5)]
    connection.close()


def test_any_cutting_into_pdvs_is_understood(us: Receiving) -> None:
    connection = spoken(us)
    whole = store_message(radiograph())
    command_length = 6 + int.from_bytes(whole[2:6], "big")
    command = whole[12:command_length]
    pieces = b"".join(fragment(1, command[at : at + 7], command=True) for at in range(0, len(command), 7))
    connection.sendall(pieces + fragment(1, b"", command=True, last=True) + whole[command_length:])
    assert (0, "") == read_status(connection)
    connection.close()


REFUSALS = {
    "another instance than announced": (lambda: store_message(radiograph(), sop_uid="1.2.3"), 0xA900, "sop_mismatch"),
    "another class than negotiated": (
        lambda: store_command(sop_class_uid=CT) + fragment(1, b"", last=True), 0xA900, "sop_mismatch"),
    "no dataset": (lambda: store_command() + fragment(1, b"", last=True), 0xA900, "sop_mismatch"),
    "a name that leaves the folder": (
        lambda: store_command("../../evil") + fragment(1, b"", last=True), 0xC002, "bad_uid"),
    "no pixels": (lambda: store_message(radiograph(PixelData=None)), 0x0122, "not_an_image"),
    "cut short": (lambda: store_message(b"\x08\x00\x16\x00UI\xff\x00" + b"1"), 0xC001, "truncated"),
    "no series": (lambda: store_message(radiograph(SeriesInstanceUID=None)), 0xC002, "no_identifiers"),
    "no rows": (lambda: store_message(radiograph(Rows=0)), 0xC003, "bad_pixel_description"),
    "too many pixels": (lambda: store_message(radiograph(Rows=65535, Columns=65535)), 0xC004, "too_many_pixels"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_why_and_the_association_goes_on(us: Receiving, name: str) -> None:
    message, status, word = REFUSALS[name]
    connection = spoken(us)
    connection.sendall(message())
    assert (status, word) == read_status(connection)
    connection.sendall(store_message(radiograph()))
    assert (0, "") == read_status(connection)
    connection.close()


def test_an_image_larger_than_allowed_is_refused_and_the_next_one_taken(tmp_path: Path) -> None:
    with receiving(tmp_path, max_instance_mib=1) as us:
        connection = spoken(us)
        connection.sendall(store_message(bytes(1_500_000)) + store_message(radiograph()))
        assert [(0xC004, "too_large"), (0, "")] == [read_status(connection) for _ in range(2)]
        connection.close()


def test_without_room_an_image_is_refused_for_now(tmp_path: Path) -> None:
    with receiving(tmp_path, max_instance_mib=1, limits=Limits(max_in_flight_bytes=1, room_s=0.2)) as us:
        hog, other = spoken(us), spoken(us)
        hog.sendall(store_command() + b"".join(fragment(1, bytes(50_000)) for _ in range(20)))
        assert until(lambda: us.receiver.bytes_in_flight > 900_000)
        other.sendall(store_message(bytes(200_000)))
        assert (0xA700, "no_room") == read_status(other)
        hog.close()
        assert until(lambda: us.receiver.bytes_in_flight == 0)
        other.sendall(store_message(radiograph()))
        assert (0, "") == read_status(other)
        other.close()


def test_a_full_disk_is_out_of_resources(us: Receiving) -> None:
    us.store._min_free_bytes = 2**62
    association = us.associate((DX, EXPLICIT))
    status = association.send_c_store(radiograph())
    association.release()
    assert (0xA700, "store_full", []) == (status.Status, status.ErrorComment, us.kept())


def test_an_operation_that_is_not_offered_is_not_recognised(us: Receiving) -> None:
    connection = spoken(us)
    find = store_command().replace(b"\x00\x01\x02\x00\x00\x00\x01\x00", b"\x00\x01\x02\x00\x00\x00\x20\x00", 1)
    connection.sendall(find + fragment(1, b"", last=True))
    assert 0x0211 == read_status(connection)[0]
    connection.close()


def test_storage_that_is_no_image_is_refused_at_negotiation(us: Receiving) -> None:
    association = us.associate((DX, EXPLICIT), (SR, EXPLICIT), (DX, "1.2.840.10008.1.2.4.100"))
    assert [DX] == [one.abstract_syntax for one in association.accepted_contexts]
    assert [(SR, 3), (DX, 4)] == [(one.abstract_syntax, one.result) for one in association.rejected_contexts]
    association.release()


ANYWHERE, HERE, ELSEWHERE = Peer(ae_title="CT1"), Peer(ae_title="CT2", addresses=["127.0.0.0/8"]), Peer(
    ae_title="CT3", addresses=["10.1.2.0/24", "2001:db8::/32"])


@pytest.mark.parametrize(("calling", "called", "reason"), [
    ("CT1", "DIAPHANE", None),
    ("CT2", "DIAPHANE", None),
    ("CT3", "DIAPHANE", (1, 1, 3)),
    ("NOBODY", "DIAPHANE", (1, 1, 3)),
    ("CT1", "OTHER", (1, 1, 7)),
])
def test_who_may_speak_is_written_in_the_site(tmp_path: Path, calling: str, called: str, reason: tuple[int, ...] | None) -> None:
    with receiving(tmp_path, site=Site(peers=[ANYWHERE, HERE, ELSEWHERE])) as us:
        connection = us.connect()
        connection.sendall(request(calling=calling, called=called))
        kind, body = read_pdu(connection)
        connection.close()
    assert (kind, tuple(body[1:]) if reason else None) == (wire.ASSOCIATE_RJ if reason else wire.ASSOCIATE_AC, reason)


@pytest.mark.parametrize(("calling", "address", "expected"), [
    ("CT3", "10.1.2.3", True), ("CT3", "::ffff:10.1.2.3", True), ("CT3", "2001:db8::1%eth0", True),
    ("CT3", "10.1.3.3", False), ("CT1", "8.8.8.8", True), ("ct1", "8.8.8.8", False), ("", "127.0.0.1", False),
])
def test_addresses_are_networks(calling: str, address: str, expected: bool) -> None:
    assert expected == may_speak(calling, address, Site(peers=[ANYWHERE, HERE, ELSEWHERE]))


def test_without_peers_only_this_machine_may_speak() -> None:
    assert (True, True, False) == tuple(may_speak("X", one, Site()) for one in ("127.0.0.1", "::1", "10.0.0.1"))


def test_any_called_title_is_taken_when_the_site_says_so(tmp_path: Path) -> None:
    with receiving(tmp_path, any_called_ae=True) as us:
        association = us.associate(called="WHATEVER")
        assert association.is_established
        association.release()


def test_beyond_the_most_associations_the_next_one_is_told_to_come_back(tmp_path: Path) -> None:
    with receiving(tmp_path, max_associations=2) as us:
        held = [us.associate(), us.associate()]
        connection = us.connect()
        connection.sendall(request())
        assert (wire.ASSOCIATE_RJ, bytes((0, 2, 3, 2))) == read_pdu(connection)
        held[0].release()
        connection.close()
        assert until(lambda: answer_to_hello(us, None) == wire.ASSOCIATE_AC)
        held[1].release()


def test_a_broken_transfer_keeps_what_was_acknowledged_and_nothing_else(us: Receiving) -> None:
    connection = spoken(us)
    connection.sendall(store_message(radiograph(1)))
    assert (0, "") == read_status(connection)
    connection.sendall(store_message(radiograph(2))[:1500])
    connection.close()
    connection = spoken(us)
    connection.sendall(store_message(radiograph(3)))
    assert (0, "") == read_status(connection)
    connection.sendall(wire.abort(0))
    assert 0 == read_pdu(connection)[0]
    connection.close()
    assert ["1", "3"] == [one.sop_uid.rpartition(".")[2] for one in us.kept()]


def test_draining_lets_a_message_end_and_takes_no_more(tmp_path: Path) -> None:
    with receiving(tmp_path, limits=Limits(grace_s=0.3)) as us:
        idle, busy = spoken(us), spoken(us)
        message = store_message(radiograph())
        busy.sendall(message[:1500])
        drained: list[bool] = []
        thread = threading.Thread(target=lambda: drained.append(us.receiver.drain(10)))
        thread.start()
        assert wire.ABORT == read_pdu(idle)[0]
        busy.sendall(message[1500:])
        assert (0, "") == read_status(busy)
        busy.sendall(wire.HEAD.pack(wire.RELEASE_RQ, 4) + bytes(4))
        assert wire.RELEASE_RP == read_pdu(busy)[0]
        busy.close()
        thread.join(10)
        idle.close()
        assert [True] == drained
        assert 1 == len(us.kept())
        with pytest.raises(ConnectionError):
            us.connect()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
def test_tls_asks_the_peer_for_a_certificate(tmp_path: Path, version: ssl.TLSVersion) -> None:
    files = certificates(tmp_path / "tls")
    with receiving(tmp_path, tls_cert=files["server.pem"], tls_key=files["server.key"], tls_ca=files["ca.pem"]) as us:
        association = us.associate((DX, EXPLICIT), tls_args=(tls_user(files, version=version), "localhost"))
        assert 0 == association.send_c_store(radiograph()).Status
        association.release()
        assert wire.ASSOCIATE_AC != answer_to_hello(us, tls_user(files, certificate=False, version=version))
        assert wire.ASSOCIATE_AC != answer_to_hello(us, None)
        assert wire.ASSOCIATE_AC == answer_to_hello(us, tls_user(files))
    assert 1 == len(us.kept())


def test_tls_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    files = certificates(tmp_path / "tls")
    with pytest.raises(SettingsError, match="tls_cert, tls_key and tls_ca"):
        server_context(files["server.pem"], files["client.key"], None)


def test_an_address_that_is_taken_is_named_by_its_settings(tmp_path: Path, us: Receiving) -> None:
    inbox = Inbox(us.store, quiet_s=1, release_quiet_s=1)
    with pytest.raises(SettingsError, match="dicom_host and dicom_port must be a free address"):
        Receiver(settings_for(tmp_path, dicom_port=us.port), Site(), inbox)
    inbox.close()


def test_the_command_prints_its_address_and_ends_well_on_sigterm(tmp_path: Path) -> None:
    environ = {**os.environ, "DIAPHANE_STORE": str(tmp_path / "store"), "DIAPHANE_DICOM_PORT": "0", "DIAPHANE_AE_TITLE": "US"}
    process = subprocess.Popen([sys.executable, "-m", "service", "listen"], cwd=ROOT, env=environ, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("Diaphane receives DICOM on 127.0.0.1:")
        assert line.endswith(" as US\n")
        port = int(line.split(":")[1].split()[0])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request((ECHO, [EXPLICIT]), called="US"))
            assert wire.ASSOCIATE_AC == read_pdu(connection)[0]
            process.send_signal(signal.SIGTERM)
            assert wire.ABORT == read_pdu(connection)[0]
        assert 0 == process.wait(20)
    finally:
        process.kill()
        process.communicate()
