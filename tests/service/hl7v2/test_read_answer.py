"""Answers: taken, refused for good, refused for now; receipts of the platform; and no word of a text they quote."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.hl7v2.read_answer import (
    Acknowledgement,
    NotAnAnswer,
    Receipt,
    read_acknowledgement,
    read_receipt,
)

HEAD = r"MSH|^~\&|PFI|CHU_X|SIL|CHU_X|202310030831||ACK^R01^ACK|12347|P|2.5|||||FRA|8859/15" + "\r"
ZAM = "MSH|^~\\&|PFI|CHU_X|SIL|CHU_X|202310030831||ZAM^{event}^ZAM_Z01|12347|P|2.6\rPID|||1^^^A^PI\r" \
      "OBX|1|CWE|{about}^Accusé^AckMetierZAM|12345|{code}^^expandedYes-NoIndicator||||||F\r"


@pytest.mark.parametrize(("code", "taken", "final"), [
    ("AA", True, False), ("CA", True, False), ("AE", False, True), ("CE", False, True), ("AR", False, False), ("CR", False, False),
])
def test_an_acknowledgement_says_whether_the_message_was_taken_and_whether_again_helps(code: str, taken: bool, final: bool) -> None:
    found = read_acknowledgement(f"{HEAD}MSA|{code}|12345\r")
    assert (code, "12345", taken, final) == (found.code, found.control_id, found.is_taken, found.is_final)


def test_error_codes_are_kept_and_their_texts_are_not() -> None:
    told = f"{HEAD}MSA|AE|12345|PAT-TROIS is unknown\rERR||MSH^1^12|203^Unsupported version^messageErrorCondition|E||||PAT-TROIS\r" \
           "ERR|||Marie Curie^x|E\r"
    assert Acknowledgement("AE", "12345", ("203",)) == read_acknowledgement(told)


@pytest.mark.parametrize("told", [
    "", "MSA|AA|1\r", HEAD, f"{HEAD}MSA|ZZ|1\r", f"{HEAD}MSA|AA|1\rMSA|AA|2\r", "GET / HTTP/1.1\r", "MSHX|AA\rMSA|AA|1\r",
])
def test_what_is_no_acknowledgement_is_not_taken_for_one(told: str) -> None:
    with pytest.raises(NotAnAnswer):
        read_acknowledgement(told)


@given(st.text(max_size=200))
def test_any_text_is_an_acknowledgement_or_none(text: str) -> None:
    for told in (text, HEAD + text):
        with suppress(NotAnAnswer):
            assert read_acknowledgement(told).code in ("AA", "AE", "AR", "CA", "CE", "CR")


@pytest.mark.parametrize(("event", "about", "of"), [
    ("Z01", "ACK_RECEPTION_DMP", "stored"), ("Z02", "ACK_RECEPTION_MSS", "delivered"), ("Z03", "ACK_LECTURE_MSS", "read"),
])
def test_a_receipt_says_what_became_of_the_document(event: str, about: str, of: str) -> None:
    assert Receipt(of, "12345", True, ()) == read_receipt(ZAM.format(event=event, about=about, code="Y"))  # type: ignore[arg-type]
    failed = read_receipt(ZAM.format(event=event, about=about, code="N") + "ERR|||207^x^y|E|DMPInvalidData^texte^DMP_ERROR_CODE\r")
    assert (False, ("DMPInvalidData",)) == (failed.succeeded, failed.errors)


@pytest.mark.parametrize("told", [HEAD, ZAM.format(event="Z01", about="ELSE", code="Y")])
def test_another_message_is_no_receipt(told: str) -> None:
    with pytest.raises(NotAnAnswer):
        read_receipt(told)
