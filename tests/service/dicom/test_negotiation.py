"""Requests nobody would send: each is agreed on, rejected or aborted; nothing else is raised, and nothing takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.dicom import dimse, wire
from service.dicom.listen import Rejected, negotiate
from service.dicom.wire import Limits, Room, Violation
from service.settings import Settings
from service.site import Site
from tests.make_receiver import CT, DX, ECHO, EXPLICIT, request, store_command

GOOD = request((DX, [EXPLICIT, "1.2.840.10008.1.2"]), (CT, [EXPLICIT]), (ECHO, [EXPLICIT]))
SETTINGS, SITE, LIMITS = Settings(), Site(), Limits()


def verdict(data: bytes) -> str:
    try:
        agreed = negotiate(data, "127.0.0.1", SETTINGS, SITE, LIMITS)
    except Violation:
        return "abort"
    except Rejected:
        return "reject"
    return f"{len(agreed.contexts)} contexts"


def test_what_is_well_formed_is_agreed_on() -> None:
    agreed = negotiate(GOOD, "127.0.0.1", SETTINGS, SITE, LIMITS)
    assert {1: (DX, EXPLICIT), 3: (CT, EXPLICIT), 5: (ECHO, EXPLICIT)} == agreed.contexts
    assert ("MODALITY", "DIAPHANE", 16384) == (agreed.calling_ae, agreed.called_ae, agreed.peer_max_pdu_bytes)
    assert GOOD[10:42] == agreed.reply[10:42]


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.integers(6, len(GOOD) - 1), st.integers(0, 255)), max_size=8), st.integers(6, len(GOOD)))
def test_a_damaged_request_has_a_verdict(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    began = time.process_time()
    assert verdict(bytes(data[:length])).split()[-1] in ("abort", "reject", "contexts")
    assert time.process_time() - began < 1


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_as_items_have_a_verdict(items: bytes) -> None:
    assert verdict(GOOD[:74] + items).split()[-1] in ("abort", "reject", "contexts")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_command_set_are_read_or_refused(data: bytes) -> None:
    for bytes_ in (data, store_command()[12:][: len(data)] + data):
        try:
            dimse.read_command(bytes_)
        except ValueError:
            continue


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_as_pdvs_are_cut_or_refused(data: bytes) -> None:
    try:
        pieces = list(wire.fragments(memoryview(data)))
    except Violation:
        return
    assert len(data) == sum(6 + len(piece) for *_, piece in pieces)


@pytest.mark.parametrize("longest", [0, 7, 20, 100, 16384])
def test_a_command_is_cut_as_the_peer_takes_it(longest: int) -> None:
    command = store_command()[12:]
    data, together, ends = wire.data_pdus(5, command, longest), b"", []
    while data:
        kind, length = wire.HEAD.unpack_from(data)
        assert (wire.P_DATA, True) == (kind, length <= (longest or length))
        for context, is_command, is_last, piece in wire.fragments(memoryview(data)[6 : 6 + length]):
            assert (5, True) == (context, is_command)
            together += piece
            ends.append(is_last)
        data = data[6 + length :]
    assert (command, 1, True) == (together, sum(ends), ends[-1])


def test_room_is_lent_and_given_back() -> None:
    room = Room(100)
    assert [True, False] == [room.take(60, 0), room.take(60, 0.01)]
    room.give_back(60)
    assert (True, 60) == (room.take(60, 0), room.taken)
